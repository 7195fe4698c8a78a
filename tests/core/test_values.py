"""Values of a log record, made plain: none loses the record, none is written without end."""

import enum
import json
from collections import UserDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job._core.words.values import DEPTH, ITEMS, LENGTH, Values, printable


def plain(value: object) -> Any:
    """Make one value plain, and see that JSON takes it."""
    made = Values().plain(value)
    json.dumps(made, allow_nan=False)
    return made


class Colour(enum.IntEnum):
    """Has numbers that are numbers."""

    RED = 1


class Mode(enum.StrEnum):
    """Has texts that are texts."""

    FAST = "fast"


Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize("value", [None, True, 0, -7, 1.5, "text", "", [], {}, {"up": [1, None, 2.5]}, [[{"a": []}]]])
def test_what_json_has(value: object) -> None:
    """It stays as it is."""
    assert plain(value) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(Colour.RED, "1"), (Mode.FAST, '"fast"'), (Pair(1, "b"), '[1, "b"]'), ((1, (2,)), "[1, [2]]")],
)
def test_what_is_one_of_those_underneath(value: object, text: str) -> None:
    """An enum of numbers is a number, a tuple a list."""
    assert json.dumps(plain(value)) == text


@pytest.mark.parametrize("value", [{7}, b"bytes", 1j, object, UserDict({"a": 1}), ValueError("mine"), range(3)])
def test_what_json_lacks(value: object) -> None:
    """It is its repr, alone and inside of others."""
    assert plain([value]) == [plain(value)] == [repr(value)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number(value: float) -> None:
    """JSON has no name for it: null."""
    assert plain({"ratio": value}) == {"ratio": None}


@pytest.mark.parametrize("key", [1, None, ("up", 1), frozenset(), print, 1.5])
def test_key_that_json_lacks(key: object) -> None:
    """A key goes by its repr."""
    assert plain({key: 2}) == {repr(key): 2}


def test_keys_that_look_alike() -> None:
    """Neither value is lost."""
    assert sorted(plain({1: "a", "1": "b"}).values()) == ["a", "b"]


def test_value_that_holds_itself() -> None:
    """It is written once."""
    mapping: dict[str, Any] = {}
    mapping["me"] = [mapping]
    assert plain(mapping) == {"me": ["…"]}


def test_value_that_is_held_twice() -> None:
    """That is no circle."""
    inner = ["a"]
    assert plain([inner, inner]) == [["a"], ["a"]]


def test_deep_value() -> None:
    """It is cut where no reader goes."""
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    assert json.dumps(plain(deep)).count("[") == DEPTH


def test_lists_within_each_other() -> None:
    """One with more items than there are atoms is cut."""
    bomb: list[Any] = ["x"] * 10
    for _ in range(80):
        bomb = [bomb] * 10
    assert len(json.dumps(plain(bomb))) < 20 * ITEMS


def test_long_list() -> None:
    """It says that there was more."""
    made = plain(["x"] * (2 * ITEMS))
    assert made[-1] == "…"
    assert len(made) <= ITEMS + 1


def test_long_dict() -> None:
    """It does, too."""
    made = plain(dict.fromkeys(range(2 * ITEMS), "x"))
    assert made["…"] == "…"
    assert len(made) <= ITEMS + 1


def test_long_repr() -> None:
    """It is cut, and says how long it was."""
    made = plain(b"x" * 10 * LENGTH)
    assert made.endswith(f"… ({10 * LENGTH + 3} characters)")
    assert len(made) < LENGTH + 100


def test_number_that_python_does_not_spell() -> None:
    """It is a text that says so."""
    assert plain(1 << 100_000) == "<int, whose repr raised ValueError>"


class Faulty:
    """Has a repr that raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class Pretender:
    """Has a class that it does not know, as a proxy of nothing."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("unbound")


class Gone(dict[str, Any]):
    """A dict whose items have gone."""

    def items(self) -> Any:
        raise ValueError("gone")


@pytest.mark.parametrize("make", [lambda: Faulty(ValueError()), Pretender, Gone])
def test_faulty_value(make: Callable[[], object]) -> None:
    """There is a text in its place, and what stands beside it is there."""
    made = plain(["before", make(), "after"])
    assert made[::2] == ["before", "after"]
    assert "whose repr raised" in made[1]


def test_value_that_gives_an_order() -> None:
    """What its repr raises that is no Exception is kept until the record is written."""
    order = SystemExit(3)
    values = Values()
    assert values.plain([Faulty(order), Faulty(SystemExit(4))]) == ["<Faulty, whose repr raised SystemExit>"] * 2
    with pytest.raises(SystemExit) as caught:
        values.raise_order()
    assert caught.value is order


def test_value_that_gives_none() -> None:
    """An Exception is no order."""
    values = Values()
    values.plain(Faulty(ValueError()))
    values.raise_order()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner) | st.tuples(inner)
    ),
)


@given(anything)
def test_any_value(value: object) -> None:
    """Whatever it is, JSON takes it, and a terminal is not moved by it."""
    plain(value)
    assert Values().text(value).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode 東", "plain, ünïcode 東"),
        ("\x1b[2Jowned\x07", r"\x1b[2Jowned\x07"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x9b\x7f\u202e\u2028", r"\x9b\x7f\u202e\u2028"),
        ("\udcff", r"\udcff"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """What cannot be seen, or moves what can, is escaped."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\x1bb", r"a\x1bb"), (None, "None"), (float("nan"), "nan"), ({"a": {1}}, "{'a': '{1}'}"), (7, "7")],
)
def test_text(value: object, text: str) -> None:
    """A value on a terminal: a str as it is, all else as its repr."""
    assert Values().text(value) == text
