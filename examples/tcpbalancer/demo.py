"""The demo: three backends, the balancer and the client as processes of their own, and a backend killed in the middle.

It is a job itself. Each process is a task: the inits start them in order, backends first, as the balancer needs their
addresses; the finalizers stop them in reverse. When the client has ended, it finishes the job.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, final

import msgspec
import trio

import job

from . import images, sheet
from .client import list_pictures, make_output
from .display import Display
from .drawing import draw_pictures
from .processes import Program
from .program import ProgramError, complain, run
from .work import Report

BACKENDS: Final = ("b1", "b2", "b3")
VICTIM: Final = "b2"
KILL_AT: Final = 1 / 3
"""How much of the work is done when the victim is killed."""
BOX: Final = (200, 200)
REQUESTS: Final = 300
"""How many requests make a demo that is long enough to watch."""
CONTACT_SHEET: Final = "contact-sheet.png"
NAMED: Final = 5
"""How many faulty pictures are named one by one."""


def demo(folder: Path | None, output: Path, *, times: int | None, loglevel: int) -> int:
    """Run the demo and return its exit code: 0 only if every picture came back right.

    Raises:
        ProgramError: there is nothing to do, or nowhere to put it.
    """
    display = Display()
    with tempfile.TemporaryDirectory(prefix="tcpbalancer-") as drawn:
        if folder is None:
            folder = Path(drawn)
            display.say("demo", "drawing pictures; IMAGES=DIR (or --images DIR) takes your own")
            draw_pictures(folder)
        sources = list_pictures(folder)
        clear_output(make_output(output), folder)
        show = Show(folder, output, times or math.ceil(REQUESTS / len(sources)), display, loglevel)
        with display:
            code = run(show.build(), loglevel=loglevel)
        return code or judge(show, sources, output, display)


@final
class Show:
    """The processes of the demo, and what the client reports."""

    def __init__(self, folder: Path, output: Path, times: int, display: Display, loglevel: int) -> None:
        self.times = times
        self.report: Report | None = None
        self._folder = folder
        self._output = output
        self._display = display
        self._logging = ["--loglevel", str(loglevel)]
        self._time_to_kill = trio.Event()
        self.backends = {name: Program(name, partial(self._backend, name), display.say) for name in BACKENDS}
        self.proxy = Program("balancer", self._proxy, display.say)
        self.client = Program("client", self._client, self._hear, leads=True)

    @property
    def exit_codes(self) -> dict[str, int | None]:
        """The exit codes of all processes but the one that was killed."""
        programs = (*self.backends.values(), self.proxy, self.client)
        return {program.name: program.code for program in programs if program.name != VICTIM}

    def build(self) -> job.Job[None]:
        """Build the job."""
        j: job.Job[None] = job.Job(name="demo", grace=1, finalize_timeout=20, quiet=(ProgramError,))
        for program in (*self.backends.values(), self.proxy, self.client):
            j.add_task(program, name=program.name)
        j.add_task(self.kill)
        return j

    async def kill(self, task: job.Task) -> None:
        """Kill one backend, without a warning, in the middle of the work."""
        await self._time_to_kill.wait()
        self._display.say("demo", f"SIGKILL for {VICTIM}; its connections break, and others take over their pictures")
        self.backends[VICTIM].kill()
        task.done()

    async def _backend(self, name: str) -> list[str]:
        return ["backend", "-p", "0", "--name", name, *self._logging]

    async def _proxy(self) -> list[str]:
        arguments = ["proxy", "-p", "0", *self._logging]
        for backend in self.backends.values():
            arguments += ["-u", await backend.address()]
        return arguments

    async def _client(self) -> list[str]:
        arguments = ["client", "--json", "--proxy", await self.proxy.address(), "--times", str(self.times)]
        arguments += ["--input", str(self._folder.resolve()), "--output", str(self._output.resolve())]
        return [*arguments, "-w", str(BOX[0]), "-H", str(BOX[1]), *self._logging]

    def _hear(self, name: str, line: str) -> None:
        try:
            report = self.report = msgspec.json.decode(line, type=Report)
        except msgspec.DecodeError:
            self._display.say(name, line)
            return
        self._display.show(report)
        if report.done >= report.total * KILL_AT:
            self._time_to_kill.set()


def clear_output(output: Path, folder: Path) -> None:
    """Remove what an earlier demo has left: it must not be taken for the work of this one.

    Raises:
        ProgramError: the pictures come from there.
    """
    if output.resolve() == folder.resolve():
        raise ProgramError(f"the pictures are in {output}, where the resized ones would go; choose another --output")
    for path in output.glob(f"*-{BOX[0]}x{BOX[1]}*"):
        if path.suffix.lower() in images.SUFFIXES:
            path.unlink()
    (output / CONTACT_SHEET).unlink(missing_ok=True)


def judge(show: Show, sources: Sequence[Path], output: Path, display: Display) -> int:
    """Look at every picture, draw the contact sheet, print the table, and return the exit code."""
    if show.report is None:
        complain("stopped before there was anything to see")
        return 1
    wrong = sheet.faults(sources, output, BOX, show.times)
    for line in wrong[:NAMED]:
        complain(line)
    if len(wrong) > NAMED:
        complain(f"and {len(wrong) - NAMED} more like these")
    for name, code in show.exit_codes.items():
        if code != 0:
            complain(f"{name} ended with exit code {code}")
    shown = [output / images.output_name(source, BOX, 1) for source in sources]
    sheet_path = output / CONTACT_SHEET
    sheet.contact_sheet([path for path in shown if path.exists()]).save(sheet_path)
    display.table("The image balancer", rows(show.report, len(sources), len(wrong)))
    display.say("demo", f"all pictures at a glance: {sheet_path}")
    return int(bool(wrong) or any(show.exit_codes.values()))


def rows(report: Report, pictures: int, wrong: int) -> list[tuple[str, str]]:
    """Return what there is to say of a run."""
    served = [
        (f"requests at {name}{' (killed)' if name == VICTIM else ''}", str(report.backends.get(name, 0)))
        for name in BACKENDS
    ]
    return [
        ("images", str(pictures)),
        ("requests", f"{report.done} of {report.total}"),
        ("seconds", f"{report.seconds:.2f}"),
        ("requests per second", f"{report.rate:.1f}"),
        ("bytes sent", f"{report.bytes_sent:,}"),
        ("bytes received", f"{report.bytes_received:,}"),
        *served,
        ("connections lost", str(report.lost_connections)),
        ("requests sent again", str(report.retried)),
        ("failures", str(wrong)),
    ]
