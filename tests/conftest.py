"""What the whole suite shares."""

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
