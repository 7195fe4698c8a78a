"""The load generator, from Python: compile it, start it, give it work."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .process import LOAD_CORE, processor_seconds, running

SOURCE: Final = Path(__file__).with_name("load.c")


COMPILER: Final = shutil.which("cc") or shutil.which("gcc")
IN_PYTHON: Final = "No C compiler here: the load is in Python, and may be the limit."


@dataclass(frozen=True, slots=True)
class Work:
    """What came of one piece of work.

    Attributes:
        answer: the generator's own figures.
        seconds: that it took, all in all.
        proxy_share: of its core that the proxy used meanwhile.
        load_share: the same of the generator.
    """

    answer: dict[str, Any]
    seconds: float
    proxy_share: float
    load_share: float

    def per_second(self, what: str) -> float:
        """Return one of the counts per second of the time that counted."""
        return float(self.answer[what]) / float(self.answer["seconds"])


class Load:
    """A generator that runs, with its backend on `port`; `note` is what a reader of its figures must know."""

    def __init__(self, process: subprocess.Popen[str], note: str) -> None:
        self.note = note
        self._process = process
        self.port = int(self._line())

    def work(self, words: str, proxy: int) -> Work:
        """Do one piece of work through the proxy of that process id."""
        before = time.monotonic(), processor_seconds(proxy), processor_seconds(self._process.pid)
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._line())
        after = time.monotonic(), processor_seconds(proxy), processor_seconds(self._process.pid)
        seconds, proxy_time, load_time = (b - a for a, b in zip(before, after, strict=True))
        return Work(answer, seconds, proxy_time / seconds, load_time / seconds)

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def loading(compiler: str | None = COMPILER) -> Iterator[Load]:
    """Start the generator, compiled where there is a compiler."""
    with tempfile.TemporaryDirectory(prefix="job-bench-") as folder:
        words: tuple[str, ...] = (sys.executable, "-m", f"{__package__}.load_in_python")
        if compiler is not None:
            words = (f"{folder}/load",)
            subprocess.run([compiler, "-O2", "-o", *words, str(SOURCE)], check=True)
        with running(words, LOAD_CORE) as process:
            yield Load(process, "" if compiler else IN_PYTHON)
