"""The values of labels: few, whatever peers send and programs make up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, final

from .._core.words.user_code import as_text

MOST: Final = 100
"""Values of one label; each is a time series that Prometheus keeps for weeks."""

OTHER: Final = "other"
"""What stands for all values past those."""

_LONGEST: Final = 200
_REFUSED: Final = ("client", "job", "job_id")
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@final
class Label:
    """One label of one metric: the first values that come are kept."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[str] = set()

    def value(self, value: str) -> str:
        """Return the value, or `other`."""
        if value in self._known:
            return value
        if len(self._known) >= MOST:
            return OTHER
        value = value[:_LONGEST]
        self._known.add(value)
        return value


def field_text(fields: Mapping[str, Any], name: str) -> str:
    """Return the value of a field as a label has it; nothing where there is no such field."""
    value = fields.get(name)
    if type(value) is str:
        return value
    return "" if value is None else as_text(value)


def checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return the names of fields that are to be labels.

    Raises:
        TypeError: they are not a list of str, or the like.
        ValueError: one is no name that Prometheus knows, or has a value for each connection.
    """
    if isinstance(labels, str):
        raise TypeError(f"labels must be a list of names of fields, got {labels!r}")
    names = tuple(labels)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"labels must be names of fields, got {name!r}")
        if name in _REFUSED:
            raise ValueError(f"labels must not have {name!r}: it has a value for each connection")
        if not _NAME.fullmatch(name) or name.startswith("__"):
            raise ValueError(f"labels must be names that Prometheus allows (letters, digits, _), got {name!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"labels must be different, got {names!r}")
    return names
