"""What the whole suite shares."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

import job

# Derandomized, a red run is red again; and a deadline would measure the machine, not the code.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def no_default_logger() -> Iterator[None]:
    """Take back the default logger that a test registered: it is the one thing that outlives a job."""
    yield
    job.register_default_logger(None)


@pytest.fixture
def uncovered() -> Iterator[None]:
    """Let coverage rest: thousands of jobs take a third of the time without it, and what they hold is no matter of lines."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)
