"""The values of a log record, made fit to be written: none may lose the record, hold up the program, or drive a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, final

DEPTH: Final = 32
"""Levels of containers that are written of a value."""

ITEMS: Final = 10_000
"""Items that are written of all the values of a record: lists within each other may have more than there are atoms."""

LENGTH: Final = 10_000
"""Characters that are written of a repr; a str is written whole."""

_BITS: Final = 10_000  # of an int; above 4,300 digits Python refuses to spell one


def printable(text: str) -> str:
    """Return the text with what cannot be seen as its escape sequence, as `repr` has it: a peer may have sent it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@final
class Values:
    """Makes the values of one record plain. Whatever their code raises, there is a text in their place.

    An Exception says nothing more than that text. What is an order (SystemExit, pytest's Failed) `raise_order` raises, once the
    record is written.
    """

    __slots__ = ("_left", "_order")

    def __init__(self) -> None:
        self._left = ITEMS
        self._order: BaseException | None = None

    def plain(self, value: object, around: tuple[int, ...] = ()) -> Any:
        """Return what JSON has for the value: itself, its items made plain, null for what is no number, else its repr."""
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
        """Return the value as a line on a terminal has it."""
        plain = self.plain(value)
        if not isinstance(plain, str):
            plain = repr(value) if isinstance(value, float) else repr(plain)
        return printable(plain)

    def shown(self, value: object) -> str:
        """Return the repr of a value, not more of it than can be read, or a text that says why there is none."""
        try:
            text = repr(value)
        except BaseException as error:
            return self._failed(value, error)
        return text if len(text) <= LENGTH else f"{text[:LENGTH]}… ({len(text)} characters)"

    def raise_order(self) -> None:
        """Raise what a value has raised that is no Exception, if one has."""
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
