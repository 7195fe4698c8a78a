"""Play a scenario: a planned job, with a driver that acts on it from outside."""

from __future__ import annotations

import trio

from ._actors import Director
from ._plans import Push, Scenario
from ._stage import Performance, perform
from ._trace import Ask, Trace


def play(scenario: Scenario) -> tuple[Trace, ...]:
    """Run the job of a scenario under virtual time; call this outside of trio.

    Returns:
        A trace of the job, and one of each job that ran inside of it, in the order in which they started.

    Raises:
        StuckError: the job does not end.
    """

    async def drive(performance: Performance) -> None:
        director = Director(performance.tracer)
        start = trio.current_time()
        for push in sorted(scenario.pushes, key=lambda push: push.at):
            await trio.sleep_until(start + push.at)
            _push(performance, director, push)
        await trio.sleep_until(start + scenario.horizon)
        performance.ask(Ask.CANCEL)
        await trio.sleep_forever()

    return perform(
        lambda tracer: Director(tracer).job(scenario.job),
        drive,
        entry=scenario.entry,
        block=scenario.block,
        seed=scenario.seed,
    )


def _push(performance: Performance, director: Director, push: Push) -> None:
    if push.what is not None:
        performance.ask(push.what, push.grace)
    elif push.task is not None:
        director.add(performance.job, push.task)
