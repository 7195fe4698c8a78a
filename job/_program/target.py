"""Finds the job of a program by its name, `module:factory`, and says in one line why it cannot."""

from __future__ import annotations

import inspect
import sys
import traceback
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, final

from .._core.job import Job


@final
class TargetError(Exception):
    """There is no job to be had: one line for the user. Its cause, if it has one, is an error of the user's own code."""


@final
class Target:
    """A job that is yet to be imported: `module:name`, the name of a `Job` or of a function that returns one.

    Raises:
        ValueError: the text does not name a module and something in it.
    """

    __slots__ = ("module", "name")

    def __init__(self, text: str) -> None:
        self.module, _, self.name = text.partition(":")
        if not self.module or not self.name:
            raise ValueError(f"must be module:factory, got {text!r}")
        if self.module.endswith(".py") or "/" in self.module:
            raise ValueError(f"must name a module as an import does (app:main), not a file, got {text!r}")

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"

    def load(self) -> Job[Any]:
        """Import the module, from the current directory too, and return the job; a function is called for it.

        Raises:
            TargetError: the module cannot be imported, has no such name, or that is, or returns, no job; or one of them raised.
        """
        here = str(Path.cwd())
        if here not in sys.path:  # a console script, unlike `python -m`, does not look there
            sys.path.insert(0, here)
        found = self._find(_imported(self.module))
        return found if isinstance(found, Job) else self._call(found)

    def _find(self, module: ModuleType) -> Any:
        try:
            return reduce(getattr, self.name.split("."), module)
        except AttributeError:
            raise TargetError(f"module {self.module!r} has no {self.name!r}") from None

    def _call(self, factory: Any) -> Job[Any]:
        if not callable(factory):
            raise TargetError(f"{self} must be a Job or a function that returns one, it is {factory!r}")
        if needed := _arguments(factory):
            raise TargetError(f"{self} must be callable without arguments, it takes {needed}")
        try:
            made = factory()
        except Exception as error:
            raise TargetError(f"{self} failed: {_one_line(error)}") from error
        if inspect.iscoroutine(made):
            made.close()
            raise TargetError(f"{self} must be a plain function that returns a Job, it is async")
        if not isinstance(made, Job):
            raise TargetError(f"{self} must return a Job, it returned {made!r}")
        return made


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            raise TargetError(f"there is no module {error.name!r}, here or where Python looks") from None
        raise TargetError(f"importing {name!r} failed: {_one_line(error)}") from error


def _arguments(factory: Any) -> str:
    """Return the parameters of a function that cannot be called without; nothing where it can, or may be."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # some that are written in C do not say
        return ""
    try:
        signature.bind()
    except TypeError:
        return str(signature.replace(return_annotation=inspect.Signature.empty))
    return ""


def _one_line(error: Exception) -> str:
    """Tell an error of the user's code in one line, with the place."""
    text = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
    return f"{text}{_place(error)} (--traceback shows more)"


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):  # its message tells its own
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    path = Path(frames[-1].filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f", at {shown}:{frames[-1].lineno}"
