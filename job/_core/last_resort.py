"""Where a warning goes that no logger is registered for: a line on stderr, or the structlog that a program has configured."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from .words.blocks import contextmanager
from .words.values import Values, printable


def _structlog_settings() -> dict[str, Any]:
    settings = structlog.get_config()
    return {**settings, "processors": list(settings["processors"])}


# structlog's own `is_configured` is no answer: it stays True after `capture_logs`, which has put everything back.
_UNCONFIGURED: Final = None if structlog.is_configured() else _structlog_settings()


def write_somewhere(severity: str, event: str, fields: dict[str, Any]) -> None:
    """Write a record where a program has registered no logger for it."""
    if _structlog_settings() != _UNCONFIGURED:
        getattr(structlog.get_logger("job"), severity)(event, **fields)
    elif sys.stderr is not None:  # for structlog's own logger None would be stdout
        _write_line({"timestamp": datetime.now(UTC).isoformat(), "level": severity, "event": event, **fields})


def _write_line(record: dict[str, Any]) -> None:
    values = Values()
    shown = {printable(name): printable(values.shown(values.plain(value))) for name, value in record.items()}
    _writers[-1](" ".join(f"{name}={text}" for name, text in shown.items()) + "\n")
    values.raise_order()


def report_fault(what: str, error: BaseException) -> None:
    """Say on stderr that a listener is at fault."""
    values = Values()
    _writers[-1](f"job: {what}: {printable(values.shown(error))}\n")
    values.raise_order()


def _write(text: str) -> None:
    """Write to stderr; a fault of that itself cannot be told anywhere."""
    with suppress(Exception):
        sys.stderr.write(text)


_writers: Final[list[Callable[[str], None]]] = [_write]


@contextmanager
def stderr_by(write: Callable[[str], None]) -> Iterator[None]:
    """Have `write` do what goes to stderr while the block runs: a program must not be held up by a reader that stops."""
    _writers.append(write)
    try:
        yield
    finally:
        _writers.remove(write)
