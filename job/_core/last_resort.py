"""Write a warning without a registered logger: to stderr, or to structlog if the program has configured it."""

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


# structlog's own `is_configured` will not do: it stays True after `capture_logs`, which restores the settings.
_UNCONFIGURED: Final = None if structlog.is_configured() else _structlog_settings()


def write_somewhere(severity: str, event: str, fields: dict[str, Any]) -> None:
    """Write a record for which the program has registered no logger."""
    if _structlog_settings() != _UNCONFIGURED:
        getattr(structlog.get_logger("job"), severity)(event, **fields)
    elif sys.stderr is not None:  # structlog's own logger would take None for stdout.
        _write_line({"timestamp": datetime.now(UTC).isoformat(), "level": severity, "event": event, **fields})


def _write_line(record: dict[str, Any]) -> None:
    values = Values()
    shown = {printable(name): printable(values.shown(values.plain(value))) for name, value in record.items()}
    _writers[-1](" ".join(f"{name}={text}" for name, text in shown.items()) + "\n")
    values.raise_order()


def report_fault(what: str, error: BaseException) -> None:
    """Report a faulty logger or observer on stderr."""
    values = Values()
    _writers[-1](f"job: {what}: {printable(values.shown(error))}\n")
    values.raise_order()


def _write(text: str) -> None:
    """Write to stderr; if that fails, there is nowhere left to report it."""
    with suppress(Exception):
        sys.stderr.write(text)


_writers: Final[list[Callable[[str], None]]] = [_write]


@contextmanager
def stderr_by(write: Callable[[str], None]) -> Iterator[None]:
    """Write stderr output with `write` while the block runs: a reader that stops must not hold up the program."""
    _writers.append(write)
    try:
        yield
    finally:
        _writers.remove(write)
