"""The public surface: every name has a docstring, an address and a place in the reference."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TypeGuard

import pytest

from tests.signatures import DOORS, GOLDEN, surface

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

NAMES = [(door, name) for door in DOORS for name in importlib.import_module(door).__all__]

every_name = pytest.mark.parametrize(("door", "name"), NAMES, ids=[f"{door}.{name}" for door, name in NAMES])


def test_signatures() -> None:
    """Signatures are as they were agreed; `python -m tests.signatures` writes down a change that was meant."""
    assert surface().splitlines() == GOLDEN.read_text().splitlines()


@pytest.mark.parametrize("door", DOORS)
def test_all_is_complete(door: str) -> None:
    """`__all__` names what the door shows, modules aside; a door that is a module with code of its own, what it defines."""
    room = importlib.import_module(door)
    shown = {name: value for name, value in vars(room).items() if not name.startswith("_") and not is_plumbing(value)}
    if hasattr(room, "__path__"):
        assert set(room.__all__) == set(shown)
    else:
        defined = {name for name, value in shown.items() if has_home(value) and value.__module__ == door}
        assert defined <= set(room.__all__) <= set(shown)


@every_name
def test_docstring(door: str, name: str) -> None:
    """Classes, functions and their public members have a docstring of their own."""
    value = getattr(importlib.import_module(door), name)
    assert [where for where, member in members(name, value) if not own_docstring(member)] == []


@every_name
def test_module(door: str, name: str) -> None:
    """A traceback or a repr names the door, not the private file behind it."""
    value = getattr(importlib.import_module(door), name)
    if has_home(value):
        assert value.__module__ in DOORS
        assert value.__name__ in importlib.import_module(value.__module__).__all__


@every_name
def test_reference(door: str, name: str) -> None:
    """The reference mentions it."""
    pages = (page.read_text() for page in REFERENCE.rglob("*.md"))
    assert any(re.search(rf"\b{name}\b", page) for page in pages), f"{door}.{name} is in no page of docs/reference"


def members(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Give a class or function, and the public methods and properties that a class defines itself."""
    if has_home(value):
        yield name, value
    for inner, member in vars(value).items() if inspect.isclass(value) else ():
        if not inner.startswith("_") and isinstance(member, property | staticmethod | classmethod | FunctionType):
            yield f"{name}.{inner}", member


def own_docstring(value: object) -> bool:
    """Refuse the docstring that `dataclass` and `NamedTuple` make up, and one that is inherited."""
    doc = (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) or ""
    return doc != "" and not doc.startswith(f"{getattr(value, '__name__', '')}(")


def has_home(value: object) -> TypeGuard[type | FunctionType]:
    """Pick what knows the module that it belongs to."""
    return inspect.isclass(value) or inspect.isfunction(value)


def is_plumbing(value: object) -> bool:
    """Leave out submodules, and the flag of `from __future__ import annotations`."""
    return isinstance(value, ModuleType) or type(value).__module__ == "__future__"
