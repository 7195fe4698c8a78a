"""The example: requests for tiny pictures, direct to a backend and through the balancer, over 100 connections."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from PIL import Image

from .effort import Effort
from .relay.process import ROOT, running
from .results import Row, Section, Target
from .rounds import Figure, interleaved

DIRECT, BALANCED = "direct", "through the balancer"
PROGRAM: Final = (sys.executable, "-m", "examples.tcpbalancer")
CONNECTIONS: Final = "100"
SIDE: Final = 32
"""Pixels: with large pictures this would measure how fast they are resized."""
PICTURES: Final = 10
NOTE: Final = f"--dry-run, {CONNECTIONS} connections, pictures of {SIDE} x {SIDE} pixels"


def measure(effort: Effort) -> Section:
    """Run the client against one backend, with and without the balancer between them."""
    reports: list[dict[str, Any]] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="job-bench-")))
        for number in range(PICTURES):
            Image.new("RGB", (SIDE, SIDE)).save(folder / f"{number}.png")
        backend = _serve(stack, "backend", "-p", "0")
        balancer = _serve(stack, "proxy", "-p", "0", "-u", backend)
        variants = {
            name: partial(_rate, folder, address, effort.requests, reports)
            for name, address in ((DIRECT, backend), (BALANCED, balancer))
        }
        samples = interleaved(variants, effort.cancel_rounds)
    rows = [Row(f"requests, {name}", Figure.of(values), unit="/s", note=NOTE) for name, values in samples.items()]
    failures = Figure.of(report["total"] - report["done"] + report["lost_connections"] for report in reports)
    return Section("The image balancer", [*rows, Row("failures", failures, Target("<=", 0, "of them"), unit="")])


def _serve(stack: ExitStack, *words: str) -> str:
    process = stack.enter_context(running((*PROGRAM, *words)))
    assert process.stdout is not None
    return process.stdout.readline().removeprefix("listening ").strip()


def _rate(folder: Path, address: str, requests: int, reports: list[dict[str, Any]]) -> float:
    options = ["--json", "--dry-run", "--proxy", address, "--input", str(folder)]
    options += ["--times", str(max(1, requests // PICTURES))]
    options += ["--minconns", CONNECTIONS, "--maxconns", CONNECTIONS]
    client = subprocess.run(
        [*PROGRAM, "client", *options],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    report = json.loads(client.stdout.splitlines()[-1])
    reports.append(report)
    return float(report["done"] / report["seconds"])
