"""Where a warning goes that no logger is registered for: a line on stderr, or the structlog that a program has configured."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from ._values import Values, printable


def _structlog_settings() -> dict[str, Any]:
    settings = structlog.get_config()
    return {**settings, "processors": list(settings["processors"])}


# structlog's own `is_configured` is no answer: it stays True after `capture_logs`, which has put everything back.
_UNCONFIGURED: Final = None if structlog.is_configured() else _structlog_settings()


def write_somewhere(severity: str, event: str, fields: dict[str, Any]) -> None:
    """Write a record that nobody has asked for."""
    if _structlog_settings() != _UNCONFIGURED:
        getattr(structlog.get_logger("job"), severity)(event, **fields)
    elif sys.stderr is not None:  # for structlog's own logger None would be stdout
        _write_line({"timestamp": datetime.now(UTC).isoformat(), "level": severity, "event": event, **fields})


def _write_line(record: dict[str, Any]) -> None:
    values = Values()
    shown = {printable(name): printable(values.shown(values.plain(value))) for name, value in record.items()}
    sys.stderr.write(" ".join(f"{name}={text}" for name, text in shown.items()) + "\n")
    values.raise_order()


def report_fault(message: str) -> None:
    """Say on stderr that a listener is at fault; where stderr itself is at fault, there is nobody left to tell."""
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"job: {printable(message)}\n")
        except Exception:
            return
