"""Periodic tasks and a cron task under a signal listener; what they need is fetched first, at once.

Run `python -m examples.schedule` and press Ctrl-C.
"""

import signal

import trio

import job
from job.futures import open_futures
from job.tasks import cron, every, once, recurrent, signal_listener


async def fetch(name: str) -> str:
    """Stand in for a request over the network."""
    await trio.sleep(0.05)
    return f"the {name}"


async def configure(task: job.Task) -> None:
    """Fetch two things at once."""
    async with open_futures() as submit:
        rules, targets = submit(fetch, "rules"), submit(fetch, "targets")
        task.job.value = [await rules, await targets]


def alive(task: job.Task) -> None:
    """Say so."""
    print("alive", flush=True)


class Report:
    """A task with all three routines."""

    def init(self, task: job.Task) -> None:
        print("reports on", *task.job.value, flush=True)

    def run(self, task: job.Task) -> None:
        print("report", task.steps, flush=True)
        task.tick()

    def finalize(self, task: job.Task) -> None:
        print("reports end", flush=True)


def main() -> job.Job[list[str]]:
    """Return the job. It listens to the signals by itself, so `trio.run` will do."""
    j = job.Job[list[str]](name="schedule", grace=5)
    j.add_oneshot_task(once(configure))
    j.add_task(signal_listener(signal.SIGINT, signal.SIGTERM))
    j.add_task(every(0.2, recurrent(alive)))
    j.add_task(cron("* * * * * *", Report()))  # six fields: each second
    return j


if __name__ == "__main__":
    trio.run(main().run)
