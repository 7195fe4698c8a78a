"""Each public name of the systems that users come from has a row on its page, and each row has code that runs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

GO_WORK = """
    NewJob RegisterDefaultLogger Job AddTask GetTaskByIndex AddOneshotTask AddTaskWithIdleTimeout WithPrerequisites WithTimeout
    WasTimedOut Run RunInBackground Cancel Finish TaskDoneNotify Log RegisterLogger GetValue SetValue GetInterruptedBy GetState
    IsRunning IsDone IsCancelled Task GetIndex GetJob GetResult SetResult Tick Done FinishJob Idle
    Assert AssertTrue AssertNotNil JobState New WaitingForPrereq OneshotRunning RecurrentRunning Cancelled TaskState
    PendingTask RunningTask FailedTask StoppedTask FinishedTask TaskType Oneshot Recurrent DoneSig Init Finalize JobTask
    OneshotTask Logger LogLevelMap LogLevelMapItem NewLogLevelMapItem LogRecordHandler
"""
GOASYNC = """
    NewTaskManager TaskManager AsyncTaskManager AddTask AddExecuteTask Run Task Initialize Execute Cleanup ExecuteTask TASK_TYPE
    TASK_TYPE_STRICT TASK_TYPE_ERROR TASK_TYPE_STOP_GROUP EXECUTE_TASK_TYPE EXECUTE_TASK_TYPE_STRICT EXECUTE_TASK_TYPE_ERROR
    NamedError TaskName Stage Err TaskType ExecuteTaskType ForceStop Interruptible RepeatTimer Repeatable Running
    FakeTask FakeExecuteTask FakeAsyncTaskManager
    Config StrictConfig RelaxedConfig AllowExecuteFailures ReportErrors AllowNoManagedProcesses AddRunningTask RunningTask
"""
PERSES = """
    Async Future Await AwaitWithContext SimpleTask Execute Task Initialize Finalize String NewSignalListener
    TaskRunner NewTaskRunner NewCron LaunchRunner Helper Start Done New NewTick Run JoinAll WaitAll
    NewRunner Runner SetTimeout SetCronPeriod SetBanner WithTasks WithTimerTasks WithCronTasks WithTaskHelpers WithTaskRunners
    WithDefaultHTTPServer HTTPServerBuilder
"""
BACKGROUND = """
    NewManager NewManagerWithOptions Options StalledThreshold Observer Retry Manager Run RunTask Wait Cancel Close CountOf
    ErrUnknownType Task Fn Type TypeOneOff TypeLoop Meta Metadata LogValue OnTaskAdded OnTaskSucceeded OnTaskFailed
    OnTaskStalled Default HandleOnTaskAdded Multi Slog Hooks DefaultRetry OnGoroutineStalled RunTaskDefinition NilMeta Len
"""
HOW_TO = ROOT / "docs" / "how-to"
PAGES = {
    HOW_TO / "coming-from-go-work.md": GO_WORK,
    HOW_TO / "coming-from-goasync.md": GOASYNC,
    HOW_TO / "coming-from-perses.md": PERSES,
    HOW_TO / "coming-from-background.md": BACKGROUND,
}

every_page = pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])

# Words that are in any code, so that to find one proves nothing.
COMMON = {"async", "await", "def", "for", "j", "job", "name", "run", "self", "task", "with"}


@every_page
def test_every_name_has_a_row(page: Path) -> None:
    """Nothing of the other system's public documentation is passed over."""
    found = {word for theirs, _ in rows(page) for word in words(theirs)}
    assert set(PAGES[page].split()) - found == set()


@every_page
def test_every_row_is_run(page: Path) -> None:
    """What a row names as ours is used by a code block of its page."""
    code = set(re.findall(r"\w+", code_for(page)))
    assert [theirs for theirs, ours in rows(page) if (told := words(ours) - COMMON) and not told & code] == []


def rows(page: Path) -> Iterator[tuple[str, str]]:
    """Give the two cells of each row."""
    _, _, text = page.read_text().partition("# Coming from")
    for line in text.splitlines():
        if line.startswith("| "):
            theirs, ours = re.split(r" \| ", line.strip("| "), maxsplit=1)
            yield theirs, ours


def words(cell: str) -> set[str]:
    """Return the words of a cell that are code."""
    return {word for code in re.findall(r"`([^`]+)`", cell) for word in re.findall(r"\w+", code)}


def code_for(page: Path) -> str:
    """Return the code that exercises a page."""
    return "".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
