"""The names of the fields of a log record: none may be taken for a part of the record, or for an argument of a logger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

RESERVED: Final = frozenset({"event", "level", "timestamp", "method_name", "self"})
"""The keys of each record, and what the methods of a structlog logger call their arguments."""

BOUND: Final = RESERVED | {"exc_info"}
"""The same for fields that are in many records: there `exc_info` is no error to be shown with one of them."""


def named(fields: Mapping[Any, Any], reserved: Collection[str]) -> Mapping[str, Any]:
    """Return `fields`, with a `_` behind each name that is reserved; a key that is no str goes by its repr."""
    if not any(type(name) is not str or name in reserved for name in fields):
        return fields
    found: dict[str, Any] = {}
    for key, value in tuple(fields.items()):
        name = key if isinstance(key, str) else _shown(key)
        while name in reserved or name in found or (name is not key and name in fields):
            name += "_"
        found[name] = value
    return found


def _shown(key: object) -> str:
    try:
        return repr(key)
    except Exception:
        return f"<{type(key).__name__}>"
