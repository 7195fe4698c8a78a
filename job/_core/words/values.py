"""Make the values of a log record safe to write: none may lose the record, hold up the program, or control a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, final

DEPTH: Final = 32
"""The most levels of nested containers that are written."""

ITEMS: Final = 10_000
"""The most items written for all values of one record: lists that contain each other may have any number."""

LENGTH: Final = 10_000
"""The most characters of a repr that are written; a str is written whole."""

_BITS: Final = (
    10_000  # The longest int that is written as a number: Python refuses to spell out more than 4,300 digits.
)


def printable(text: str) -> str:
    """Return the text with unprintable characters escaped as in a repr: a peer may have sent it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@final
class Values:
    """Converts the values of one record to plain ones; a value whose code raises is replaced by a text.

    An Exception leaves nothing but that text. Any other BaseException (SystemExit, pytest's Failed) is an order: `raise_order`
    raises it once the record is written.
    """

    __slots__ = ("_left", "_order")

    def __init__(self) -> None:
        self._left = ITEMS
        self._order: BaseException | None = None

    def plain(self, value: object, around: tuple[int, ...] = ()) -> Any:
        """Return the value as JSON can have it: itself, its items made plain, None for NaN and infinity, or its repr."""
        self._left -= 1
        try:
            if value is None or (isinstance(value, int) and value.bit_length() < _BITS):
                return value
            if isinstance(value, str):
                return str.__str__(value)
            if isinstance(value, float):
                return value if math.isfinite(value) else None
            if isinstance(value, dict | list | tuple):
                return self._items(value, around)
        except BaseException as error:
            return self._failed(value, error)
        return self.shown(value)

    def text(self, value: object) -> str:
        """Return the value as text for a terminal."""
        plain = self.plain(value)
        if not isinstance(plain, str):
            plain = repr(value) if isinstance(value, float) else repr(plain)
        return printable(plain)

    def shown(self, value: object) -> str:
        """Return the repr of a value, shortened to what can be read, or a text that says why it has none."""
        try:
            text = repr(value)
        except BaseException as error:
            return self._failed(value, error)
        return text if len(text) <= LENGTH else f"{text[:LENGTH]}… ({len(text)} characters)"

    def raise_order(self) -> None:
        """Raise the first BaseException of a value that was not an Exception, if any."""
        if self._order is not None:
            raise self._order

    def _failed(self, value: object, error: BaseException) -> str:
        if self._order is None and not isinstance(error, Exception):
            self._order = error
        return f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"

    def _items(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], around: tuple[int, ...]) -> Any:
        if id(value) in around or len(around) >= DEPTH:
            return "…"
        around = (*around, id(value))
        if isinstance(value, dict):
            return self._dict(value, around)
        made = [self.plain(each, around) for each in self._some(value)]
        return made if len(made) == len(value) else [*made, "…"]

    def _dict(self, value: dict[Any, Any], around: tuple[int, ...]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, each in self._some(value.items()):
            name = str.__str__(key) if isinstance(key, str) else self.shown(key)
            made[f"{name}_{len(made)}" if name in made else name] = self.plain(each, around)
        return made if len(made) == len(value) else {**made, "…": "…"}

    def _some(self, items: Iterable[Any]) -> list[Any]:
        return list(islice(items, max(0, self._left)))
