"""Render a log record as one line: JSON for machines, text and colours for people."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeAlias

from structlog.tracebacks import ExceptionDictTransformer

from .._core.words.log_fields import named
from .._core.words.values import Values, printable


class Record(NamedTuple):
    """A log record; `error` is the exception whose traceback is written with it."""

    level: str
    event: object
    fields: Mapping[str, Any]
    error: BaseException | None = None


Render: TypeAlias = Callable[[Record, Values], str]

_EXCEPTION: Final = "exception"  # The key of the traceback.
_EVENT_WIDTH: Final = 30
_RESET, _BOLD, _DIM, _CYAN, _MAGENTA = "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[36m", "\x1b[35m"
_LEVEL_STYLES: Final = {"error": "\x1b[31m", "warning": "\x1b[33m", "info": "\x1b[32m", "debug": "\x1b[32m"}

# Without the locals of each frame, which may hold secrets.
_trace_of: Final = ExceptionDictTransformer(show_locals=False)


def json_line(record: Record, values: Values) -> str:
    """Return a JSON object; values that JSON cannot express are written as their repr."""
    line = {"event": values.plain(record.event), "level": record.level, "timestamp": _now()}
    fields = record.fields if record.error is None else named(record.fields, (_EXCEPTION,))
    line.update((name, values.plain(each)) for name, each in fields.items())
    if record.error is not None:
        line[_EXCEPTION] = _trace(record.error, values)
    return json.dumps(line)


def console_line(record: Record, values: Values) -> str:
    """Return a readable line, with the traceback below it; control characters are escaped."""
    return _told(record, values, lambda _, text: text)


def coloured_line(record: Record, values: Values) -> str:
    """Return a readable line with colours, for a terminal."""
    return _told(record, values, lambda style, text: f"{style}{text}{_RESET}")


def _told(record: Record, values: Values, styled: Callable[[str, str], str]) -> str:
    parts = [
        styled(_DIM, _now()),
        f"[{styled(_LEVEL_STYLES.get(record.level, _BOLD), f'{record.level:<9}')}]",
        styled(_BOLD, f"{values.text(record.event):<{_EVENT_WIDTH}}"),
        *(
            f"{styled(_CYAN, printable(name))}={styled(_MAGENTA, _quoted(each, values))}"
            for name, each in record.fields.items()
        ),
    ]
    line = " ".join(parts).rstrip()
    return line if record.error is None else f"{line}\n{_traceback(record.error, values)}"


def _quoted(value: object, values: Values) -> str:
    """Return a value as text, quoted if its end would be ambiguous."""
    if isinstance(value, str) and any(mark in value for mark in " ='\""):
        return repr(str.__str__(value))
    return values.text(value)


def _trace(error: BaseException, values: Values) -> Any:
    try:
        return values.plain(_trace_of((type(error), error, error.__traceback__)))
    except Exception:  # Groups may be nested deeper than Python's stack.
        return values.shown(error)


def _traceback(error: BaseException, values: Values) -> str:
    try:
        text = "".join(traceback.format_exception(error)).rstrip("\n")
    except Exception:
        text = values.shown(error)
    return "\n".join(map(printable, text.split("\n")))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
