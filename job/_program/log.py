"""The log of `job.run`: readable lines on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, final

import structlog
from structlog.contextvars import get_contextvars

from .._core.words.blocks import contextmanager
from .._core.words.log_fields import BOUND, named
from .._core.words.values import Values
from ..log import default_logger
from .log_writer import LogWriter
from .render import Record, Render, coloured_line, console_line, json_line

FORMATS: Final = ("auto", "console", "json")
"""The formats of a program's log."""

FLUSHED_WITHIN: Final = 2.0
"""Seconds to wait, at the end, for the reader of the log to take the remaining lines."""

LAST_WORDS_WITHIN: Final = 0.5
"""The same, if the process is to end at once."""


@final
class ProgramLog:
    """The log of one program. It writes to the `sys.stderr` of the moment, or nowhere if that is None.

    Args:
        style: one of `FORMATS`. `console` is readable, with colours on a terminal unless NO_COLOR is set; `json` is one object
            a line; `auto` is the first on a terminal and the second elsewhere.
    """

    __slots__ = ("_render", "_stream", "_style", "_writer")

    def __init__(self, style: str) -> None:
        self._style = style
        self._stream: Any = None
        self._render: Render = json_line
        self._writer = LogWriter(self._dropped)

    @contextmanager
    def registered(self, level: int) -> Iterator[None]:
        """Make this the default logger while the block runs."""
        logger = structlog.wrap_logger(
            structlog.testing.ReturnLogger(), processors=[self._process], wrapper_class=structlog.BoundLogger
        )
        with default_logger(logger, level):
            yield

    def write(self, text: str) -> None:
        """Queue a text to be written."""
        self._writer.write(sys.stderr, text)

    def close(self) -> None:
        """Wait until everything is written, for `FLUSHED_WITHIN` seconds at most."""
        self._writer.close(sys.stderr, FLUSHED_WITHIN)

    def last_words(self, text: str) -> None:
        """Write the queue and a last text within `LAST_WORDS_WITHIN` seconds; a signal handler may call this."""
        self._writer.last_words(sys.stderr, text, LAST_WORDS_WITHIN)

    def _process(self, _: object, level: str, record: MutableMapping[str, Any]) -> str:
        """Write a record, as the only processor of a structlog logger."""
        stream = sys.stderr
        if stream is None:
            return ""
        event, error = record.pop("event", None), _error(record.pop("exc_info", None))
        bound = {name: value for name, value in named(get_contextvars(), BOUND).items() if name not in record}
        values = Values()
        text = self._rendering(stream)(Record(level, event, {**record, **bound}, error), values)
        self._writer.write(stream, f"{text}\n")
        values.raise_order()
        return ""

    def _rendering(self, stream: Any) -> Render:
        if stream is not self._stream:
            self._stream = stream
            self._render = _rendering(self._style, terminal=_is_terminal(stream))
        return self._render

    def _dropped(self, lines: int) -> str:
        return f"{self._render(Record('warning', 'log.dropped', {'lines': lines}), Values())}\n"


def _rendering(style: str, *, terminal: bool) -> Render:
    if style == "json" or (style == "auto" and not terminal):
        return json_line
    return coloured_line if terminal and not os.environ.get("NO_COLOR") else console_line


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except Exception:  # The stream is closed, or has no isatty().
        return False


def _error(exc_info: object) -> BaseException | None:
    """Return the error in `exc_info`: an exception, a `sys.exc_info` triple, or True for the one being handled."""
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1] if len(exc_info) > 1 else None
    elif exc_info is not None and exc_info is not False and not isinstance(exc_info, BaseException):
        exc_info = sys.exc_info()[1]
    return exc_info if isinstance(exc_info, BaseException) else None
