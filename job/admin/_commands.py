"""`job ps` and `job top`, but for their arguments."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from .._core.words.values import printable
from ._ask import Asked, AskError, program, programs

FAILED: Final = 2
_ROWS: Final = 1000


def ps(*, as_json: bool) -> int:
    """List the programs of this user that can be looked into."""
    found = [{"pid": pid, **about} for pid, _, about in programs()]
    if as_json:
        print(json.dumps(found))
        return 0
    print(f"{'PID':>8}  {'STATE':<18}  {'AGE':>8}  JOB")
    for each in found:
        print(f"{each['pid']:>8}  {each['state']:<18}  {duration(each['age']):>8}  {printable(str(each['job']))}")
    return 0


def top(target: str | None, *, once: bool, as_json: bool) -> int:
    """Show one program: live, once, or as data."""
    try:
        asked = program(target)
        if as_json:
            print(json.dumps(everything(asked)))
            return 0
        return _show(asked, once=once or not (sys.stdin.isatty() and sys.stdout.isatty()))
    except (AskError, ImportError) as error:
        print(f"job top: {printable(str(error))}", file=sys.stderr)
        return FAILED


def everything(asked: Asked) -> dict[str, Any]:
    """Return what a program says of itself."""
    connections = asked.json(f"/connections.json?limit={_ROWS}")
    return {"program": asked.json("/overview.json"), **connections, "jobs": asked.json("/jobs.json")}


def _show(asked: Asked, *, once: bool) -> int:
    try:
        from ._top import Top
    except ImportError:
        raise ImportError("job top needs rich: pip install 'trio-job[top]'") from None
    shown = Top(asked)
    if once:
        shown.print()
    else:
        shown.run()
    return 0


def duration(seconds: float | None) -> str:
    """Return a time as people read it."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
