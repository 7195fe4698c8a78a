"""What the demo shows: live progress on a terminal, plain lines elsewhere, a table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, final

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from .program import printable
from .work import Report

LINE_EVERY: Final = 1.0
"""Seconds between two plain lines of progress."""


@final
class Display:
    """Shows lines, progress and a table. Use it as a context manager while there is progress."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            TextColumn("[bold]requests"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.0f}/s, {task.fields[connections]} connections"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("", total=None, rate=0.0, connections=0)
        self._next_line = 0.0

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, name: str, line: str) -> None:
        """Show a line that a program has printed."""
        self._console.print(f"[cyan]{name:>8}[/cyan]  {escape(printable(line))}")

    def show(self, report: Report) -> None:
        """Show how far the client is."""
        if self._console.is_terminal:
            self._progress.update(
                self._bar, total=report.total, completed=report.done, rate=report.rate, connections=report.connections
            )
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY
            self.say("client", f"{report.done} of {report.total} requests, {report.rate:.0f} requests/s")

    def table(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        """Show a table of two columns."""
        table = Table(title=title, title_justify="left", show_header=False, title_style="bold")
        table.add_column()
        table.add_column(justify="right")
        for row in rows:
            table.add_row(*row)
        self._console.print(table)
