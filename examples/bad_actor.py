"""A task that does not care about being stopped, and what becomes of it.

Run `python -m examples.bad_actor` and press Ctrl-C. The grace of the job is a minute; the bad actor has half a second.
"""

import sys

import trio

import job
from job.tasks import force_stop


async def bad_actor(task: job.Task) -> None:
    """Take no step and look at no stop, for ever."""
    while True:
        print("never going to stop", flush=True)
        await trio.sleep(0.1)


async def neighbour(task: job.Task) -> None:
    """Wait for the stop, and leave in good order."""
    await task.job.wait_stopping()
    print("the neighbour leaves", flush=True)
    task.done()


def main() -> job.Job[None]:
    """Return the job, for `job.run` or `job run examples.bad_actor:main`."""
    j = job.Job[None](name="theatre", grace=60)
    j.add_task(force_stop(bad_actor, after=0.5))
    j.add_task(neighbour)
    return j


if __name__ == "__main__":
    sys.exit(job.run(main()))
