"""Type variables with a default: `Job()` is a `Job[Any]` and needs no annotation.

`typing` has such defaults since Python 3.13. Type checkers know typing_extensions whether or not it is installed, so a running
program does not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    V = TypeVar("V", default=Any)
    Meta = TypeVar("Meta", default=Any)
    Default = TypeVar("Default", default=None)
else:
    from typing import TypeVar

    V = TypeVar("V")
    Meta = TypeVar("Meta")
    Default = TypeVar("Default")
