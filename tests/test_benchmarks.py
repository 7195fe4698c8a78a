"""The benchmarks run; what they measure is said by `make bench`, and never asserted."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.core.parked import SHAPES, park_all
from tests.benchmarks.results import Row, Target
from tests.benchmarks.rounds import Figure, interleaved, ratio


@pytest.mark.parametrize("name", ["ticks", "jobs"])
def test_section(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is measured, whatever its figure, and kept as JSON."""
    assert main(["--tiny", "--only", name, "--json", str(tmp_path / "bench.json")]) == 0
    (section,) = json.loads((tmp_path / "bench.json").read_text())["sections"]
    assert section["rows"]
    assert section["name"] in capsys.readouterr().out


@pytest.mark.parametrize("shape", SHAPES)
async def test_parked_jobs_are_cancelled(shape: str) -> None:
    """Parked jobs of every shape end when they are cancelled."""
    assert (await park_all(shape, 2)).cancel > 0


def test_every_variant_has_its_turn() -> None:
    """Variants are measured in turn, and compared round by round."""
    order: list[str] = []

    def variant(name: str, value: float) -> float:
        order.append(name)
        return value

    samples = interleaved({"a": lambda: variant("a", 6), "b": lambda: variant("b", 2)}, 2)
    assert order == ["a", "b", "b", "a"]
    assert ratio(samples, "a", "b") == Figure(3, 3, 3)


@pytest.mark.parametrize(("bound", "verdict"), [(2, "MISSED"), (3, "holds")])
def test_verdict(bound: float, verdict: str) -> None:
    """A row holds when its median reaches the target."""
    assert Row("it", Figure(2.5, 1, 4), Target("<=", bound)).verdict == verdict
