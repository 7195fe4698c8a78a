"""`force_stop` around `force_stop`."""

import trio
from trio.testing import MockClock

from job import Job, StopTimeoutError, Task
from job.tasks import force_stop


async def test_one_overrun_is_one_error(autojump_clock: MockClock) -> None:
    """Where both limits are overrun it is one error, of the first that cut the run."""

    async def stubborn(task: Task) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    j = Job[None](grace=60)
    j.add_task(force_stop(force_stop(stubborn, 1), 2))
    async with trio.open_nursery() as nursery:
        await j.run_in_background(nursery)
        await trio.sleep(1)
        j.finish()
    assert [type(failure.error) for failure in j.errors] == [StopTimeoutError]
