"""The small example programs, each as a process, stopped by a real signal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Example:
    """An example that runs, and what it has said."""

    def __init__(self, name: str) -> None:
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"examples.{name}"],
            bufsize=0,  # so that no line hides from `communicate`
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def says(self, *lines: str) -> None:
        """Wait until it has said these lines, in whatever order."""
        assert self.process.stdout is not None
        while not set(lines) <= set(self.said):
            line = self.process.stdout.readline()
            assert line, "the example has ended"
            self.said.append(line.decode().rstrip())

    def stops(self, number: signal.Signals) -> list[str]:
        """Send a signal; it ends well. Return its log."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        self.said += out.decode().splitlines()
        assert self.process.returncode == 0, err.decode()
        return err.decode().splitlines()


Start = Callable[[str], Example]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start examples, and leave none behind."""
    examples: list[Example] = []

    def start_example(name: str) -> Example:
        examples.append(Example(name))
        return examples[-1]

    yield start_example
    for example in examples:
        example.process.kill()
        example.process.communicate()


def test_pubsub_drains(start: Start) -> None:
    """Every message that was published before the stop comes to both subscribers."""
    pubsub = start("pubsub")
    pubsub.says("published 4")
    *_, ended = pubsub.stops(signal.SIGINT)
    published = [line.split()[1] for line in pubsub.said if line.startswith("published")]
    for name in ("ann", "bob"):
        assert [line.split()[2] for line in pubsub.said if line.startswith(f"{name} got")] == published
    assert json.loads(ended)["code"] == "signal"


def test_bad_actor_is_forced(start: Start) -> None:
    """The bad actor is cut long before the grace of its job is over, and named; its neighbour leaves in good order."""
    theatre = start("bad_actor")
    theatre.says("never going to stop")
    *_, ended = theatre.stops(signal.SIGTERM)
    assert "the neighbour leaves" in theatre.said
    record = json.loads(ended)
    assert (record["state"], record["code"]) == ("done", "signal-cut@bad_actor:run")
    assert "bad_actor" in record["other_errors"][0]


def test_schedule(start: Start) -> None:
    """What the tasks need is fetched first; the periodic and the cron task run until a signal, and clean up."""
    schedule = start("schedule")
    schedule.says("reports on the rules the targets", "alive", "report 0")
    schedule.stops(signal.SIGTERM)
    assert schedule.said[0] == "reports on the rules the targets"
    assert schedule.said[-1] == "reports end"


def test_background_work(start: Start) -> None:
    """The hooks hear of everything; at the stop the mail on its way is still sent, and the loop ends."""
    mailer = start("background_work")
    mailer.says("added welcome mail", "added reminder", "added queue")
    mailer.stops(signal.SIGINT)
    assert mailer.said.count("failed reminder ValueError('no address: bob')") == 2
    assert {"stalled welcome mail", "succeeded welcome mail", "succeeded queue"} <= set(mailer.said)
