"""`python -m tests.benchmarks`: measure, print, write JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from . import fairness, image_balancer, scale
from .core import jobs, standing, ticks
from .effort import FULL, QUICK, TINY, Effort
from .relay import speed, tls
from .results import Section
from .text import put_into_page, section_text

SECTIONS: Final[dict[str, Callable[[Effort], Section]]] = {
    "ticks": ticks.measure,
    "jobs": jobs.measure,
    "parked": standing.measure,
    "relay": speed.measure,
    "tls": tls.measure,
    "fairness": fairness.measure,
    "scale": scale.measure,
    "balancer": image_balancer.measure,
}
GROUPS: Final = {"core": ["ticks", "jobs", "parked"]}
CHOICE: Final = ",".join([*GROUPS, *SECTIONS])


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for."""
    options = _options(arguments)
    effort = TINY if options.tiny else QUICK if options.quick else FULL
    heading = f"{_about(effort)}\n"
    print(f"# Benchmarks\n\n{heading}", flush=True)
    sections = []
    for name in options.only:
        sections.append(SECTIONS[name](effort))
        print(section_text(sections[-1]), flush=True)
    print(_summary(sections))
    _write(options.json, effort, sections)
    if options.page is not None:
        put_into_page(options.page, "\n".join([heading, *(section_text(section) for section in sections)]))
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What jobs and relays cost.")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds, about three minutes")
    parser.add_argument("--tiny", action="store_true", help="seconds; shows that the benchmarks run, and nothing else")
    parser.add_argument("--only", type=_names, default=list(SECTIONS), help=f"some of {CHOICE}")
    parser.add_argument("--json", type=Path, default=Path("bench-output/bench.json"), help="where to write the figures")
    parser.add_argument("--page", type=Path, help="a page of the documentation whose figures are replaced")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = [name for part in text.split(",") for name in GROUPS.get(part, [part])]
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: expected some of {CHOICE}")
    return names


def _machine() -> dict[str, Any]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": version("trio"),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _about(effort: Effort) -> str:
    about = ", ".join(f"{key} {value}" for key, value in _machine().items())
    return f"{about}; medians of {effort.rounds} rounds ({effort.relay_rounds} of traffic) taken in turn, with their range."


def _summary(sections: list[Section]) -> str:
    rows = [row for section in sections for row in section.rows if row.target is not None]
    missed = [row.what for row in rows if row.verdict == "MISSED"]
    unmeasured = [row.what for row in rows if row.figure is None]
    lines = [f"{len(rows) - len(missed) - len(unmeasured)} of {len(rows)} targets hold."]
    lines += [f"MISSED: {what}" for what in missed]
    lines += [f"not measured: {what}" for what in unmeasured]
    return "\n".join(lines)


def _write(path: Path, effort: Effort, sections: list[Section]) -> None:
    report = {"machine": _machine(), "effort": asdict(effort), "sections": [section.as_json() for section in sections]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"Figures: {path}")


if __name__ == "__main__":
    sys.exit(main())
