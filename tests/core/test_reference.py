"""The reference page of the core has each member and each option, with its default."""

import inspect
import math
import re
from pathlib import Path
from typing import Any

import pytest

import job
from job import Job, Task

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "core.md").read_text()

FOR_THE_ENGINE = {"completed"}
SAID_IN_WORDS = {"name": "`job-<id>`", "parent": "the current job"}

OWNERS = (
    Job,
    Task,
    job.JobLog,
    job.JobStatistics,
    job.TaskStatistics,
    job.Verdict,
    job.Cause,
    job.TaskError,
    job.JobState,
    job.TaskState,
    job.CauseKind,
)


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
def test_members(owner: Any) -> None:
    """Each public member has a place on the page."""
    names = {name for name in dir(owner) if not name.startswith("_")} - FOR_THE_ENGINE
    assert [name for name in sorted(names) if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", PAGE)] == []


def test_options_of_a_job() -> None:
    """Each option of Job has a row with its default."""
    parameters = inspect.signature(Job).parameters
    rows = {name: SAID_IN_WORDS.get(name, shown(parameter.default)) for name, parameter in parameters.items()}
    assert rows == defaults("option")


def test_options_of_a_task() -> None:
    """Each option of add_task has a row with its default; those of add_oneshot_task are some of them."""
    options = keyword_only(Job.add_task)
    rows = {name: shown(default) for name, default in options.items()}
    assert rows | {"name": "the factory's", "policy": "`ERROR`"} == defaults("option of `add_task`")
    assert keyword_only(Job.add_oneshot_task).keys() <= options.keys()


def keyword_only(function: Any) -> dict[str, Any]:
    """Return the keyword-only arguments and their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY}


def shown(default: object) -> str:
    """Return a default as the page writes it."""
    if type(default) in (int, float):
        return "`inf`" if default == math.inf else f"{default:g}"
    return f"`{default}`"


def defaults(title: str) -> dict[str, str]:
    """Return the first two columns of the table whose head begins with this."""
    table = PAGE.split(f"| {title} |")[1].split("\n\n")[0]
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE))
