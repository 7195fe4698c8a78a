"""The public door of a package: its exports name it as their module."""

from __future__ import annotations

from types import FunctionType
from typing import Any


def export(namespace: dict[str, Any]) -> None:
    """Set `__module__` of a package's public functions and classes, for tracebacks, reprs and pickles.

    Args:
        namespace: the `globals()` of the package, `__all__` included.
    """
    for name in namespace["__all__"]:
        value = namespace[name]
        if isinstance(value, type | FunctionType):
            value.__module__ = namespace["__name__"]
