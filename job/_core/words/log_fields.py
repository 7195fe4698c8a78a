"""Names of log fields that clash with neither the keys of a record nor the arguments of a logger."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

RESERVED: Final = frozenset({"event", "level", "timestamp", "method_name", "self"})
"""The keys of each record, and the argument names of structlog's logger methods."""

BOUND: Final = RESERVED | {"exc_info"}
"""The same for fields that are bound to many records, where `exc_info` would not be the error of any one record."""


def named(fields: Mapping[Any, Any], reserved: Collection[str]) -> Mapping[str, Any]:
    """Return `fields` with `_` appended to each reserved name; a key that is not a str becomes its repr."""
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
