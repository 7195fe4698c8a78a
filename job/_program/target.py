"""Find the job of a program by its name, `module:factory`, or say in one line why that fails."""

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
    """The job could not be loaded; the message is one line for the user. Its `__cause__`, if any, is an error of user code."""


@final
class Target:
    """A job to be imported: `module:name`, the name of a `Job` or of a function that returns one.

    Raises:
        ValueError: the text does not name a module and an object in it.
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
        """Import the module, also from the current directory, and return the job; call a function to make it.

        Raises:
            TargetError: the module cannot be imported or has no such name, the object is not a job and does not return one, or
                one of them raised.
        """
        here = str(Path.cwd())
        if here not in sys.path:  # A console script, unlike `python -m`, does not have it there.
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
    """Return the parameters of a function that has required ones, or an empty string."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # Some functions written in C have no signature.
        return ""
    try:
        signature.bind()
    except TypeError:
        return str(signature.replace(return_annotation=inspect.Signature.empty))
    return ""


def _one_line(error: Exception) -> str:
    """Describe an error of user code in one line, with its place."""
    text = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
    return f"{text}{_place(error)} (--traceback shows more)"


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError):  # The message of a SyntaxError names its place.
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
    path = Path(frames[-1].filename)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f", at {shown}:{frames[-1].lineno}"
