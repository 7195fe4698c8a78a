"""The two states of a job's run: what each table allows, and what a run goes through."""

import pytest

from job import Job, JobState, Observer
from job._core.run.progress import PROGRESS_MOVES, STOP_MOVES, Progress, StopMode
from tests.journal import done, forever


@pytest.mark.parametrize("new", Progress)
@pytest.mark.parametrize("old", Progress)
def test_progress_follows_its_table(old: Progress, new: Progress) -> None:
    """A move that the table does not have is a bug of the engine, and says so."""
    if new in PROGRESS_MOVES[old]:
        assert old.moves[new] is new
    else:
        with pytest.raises(AssertionError, match="illegal move"):
            old.moves[new]


@pytest.mark.parametrize("new", StopMode)
@pytest.mark.parametrize("old", StopMode)
def test_stop_follows_its_table(old: StopMode, new: StopMode) -> None:
    """A stop only ever becomes more urgent."""
    if new in STOP_MOVES[old]:
        assert old.moves[new] is new
    else:
        with pytest.raises(AssertionError, match="illegal move"):
            old.moves[new]


def test_progress_never_goes_back() -> None:
    """Each state is left for later ones alone."""
    order = list(Progress)
    assert all(order.index(new) > order.index(old) for old in order for new in PROGRESS_MOVES[old])


async def test_a_run_goes_through_all_of_them() -> None:
    """From the first init to the last finalizer."""
    seen: list[Progress] = []

    class Watching(Observer):
        def on_event(self, event: object) -> None:
            if j._run is not None and j._run.progress not in seen:
                seen.append(j._run.progress)

    j = Job[None](observers=[Watching()])
    j.add_task(lambda job: (done, done, done))
    assert await j.run() is JobState.DONE
    assert seen == [Progress.STARTING, Progress.RUNNING, Progress.FINALIZING]


async def test_a_block_that_ends_cancels_the_loops() -> None:
    """A finish without a grace goes on to the cancellation at once; the job is DONE all the same."""
    j = Job[None]()
    j.add_task(forever)
    async with j:
        run = j._run
        assert run is not None
        stop = run.stop
        assert stop.mode is StopMode.NONE
    assert stop.mode is StopMode.CANCELLED
    assert j.state is JobState.DONE
