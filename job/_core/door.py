"""The public door of a package: what it exports says that it lives there."""

from __future__ import annotations

from types import FunctionType
from typing import Any


def export(namespace: dict[str, Any]) -> None:
    """Make the public functions and classes of a package name it as their module: in tracebacks, reprs and pickles.

    Args:
        namespace: the `globals()` of the package, `__all__` included.
    """
    for name in namespace["__all__"]:
        value = namespace[name]
        if isinstance(value, type | FunctionType):
            value.__module__ = namespace["__name__"]
