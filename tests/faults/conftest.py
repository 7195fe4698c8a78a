"""What all fault scenarios share: a network to run on, and an end at which no descriptor is left."""

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.networks import NETWORKS, Network


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Leave no descriptor open that was not before.

    One that is closed meanwhile is no leak: the traceback of a test that has failed holds its descriptors for a while.
    """
    before = open_descriptors()
    yield
    if not open_descriptors() <= before:
        gc.collect()
    assert open_descriptors() <= before


def open_descriptors() -> set[str]:
    """Name the open descriptors, but the one that it takes to look."""
    return {f"{each.name}: {each.readlink()}" for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    """Give each network in turn."""
    return NETWORKS[request.param](tmp_path)


@pytest.fixture
def traced() -> Iterator[None]:
    """Trace what Python allocates."""
    tracemalloc.start()
    yield
    tracemalloc.stop()
