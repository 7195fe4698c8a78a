"""hypothesis is needed by its strategies only, and missed with a clear word."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest


def test_missing_hypothesis(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hypothesis the import says what to install."""
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "job.testing.strategies", raising=False)
    with pytest.raises(ImportError, match="pip install hypothesis"):
        importlib.import_module("job.testing.strategies")


def test_the_rest_needs_no_hypothesis() -> None:
    """`job.testing` does not import it."""
    code = "import sys, job.testing; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
