"""The live table of `job top`."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .._core.words.values import printable
from ._ask import Asked, AskError
from ._connections import SORTS

_EVERY: Final = 1.0
_RESIZED_WITHIN: Final = 0.2
_COLUMNS: Final = (
    ("CLIENT", "client", 12),
    ("LISTENER", "listener", 80),
    ("UPSTREAM", "upstream", 60),
    ("STATE", "state", 100),
    ("AGE", "age", 12),
    ("IDLE", "idle", 12),
    ("UP", "bytes_up", 40),
    ("DOWN", "bytes_down", 40),
    ("RATE", "bytes_per_second", 12),
)
"""Each column: its title, its field, and how wide a terminal has to be for it."""

_LEFT: Final = frozenset({"client", "listener", "upstream", "state"})


@final
class Top:
    """One program on a terminal. Keys: s sorts by the next column, / filters, w shows where tasks wait, q quits."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._console = Console(highlight=False, markup=False)
        self._sorts = list(SORTS)
        self._filter = ""
        self._typing = False
        self._where = True
        self._data: dict[str, Any] = {}
        self._tree = ""

    def print(self) -> None:
        """Print it once, all of it."""
        self._look()
        self._console.print(self._picture(rows=1000, lines=10_000))

    def run(self) -> None:
        """Show it until a key says so, or the program ends."""
        try:
            self._look()
            with _keys(), Live(console=self._console, screen=True, auto_refresh=False) as live:
                self._loop(live)
        except KeyboardInterrupt:
            return
        except AskError:
            if not self._data:
                raise
            print("job top: the program has ended")

    def _loop(self, live: Live) -> None:
        next_look = time.monotonic() + _EVERY
        while True:
            height = self._console.size.height
            live.update(self._picture(rows=max(3, height // 2 - 4), lines=max(3, height // 2 - 3)), refresh=True)
            if select.select([sys.stdin], [], [], _RESIZED_WITHIN)[0]:
                key = os.read(sys.stdin.fileno(), 1).decode("latin-1")
                if not key or not self._pressed(key):
                    return
            if time.monotonic() >= next_look:
                self._look()
                next_look = time.monotonic() + _EVERY

    def _pressed(self, key: str) -> bool:
        """Do what a key says; return whether to go on."""
        if self._typing:
            self._type(key)
        elif key in ("q", "\x03", "\x04"):
            return False
        elif key == "s":
            self._sorts.append(self._sorts.pop(0))
            self._look()
        elif key == "w":
            self._where = not self._where
            self._look()
        elif key == "/":
            self._typing, self._filter = True, ""
        return True

    def _type(self, key: str) -> None:
        if key in ("\r", "\n", "\x1b"):
            self._typing = False
        elif key in ("\x7f", "\b"):
            self._filter = self._filter[:-1]
        elif key.isprintable():
            self._filter += key

    def _look(self) -> None:
        about = self._asked.json("/overview.json")
        found = self._asked.json(f"/connections.json?sort={self._sorts[0]}&limit=1000")
        self._tree = self._asked.get(f"/jobs?where={int(self._where)}").decode()
        self._data = {"program": about, **found}

    def _picture(self, *, rows: int, lines: int) -> Group:
        shown = [row for row in self._data["connections"] if self._filter in " ".join(map(str, row.values()))]
        tree = self._tree.splitlines()
        rest = [f"… {len(tree) - lines} more lines"] if len(tree) > lines else []
        text = Text("\n".join([*tree[:lines], *rest]), no_wrap=True, overflow="ellipsis")
        return Group(
            Text(self._head(shown), style="bold", no_wrap=True, overflow="ellipsis"), self._table(shown[:rows]), text
        )

    def _head(self, shown: list[dict[str, Any]]) -> str:
        about, rate = self._data["program"], sum(row["bytes_per_second"] for row in shown)
        parts = [
            f"{printable(str(about['job']))} ({about['pid']}) {about['state']}",
            f"{len(shown)} of {self._data['total']} connections",
            f"{_size(rate)}/s",
            f"sorted by {self._sorts[0]}",
        ]
        if self._filter or self._typing:
            parts.append(f"filter: {printable(self._filter)}{'_' if self._typing else ''}")
        return " · ".join(parts)

    def _table(self, rows: list[dict[str, Any]]) -> Table:
        columns = [(title, name) for title, name, least in _COLUMNS if self._console.size.width >= least]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title, name in columns:
            table.add_column(title, justify="left" if name in _LEFT else "right", no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*[Text(_cell(name, row[name])) for _, name in columns])
        return table


def _cell(name: str, value: Any) -> str:
    if name in _LEFT:
        return printable("" if value is None else str(value))
    if name in ("age", "idle"):
        return f"{value:.1f}s"
    return _size(value) + ("/s" if name == "bytes_per_second" else "")


def _size(count: float) -> str:
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        del units[0]
    return f"{count:.0f} B" if units[0] == "B" else f"{count:.1f} {units[0]}"


@contextmanager
def _keys() -> Iterator[None]:
    """Read single keys from the terminal while the block runs."""
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    tty.setcbreak(number)
    try:
        yield
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
