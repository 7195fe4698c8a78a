"""Registered loggers: a job writes to its own logger, else to its parent's, else to the default one.

A logger is a structlog logger (anything with `bind`), or a mapping `{level: handler}` with `handler(event, fields)`. Levels are
verbosities: 0 always, 1 more, 2 debug.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final

from ._core import check
from ._core.last_resort import report_fault, write_somewhere
from ._core.words.blocks import contextmanager
from ._core.words.log_fields import BOUND, RESERVED, named

Handler: TypeAlias = Callable[[str, Mapping[str, Any]], object]
Logger: TypeAlias = Any
"""A structlog logger (anything with `bind`), or a mapping of levels to handlers."""

ALWAYS: Final = 0
MORE: Final = 1
DEBUG: Final = 2

_NO_KEYS: Final[frozenset[str]] = frozenset()

# The verbosity at which each severity is written.
_LEVEL_OF: Final[Mapping[str, int]] = {"error": ALWAYS, "warning": ALWAYS, "info": MORE, "debug": DEBUG}


@final
class Guard:
    """The guard around one logger: its first Exception is reported on stderr, and none has any effect."""

    __slots__ = ("_told",)

    def __init__(self) -> None:
        self._told = False

    def call(self, write: Callable[..., None], *args: Any) -> None:
        """Call `write`, and contain its Exception."""
        try:
            write(*args)
        except Exception as error:
            if not self._told:
                self._told = True
                report_fault("a logger failed", error)


@dataclass(frozen=True, slots=True)
class Registration:
    """A logger and its verbosity; `level` None means that of the default logger."""

    logger: Logger
    level: int | None
    guard: Guard = field(default_factory=Guard)

    def wants(self, level: int) -> bool:
        """Return True if the logger takes records of this level."""
        limit = self.level
        if limit is None:
            limit = _default.level if _default is not None and _default.level is not None else ALWAYS
        return level <= limit


_default: Registration | None = None
_unregistered: Final = Guard()


def register_default_logger(logger: Logger | None, *, level: int = ALWAYS) -> None:
    """Make `logger` the default of all jobs that have none, own or inherited; None removes it.

    Args:
        logger: a structlog logger (anything with `bind`), or a mapping `{level: handler(event, fields)}`.
        level: the highest verbosity that is written: 0 always, 1 more, 2 debug.

    Raises:
        TypeError: `logger` is neither, or `level` is not an int.
        ValueError: `level` is negative, or the mapping is empty.
    """
    global _default  # noqa: PLW0603 - the one process-wide setting, as the default logger of a program is
    _default = None if logger is None else checked_registration(logger, level)


@contextmanager
def default_logger(logger: Logger, level: int) -> Iterator[None]:
    """Make `logger` the default one while the block runs; a logger that is registered meanwhile stays."""
    global _default  # noqa: PLW0603 - as above
    before, mine = _default, checked_registration(logger, level)
    _default = mine
    try:
        yield
    finally:
        if _default is mine:
            _default = before


def has_default_logger() -> bool:
    """Return True if a default logger is registered."""
    return _default is not None


def checked_registration(logger: Logger, level: int | None) -> Registration:
    """Check the arguments, and return a registration of them."""
    if level is not None and (isinstance(level, bool) or not isinstance(level, int)):
        raise TypeError(f"level must be an int, got {level!r}")
    if level is not None and level < 0:
        raise ValueError(f"level must be 0 or more, got {level!r}")
    if isinstance(logger, Mapping):
        _check_handlers(logger)
    elif not callable(getattr(logger, "bind", None)):
        raise TypeError(
            f"logger must have bind(), as structlog's do, or be a mapping of levels to handlers, got {logger!r}"
        )
    else:
        _check_methods(logger)
    return Registration(logger, level)


def _check_methods(logger: object) -> None:
    for (
        severity
    ) in _LEVEL_OF:  # Looked up on the class: an attribute of a lazy structlog logger would create the real one.
        check.plain(f"{severity}() of logger", getattr(type(logger), severity, None))


def _check_handlers(handlers: Mapping[Any, Any]) -> None:
    if not handlers:
        raise ValueError(f"logger must have a handler for one level at least, got {handlers!r}")
    for level, handler in handlers.items():
        if not isinstance(level, int):
            raise TypeError(f"logger must map int levels to handlers, got the level {level!r}")
        if not callable(handler):
            raise TypeError(f"logger must map levels to callables handler(event, fields), got {handler!r}")
        check.plain(f"the handler of level {level} of logger", handler)


@final
class Loggers:
    """The chain of registrations that a job searches: its own, its parent's, the default one.

    The chain is separate from the job, so that a job still writes to its parent's logger when the parent is gone, and does not
    keep the parent alive.
    """

    __slots__ = ("own", "parent")

    def __init__(self, parent: Loggers | None) -> None:
        self.own: Registration | None = None
        self.parent = parent

    def find(self) -> Registration | None:
        """Return the nearest registration, or None."""
        node: Loggers | None = self
        while node is not None:
            if node.own is not None:
                return node.own
            node = node.parent
        return _default

    def wants(self, level: int) -> bool:
        """Return True if a logger takes records of this level."""
        found = self.find()
        return found is not None and found.wants(level)


@final
class JobLog:
    """Writes records to the logger of a job. Get it as `Job.log` or `Task.log`.

    A faulty handler is isolated: its first Exception is reported on stderr, and none reaches the job.
    """

    __slots__ = ("_fields", "_loggers", "_shared")

    def __init__(self, loggers: Loggers, shared: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        self._loggers = loggers
        self._shared = shared  # The job's own dict: later changes show in later records.
        self._fields = fields

    def __call__(self, level: int, event: str, /, **fields: Any) -> None:
        """Write `event` if `level` is not above the logger's level: 0 and 1 as info, 2 and more as debug."""
        if not isinstance(level, int):
            raise TypeError(f"level must be an int, got {level!r}")
        self._write("info" if level < DEBUG else "debug", level, event, fields)

    def debug(self, event: str, /, **fields: Any) -> None:
        """Write at level 2."""
        self._write("debug", DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Write at level 1."""
        self._write("info", MORE, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Write at level 0; with no logger registered at all, one line on stderr."""
        self._write("warning", ALWAYS, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Write at level 0; with no logger registered at all, one line on stderr."""
        self._write("error", ALWAYS, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """Write at level 0, with the traceback of the exception being handled (or of `exc_info`)."""
        fields.setdefault("exc_info", True)
        self._write("error", ALWAYS, event, fields)

    def bind(self, /, **fields: Any) -> JobLog:
        """Return a log that adds `fields` to each record; this one is unchanged."""
        return JobLog(self._loggers, self._shared, {**self._fields, **named(fields, BOUND)})

    def _write_own(self, severity: str, event: str, fields: dict[str, Any], keys: frozenset[str] = _NO_KEYS) -> None:
        """Write a record of the framework, whose fields and `keys` take precedence over the job's fields."""
        self._write(severity, _LEVEL_OF[severity], event, fields, BOUND.union(fields, keys))

    def _write(
        self, severity: str, level: int, event: str, fields: dict[str, Any], reserved: frozenset[str] = BOUND
    ) -> None:
        found = self._loggers.find()
        if found is None and severity in ("warning", "error"):
            fields.pop("exc_info", None)
            _unregistered.call(write_somewhere, severity, event, self._all(fields, reserved))
        elif found is not None and found.wants(level):
            found.guard.call(deliver, found.logger, severity, level, event, self._all(fields, reserved))

    def _all(self, fields: dict[str, Any], reserved: frozenset[str]) -> dict[str, Any]:
        """Return the fields of a record in order: the job's, those bound to the log, those of this call."""
        shared = {**self._shared}  # A copy, because a thread may be writing to it.
        return {**named(shared, reserved), **self._fields, **named(fields, RESERVED)}


def deliver(logger: Logger, severity: str, level: int, event: str, fields: dict[str, Any]) -> None:
    """Pass one record to a logger of either kind."""
    if not isinstance(logger, Mapping):
        getattr(logger, severity)(event, **fields)
        return
    if fields.get("exc_info") is True:
        fields["exc_info"] = sys.exc_info()[1]
    handler_for(logger, level)(event, fields)


def handler_for(handlers: Mapping[int, Handler], level: int) -> Handler:
    """Return the handler of the level, else that of the nearest level below it, else that of the lowest level."""
    below = [registered for registered in handlers if registered <= level]
    return handlers[max(below) if below else min(handlers)]
