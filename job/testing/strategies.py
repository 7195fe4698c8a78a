"""Hypothesis strategies of random jobs; the one module of `job.testing` that needs hypothesis.

```python
@given(scenarios())
def test_my_observer(scenario):
    for trace in play(scenario):
        check_trace(trace)
```
"""

from __future__ import annotations

import math

from .._core.words.states import StopPolicy
from ._plans import Call, Ends, JobPlan, Push, Scenario, TaskPlan
from ._trace import Ask, Entry

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("job.testing.strategies needs hypothesis: pip install hypothesis") from error

__all__ = ["job_plans", "scenarios", "task_plans"]

# Few round values make events coincide, which is what breaks schedulers.
MOMENTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
HANGS = 100.0
FAULTS = (Ends.RAISE, Ends.ASSERT)


@st.composite
def _calls(draw: st.DrawFn, ends: st.SearchStrategy[Ends]) -> Call:
    """Draw a call that ends in one of `ends`."""
    return Call(
        ends=draw(ends),
        takes=draw(st.sampled_from((None, *MOMENTS))),
        enters=draw(st.sampled_from((0, 0, 0, 1, 2))),
        faulty=draw(_rarely),
        clings=draw(st.sampled_from((0.0, 0.0, 0.0, 0.5, 1.0))),
        abandons=draw(_rarely),
        plain=draw(st.booleans()),
    )


_rarely = st.sampled_from((False,) * 9 + (True,))
_seldom = st.sampled_from((False, False, False, True))
_setups = _calls(st.sampled_from((Ends.RETURN,) * 8 + FAULTS + (Ends.FATAL,)))
_steps = _calls(
    st.sampled_from((Ends.TICK,) * 6 + (Ends.IDLE,) * 3 + (Ends.DONE,) * 3 + FAULTS + (Ends.RETURN, Ends.FINISH_JOB))
)
_lasts = _calls(st.sampled_from((Ends.DONE,) * 6 + (Ends.FINISH_JOB,) * 2 + FAULTS * 2 + (Ends.FATAL, Ends.RETURN)))


@st.composite
def _endless(draw: st.DrawFn) -> Call:
    """Draw a call that takes time, so that it can be repeated for ever."""
    ends = draw(st.sampled_from((Ends.TICK, Ends.TICK, Ends.IDLE)))
    takes = draw(st.sampled_from((0.5, 1.0, HANGS)))
    return Call(ends, takes, clings=draw(st.sampled_from((0.0, 0.0, 0.5))), abandons=draw(st.booleans()))


@st.composite
def _finalizers(draw: st.DrawFn) -> Call:
    """Draw a finalizer, which may hang."""
    ends = draw(st.sampled_from((Ends.RETURN,) * 10 + FAULTS + (Ends.FATAL,)))
    takes = draw(st.sampled_from((None, None, 0.0, 0.5, 1.0, HANGS)))
    return Call(ends, takes, plain=draw(st.booleans()))


_last_calls = st.one_of(_lasts, _endless())


@st.composite
def _runs(draw: st.DrawFn, children: st.SearchStrategy[Call]) -> tuple[Call, ...] | None:
    """Draw the calls of a run loop, or no run."""
    if draw(_rarely):
        return None
    first = draw(st.lists(st.one_of(_steps, _steps, _steps, children), max_size=3))
    return (*first, draw(_last_calls))


@st.composite
def task_plans(draw: st.DrawFn, name: str = "task", *, depth: int = 1, oneshot: bool = False) -> TaskPlan:
    """Draw a task. With `depth` above 0, it may run jobs and add tasks to its own job."""
    inner = _nested(name, depth) if depth > 0 else _steps
    policy = StopPolicy.ERROR if oneshot else draw(st.sampled_from(StopPolicy))
    return TaskPlan(
        name,
        run=draw(_runs(inner)),
        init=draw(st.none() | _setups),
        finalize=draw(st.none() | _finalizers()),
        policy=policy,
        transient=policy is StopPolicy.CONTAIN and draw(st.booleans()),
        idle_timeout=None if oneshot else draw(st.sampled_from((None, None, None, 0.5, 1.0, 2.5))),
    )


@st.composite
def _nested(draw: st.DrawFn, name: str, depth: int) -> Call:
    """Draw a call that runs a job of its own, or adds a task."""
    call = draw(_steps)
    if draw(st.booleans()):
        child = draw(job_plans(f"{name}>job", depth=depth - 1, most=2))
        return Call(call.ends, call.takes, call.enters, child=child)
    added = draw(task_plans(f"{name}+", depth=depth - 1))
    return Call(call.ends, call.takes, call.enters, plain=call.plain, adds=added)


@st.composite
def job_plans(draw: st.DrawFn, name: str = "job", *, depth: int = 1, most: int = 5) -> JobPlan:
    """Draw a job of at most `most` recurrent tasks, with or without a oneshot."""
    count = draw(st.integers(0, most))
    return JobPlan(
        tasks=tuple(draw(task_plans(f"{name}.{index + 1}", depth=depth)) for index in range(count)),
        oneshot=draw(st.none() | task_plans(f"{name}.0", depth=depth, oneshot=True)),
        name=name,
        timeout=draw(st.sampled_from((math.inf, math.inf, math.inf, 1.0, 2.0, 0.0))),
        grace=draw(st.sampled_from((0.0, 0.0, 1.0, 5.0))),
        finalize_timeout=draw(st.sampled_from((10.0, 1.0, 0.0))),
        stop_timeout=draw(st.sampled_from((math.inf, math.inf, math.inf, 2.0))),
        keep_open=draw(_seldom),
        maps_errors=draw(_rarely),
        hook=draw(st.none() | _finalizers()),
    )


@st.composite
def _pushes(draw: st.DrawFn) -> Push:
    """Draw one action of an outside driver."""
    at = draw(st.sampled_from((*MOMENTS, 0.25)))
    what = draw(st.sampled_from((None, *Ask)))
    task = draw(task_plans("added", depth=0)) if what is None else None
    return Push(at, what, draw(st.sampled_from((None, 0.0, 1.0))), task)


@st.composite
def scenarios(draw: st.DrawFn, *, depth: int = 1) -> Scenario:
    """Draw a job and the actions on it from outside; jobs nest up to `depth` levels."""
    return Scenario(
        job=draw(job_plans(depth=depth)),
        pushes=tuple(draw(st.lists(_pushes(), max_size=3))),
        entry=draw(st.sampled_from((Entry.RUN, Entry.RUN, *Entry))),
        block=draw(st.sampled_from(MOMENTS)),
        horizon=8.0,
        seed=draw(st.integers(0, 1000)),
    )
