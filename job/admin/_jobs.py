"""All jobs as JSON, in pieces: each job of one moment, and the loop goes on in between."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, Final

import trio

from .._core.inside import children, roots
from .._core.job import Job
from ..instrumentation._snapshot import picture

_PIECE: Final = 50  # jobs


async def jobs_as_json(*, where: bool) -> AsyncGenerator[bytes, None]:
    """Give the snapshots of all roots as a JSON list, however many there are, and however deep they nest."""
    pending: list[Job[Any] | str] = ["]"]
    _push(pending, list(roots()))
    text, number = ["["], 0
    while pending:
        each = pending.pop()
        if isinstance(each, str):
            text.append(each)
            continue
        made = picture(each, [], where=where).without_children()
        del made["children"]
        text.append(json.dumps(made)[:-1] + ', "children": [')
        pending.append("]}")
        _push(pending, children(each))
        number += 1
        if number % _PIECE == 0:
            yield "".join(text).encode()
            text.clear()
            await trio.lowlevel.checkpoint()
    yield "".join(text).encode()


def _push(pending: list[Job[Any] | str], jobs: list[Job[Any]]) -> None:
    """Put jobs on the stack, with commas in between, the first on top."""
    for position in range(len(jobs) - 1, -1, -1):
        pending.append(jobs[position])
        if position:
            pending.append(", ")
