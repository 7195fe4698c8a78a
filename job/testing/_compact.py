"""Short reprs for records of many fields: what is left at its default is left out."""

from __future__ import annotations

from dataclasses import MISSING, fields
from enum import Enum
from typing import Any


class Compact:
    """A base for dataclasses that print as the shortest code that makes them again."""

    __slots__ = ()

    def __repr__(self) -> str:
        mine: Any = self
        values = [(field, getattr(mine, field.name)) for field in fields(mine)]
        told = [
            f"{field.name}={_shown(value)}"
            for field, value in values
            if field.default is MISSING or value != field.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, tuple):
        return f"({', '.join(_shown(item) for item in value)}{',' if len(value) == 1 else ''})"
    return repr(value)
