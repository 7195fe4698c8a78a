"""One-off and looping background work, with hooks that log what becomes of it.

Run `python -m examples.background_work` and press Ctrl-C: what is on its way is still sent.
"""

import sys

import trio

import job
from job.background import Manager
from job.tasks import Retry


class Hooks:
    """Logs what happens to the tasks of a manager, each with its metadata."""

    def on_event(self, event: job.Event) -> None:
        """Take one record; those of the job underneath are passed over."""
        match event:
            case job.TaskAdded(task=task):
                print("added", task.meta, flush=True)
            case job.TaskStateChanged(task=task, new=job.TaskState.FINISHED):
                print("succeeded", task.meta, flush=True)
            case job.TaskFailed(task=task, error=failure):
                print("failed", task.meta, repr(failure.error), flush=True)
            case job.TaskStalled(task=task):
                print("stalled", task.meta, flush=True)


async def send(address: str) -> None:
    """Stand in for a mail that takes its time."""
    if "@" not in address:
        raise ValueError(f"no address: {address}")
    await trio.sleep(0.5)


def poll() -> None:
    """Stand in for a look into a queue."""


async def mailer(task: job.Task) -> None:
    """Own the background work; the end of the block waits for what is under way."""
    async with Manager[str](observers=[Hooks()], stalled_after=0.2, retry=Retry(2)) as bg:
        bg.run(send, "ann@example.org", meta="welcome mail")
        bg.run(send, "bob", meta="reminder")
        bg.loop(poll, meta="queue", pause=0.1)
        await task.job.wait_stopping()
    task.done()


def main() -> job.Job[None]:
    """Return the job, for `job.run` or `job run examples.background_work:main`."""
    j = job.Job[None](name="mailer", grace=10)
    j.add_task(mailer)
    return j


if __name__ == "__main__":
    sys.exit(job.run(main()))
