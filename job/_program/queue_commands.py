"""`job queue stats|dead|requeue|purge URL STREAM`: look at a queue on Redis, and at its dead letters."""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import trio

from .._core.words.user_code import as_text
from .._core.words.values import printable
from ..queue import DeadLetter, RedisStream

Source: TypeAlias = "RedisStream[bytes]"


async def _stats(source: Source, ids: list[str]) -> tuple[dict[str, Any], str]:
    found = asdict(await source.statistics())
    oldest = found["oldest"]
    text = ", ".join(f"{found[name]} {what}" for name, what in _STATES.items())
    return found, text if oldest is None else f"{text}; the oldest ready one waits for {oldest:.1f} s"


async def _dead(source: Source, ids: list[str]) -> tuple[list[dict[str, Any]], str]:
    letters = await source.dead_letters()
    return [_letter(each) for each in letters], "\n".join(map(_line, letters)) or "no dead letters"


async def _requeue(source: Source, ids: list[str]) -> tuple[dict[str, Any], str]:
    count = await source.requeue(*ids)
    return {"requeued": count}, f"{count} requeued"


async def _purge(source: Source, ids: list[str]) -> tuple[dict[str, Any], str]:
    count = await source.purge()
    return {"purged": count}, f"{count} purged"


Action: TypeAlias = Callable[[Source, list[str]], Awaitable[tuple[Any, str]]]

_ACTIONS: Final[dict[str, Action]] = {"stats": _stats, "dead": _dead, "requeue": _requeue, "purge": _purge}
_STATES: Final = {"depth": "ready", "pending": "pending", "delayed": "delayed", "dead": "dead"}


def add_queue_command(commands: Any) -> None:
    """Add `job queue` to the commands of an argument parser; its `command` returns the exit code."""
    parser = commands.add_parser(
        "queue",
        help="look at a queue on Redis, and at its dead letters",
        description="stats: how many messages there are; dead: the first 100 dead letters; requeue: make dead letters messages "
        "again, those with these ids or all; purge: delete all dead letters.",
        epilog="Exit codes: 0 done, 2 not done, and stderr says why in one line.",
        allow_abbrev=False,
    )
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("url", metavar="URL", help="redis://, rediss:// or unix://")
    parser.add_argument("stream", metavar="STREAM", help="the key of the stream")
    parser.add_argument("ids", metavar="ID", nargs="*", help="of the dead letters to requeue; without, all")
    parser.add_argument("--group", default="job", help="the consumer group, `job` by default")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=_run, parser=parser)


def _run(options: argparse.Namespace) -> int:
    if options.ids and options.action != "requeue":
        options.parser.error(f"{options.action} takes no ids")
    try:
        data, text = trio.run(_act, options)
    except Exception as error:  # of the arguments, of coredis, of Redis: each is one line to the operator
        options.parser.error(printable(as_text(error)) or type(error).__name__)
    else:
        print(json.dumps(data) if options.json else text)
    return 0


async def _act(options: argparse.Namespace) -> tuple[Any, str]:
    source = RedisStream(options.url, options.stream, group=options.group)
    async with source:
        return await _ACTIONS[options.action](source, options.ids)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON has it; the payload is base64, as it may be any bytes."""
    found = {name: getattr(letter, name) for name in DeadLetter.__dataclass_fields__}
    history = [each._asdict() for each in letter.history]
    return {**found, "payload": base64.b64encode(letter.payload).decode(), "history": history}


def _line(letter: DeadLetter) -> str:
    died_at = datetime.fromtimestamp(letter.died_at, UTC).isoformat(" ", "seconds")
    error = printable(letter.error or "no error")
    return (
        f"{printable(letter.id)}  {died_at}  {letter.deliveries} deliveries  {printable(letter.code or '-')}  {error}"
    )
