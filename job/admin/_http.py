"""HTTP/1.1 on one stream: one request after another, each within its bounds, each with one answer."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import trio

from .._core.task import Task
from .._core.words.values import Values
from ..net import PEER_FAULTS, Stream
from ._guard import Head

HEAD_LIMIT: Final = 16 * 1024
BODY_LIMIT: Final = 64 * 1024
PATIENCE: Final = 5.0
"""Seconds for a request, from the answer before it, and for a reader to take a part of the answer."""

_ALWAYS: Final = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)

Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body has been read and dropped."""

    head: Head
    query: Mapping[str, str]
    last_event_id: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a type, and what to say: all at once, or in pieces as they come."""

    status: int
    kind: str
    body: bytes | AsyncGenerator[bytes, None] = b""
    headers: Headers = field(default=())


def text(status: int, said: str, headers: Headers = ()) -> Answer:
    """Return an answer for people."""
    return Answer(status, "text/plain; charset=utf-8", f"{said}\n".encode(), headers)


def as_json(status: int, value: Any) -> Answer:
    """Return an answer for machines; what JSON lacks is in it as its repr."""
    return Answer(status, "application/json", json.dumps(Values().plain(value)).encode())


Respond: TypeAlias = Callable[[Request], Awaitable[Answer]]


# What a client does is no news, and nothing can be told to one that has gone.
_GONE: Final[tuple[type[BaseException], ...]] = (*PEER_FAULTS, trio.TooSlowError, h11.LocalProtocolError)


class _TooLargeError(Exception):
    """The body of a request is longer than allowed."""


@final
class Connection:
    """One client.

    Args:
        stream: its own; closed by the caller.
        respond: answers a request.
        stopping: whether this was the last answer.
    """

    def __init__(self, stream: Stream, respond: Respond, stopping: Callable[[], bool]) -> None:
        self._stream = stream
        self._respond = respond
        self._stopping = stopping
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)

    async def serve(self, task: Task) -> bool:
        """Take one request and answer it; return whether there may be another. A stop of the task's job ends the wait."""
        request = None
        try:
            with trio.move_on_after(PATIENCE), task.cancel_on_stop():
                request = await self._receive()
            if request is None:
                return False
            await self._send(await self._respond(request), only_head=request.head.method == "HEAD")
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
            return False
        except _TooLargeError:
            await self._refuse(413, f"a body has {BODY_LIMIT} bytes at most")
            return False
        except _GONE:
            return False
        return self._goes_on()

    def _goes_on(self) -> bool:
        if self._stopping() or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _receive(self) -> Request | None:
        """Return the next request, when its body has come too; None if the client has gone."""
        request = None
        size = 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._stream.receive_some())
            elif isinstance(event, h11.Request):
                request = _read(event)
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size > BODY_LIMIT:
                    raise _TooLargeError
            elif isinstance(event, h11.EndOfMessage):
                return request
            else:  # ConnectionClosed, or PAUSED
                return None

    async def _refuse(self, status: int, reason: str) -> None:
        try:
            await self._send(text(status, reason, ((b"connection", b"close"),)))
        except _GONE:
            return

    async def _send(self, answer: Answer, *, only_head: bool = False) -> None:
        headers = [(b"content-type", answer.kind.encode()), *_ALWAYS, *answer.headers]
        if isinstance(answer.body, bytes):
            headers.append((b"content-length", str(len(answer.body)).encode()))
        if self._stopping():
            headers.append((b"connection", b"close"))
        await self._write(h11.Response(status_code=answer.status, headers=headers))
        if isinstance(answer.body, bytes):
            if not only_head:
                await self._write(h11.Data(data=answer.body))
        elif not only_head:
            async with aclosing(answer.body) as pieces:
                async for piece in pieces:
                    await self._write(h11.Data(data=piece))
        await self._write(h11.EndOfMessage())

    async def _write(self, event: Any) -> None:
        data = self._http.send(event)
        if data:
            for at in range(0, len(data), HEAD_LIMIT):
                with trio.fail_after(PATIENCE):
                    await self._stream.send_all(data[at : at + HEAD_LIMIT])


def _read(event: h11.Request) -> Request:
    fields = {name: value.decode("latin-1") for name, value in event.headers}
    target = urlsplit(event.target.decode("latin-1"))
    head = Head(
        event.method.decode("latin-1"),
        unquote(target.path),
        fields.get(b"host"),
        fields.get(b"origin"),
        fields.get(b"authorization"),
    )
    return Request(head, dict(parse_qsl(target.query, keep_blank_values=True)), fields.get(b"last-event-id"))
