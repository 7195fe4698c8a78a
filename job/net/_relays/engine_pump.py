"""The pump that the engine drives: one direction between two plain sockets of ours, without a trio task."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, Final, Protocol, final

import trio

from .._streams.link import Link
from .engine import Engine, engine
from .leg import Leg
from .pump import Pump, RelayControl
from .splice import CANNOT, Pipe
from .task_pumps import CHUNK, raise_as_stream_error

_MANY: Final = 4
"""Large chunks in a row after which a pipe is worth its price."""
_LARGE: Final = CHUNK // 2
"""Bytes of a large chunk: what flows at full speed comes in whole chunks and the remainders of packets."""
_NOTHING: Final = memoryview(b"")


class Socket(Protocol):
    """A non-blocking socket, or what behaves like one."""

    def recv_into(self, buffer: memoryview, nbytes: int, /) -> int:
        """Receive what is there, up to so many bytes, 0 at EOF; else raise BlockingIOError."""
        ...

    def send(self, data: memoryview, /) -> int:
        """Take what there is room for, else raise BlockingIOError."""
        ...


class EnginePump(Pump):
    """Moves a chunk whenever its source has one. What the sink does not take of it is copied out, and comes first.

    All pumps of an engine share its buffer: nothing is ever awaited between filling and emptying it. Only for streams of
    ours, which tell when somebody closes them: a descriptor that is closed would be silent, and then be somebody else's.
    """

    __slots__ = (
        "_engine",
        "_full",
        "_lent",
        "_pipe",
        "_rest",
        "_sink_fd",
        "_sink_link",
        "_sink_sock",
        "_source_fd",
        "_source_link",
        "_source_sock",
    )

    most: ClassVar[int] = CHUNK
    """Bytes taken at once."""

    def __init__(self, source: Leg, sink: Leg, control: RelayControl) -> None:
        super().__init__(source, sink, control)
        assert source.link is not None
        assert sink.link is not None
        self._source_link: Link = source.link
        self._sink_link: Link = sink.link
        self._source_sock: Socket = _socket_of(source)
        self._sink_sock: Socket = _socket_of(sink)
        self._source_fd = source.fd
        self._sink_fd = sink.fd
        self._rest = _NOTHING
        self._full = 0.0  # large chunks in a row
        self._pipe: Pipe | None = None
        self._lent = False
        self._engine: Engine

    def borrow(self, engine: Engine) -> None:
        """Claim the source until `give_back`; fail if it is in use."""
        self._engine = engine
        try:
            self._source_link.lend(self._source_closed)
            self._lent = True
        except Exception as error:
            self.fail(error)

    def give_back(self) -> None:
        """Let others use the source again."""
        if self._lent:
            self._source_link.take_back()

    def start(self) -> None:
        """Begin, unless the other one could not."""
        if not self.running:
            return
        try:
            if unread := self.source.take_unread():
                self._hold(unread, trio.current_time())
            else:
                self._engine.read(self._source_fd, self)
        except Exception as error:
            self.fail(error)

    @property
    def holding(self) -> bool:
        """True if something waits for room in the sink."""
        return self.running and (bool(self._rest) or (self._pipe is not None and self._pipe.held > 0))

    def cut(self) -> None:
        """End it."""
        if self.running:
            self._leave()
            self._control.changed()

    def stop(self) -> None:
        """End it, when it has given what it holds."""
        self.stopping = True
        if not self.holding:
            self.cut()

    def look_again(self) -> None:
        """Look at once."""
        if self.running and not self.holding and not self.stopping:
            try:
                self.readable(trio.current_time())
            except BaseException as error:
                self.fail(error)

    def readable(self, now: float) -> None:
        """Move what is there, up to a chunk."""
        if self._pipe is not None:
            self._flow(self._pipe, now)
            return
        buffer = self._engine.buffer
        try:
            size = self._source_sock.recv_into(buffer, self.most)
        except BlockingIOError:
            return
        except OSError as error:
            raise_as_stream_error(error)
        if not size:
            self._pass_eof()
            return
        self._source_link.count_received(size)
        sent = self._give(self._sink_sock.send, buffer[:size], now)
        if sent < size:
            self._hold(bytes(buffer[sent:size]), now)
        elif size >= _LARGE:
            self._count_full()
        else:
            self._full = 0

    def writable(self, now: float) -> None:
        """Give the sink some more of what is held."""
        if self._pipe is not None:
            self._give(self._pipe.empty, self._sink_fd, now)
        else:
            # None of a chunk that is out is kept: an empty view of it would be all of it.
            self._rest = self._rest[self._give(self._sink_sock.send, self._rest, now) :] or _NOTHING
        if self.holding:
            return
        if self.stopping:
            self.cut()
        else:
            self._engine.read(self._source_fd, self)
            self._engine.write(self._sink_fd, None)

    def fail(self, error: BaseException) -> None:
        """End for an error."""
        self._leave()
        self._control.failed(self, error)
        self._control.changed()

    def _source_closed(self) -> None:
        self.fail(trio.ClosedResourceError("this stream was closed while it was relayed"))

    def _count_full(self) -> None:
        self._full += 1
        if self._full >= _MANY:
            self._pipe = self._engine.pipes.borrow()

    def _flow(self, pipe: Pipe, now: float) -> None:
        """Move a chunk through the pipe."""
        try:
            size = pipe.fill(self._source_fd)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in CANNOT:
                self._return_pipe()
                self._full = -math.inf
                return
            raise_as_stream_error(error)
        if not size:
            self._pass_eof()
            return
        self._source_link.count_received(size)
        self._give(pipe.empty, self._sink_fd, now)
        if pipe.held:
            self._wait_for_sink(now)
        elif size < _LARGE:
            self._return_pipe()

    def _give(self, send: Callable[[Any], int], what: Any, now: float) -> int:
        """Return how many bytes the sink took."""
        self.sending = True
        try:
            sent = send(what)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise_as_stream_error(error)
        self.sending = False
        self.bytes += sent
        self._sink_link.count_sent(sent)
        self._control.moved(now)
        return sent

    def _hold(self, rest: bytes, now: float) -> None:
        self._rest = memoryview(rest)
        self._wait_for_sink(now)

    def _wait_for_sink(self, now: float) -> None:
        """Wait for the sink, and not for the source any more."""
        self._control.moved(now)  # into our hands at least
        self._engine.write(self._sink_fd, self)
        self._engine.read(self._source_fd, None)

    def _return_pipe(self) -> None:
        if self._pipe is not None:
            self._engine.pipes.give_back(self._pipe)
            self._pipe = None
            self._full = 0

    def _pass_eof(self) -> None:
        self._leave()
        self.eof = self._control.ended(self)
        if self.eof:
            self.sending = True
            self._source_link.note_eof()
            self._sink_link.send_eof_nowait()
        self._control.changed()

    def _leave(self) -> None:
        self.running = False
        self._return_pipe()
        if self._lent:
            self._engine.leave(self._source_fd, self)
            self._engine.leave(self._sink_fd, self)


def _socket_of(end: Leg) -> Socket:
    found = end.plain or end.secured
    assert found is not None
    return found


@final
class Driven:
    """A block in which the engine drives the pumps of a relay; at its end they are cut."""

    __slots__ = ("_pumps", "engine")

    def __init__(self, *pumps: EnginePump) -> None:
        self.engine = engine()
        self._pumps = pumps

    def __enter__(self) -> None:
        self.engine.__enter__()
        for pump in self._pumps:
            pump.borrow(self.engine)
        for pump in self._pumps:
            pump.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for pump in self._pumps:
            pump.cut()
            pump.give_back()
        self.engine.__exit__(kind, error, traceback)
