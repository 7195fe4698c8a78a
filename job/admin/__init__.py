"""A window into a program that runs: HTTP for people and for machines (the extra `admin`).

- `serve`: a task that answers there: health, metrics, jobs, connections, events, a page
"""

from __future__ import annotations

try:
    import h11  # noqa: F401 - to say which one it is
except ImportError:
    raise ImportError("job.admin needs h11: pip install 'trio-job[admin]'") from None

from .._core import door
from ._serve import serve

__all__ = ["serve"]

door.export(globals())
