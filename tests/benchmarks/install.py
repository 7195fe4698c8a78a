"""Bring in the peers, each by itself: one that does not install here is missing from the tables, and that is all."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

from .peers import NOT_HERE, program

PACKAGES: Final = {"haproxy": "haproxy", "stunnel": "stunnel4"}
"""Programs, and the packages that they are in."""

PYPROJECT: Final = Path(__file__).parents[2] / "pyproject.toml"


def main() -> None:
    """Install what the extra `bench` names, and haproxy and stunnel where this may be done."""
    for requirement in tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]["bench"]:
        _say(requirement, _installed(sys.executable, "-m", "pip", "install", "-qq", requirement))
    missing = [package for name, package in PACKAGES.items() if program(name) is None]
    if missing and os.geteuid() == 0 and program("apt-get"):
        _installed("apt-get", "update", "-q")
        for package in missing:
            _installed("apt-get", "install", "-y", "-q", "--no-install-recommends", package)
    for name in PACKAGES:
        _say(name, program(name) is not None)


def _installed(*command: str) -> bool:
    # A service that Debian would start is not wanted: whoever measures starts it.
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return subprocess.run(command, check=False, env=quiet, capture_output=True).returncode == 0


def _say(peer: str, here: bool) -> None:
    print(f"  {peer}: {'here' if here else NOT_HERE}", flush=True)


if __name__ == "__main__":
    main()
