"""The pump that the engine drives: one direction between two sockets of ours, without a trio task.

Theory. A pump is in one of three states, which its interest in the engine mirrors:

    flowing   waits to read from the source; holds nothing
    holding   waits to write to the sink; reads nothing, since one chunk in memory is the limit: a slow reader slows its writer
    ended     waits for nothing (`running` is False)

In the flowing state a chunk is received into the engine's buffer and sent at once. If the sink takes all of it, which is nearly
always so, nothing else happens: no copy, no change of interest. What the sink does not take is copied out, since the buffer is
shared, and the pump holds it.

After `_MANY` large chunks in a row a pump borrows a pipe and splices: then the bytes never enter the process. For short
messages a pipe would cost two system calls more than it saves, and pipes are few, so it is given back as soon as a small chunk
comes. A kernel or sandbox that cannot splice says so at the first attempt, and that pump never tries again.

A pump decides nothing. Every end is told to its control (`moved`, `ended`, `failed`, `changed`), which may call back at once,
even `cut` on this very pump: so nothing may be done after such a call that would be wrong for an ended pump.
"""

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
"""Large chunks in a row after which a pipe pays."""
_LARGE: Final = CHUNK // 2
"""Bytes of a large chunk: at full speed bytes come in whole chunks and remainders of packets."""
_NOTHING: Final = memoryview(b"")


class Socket(Protocol):
    """A non-blocking socket, or an object that behaves like one."""

    def recv_into(self, buffer: memoryview, nbytes: int, /) -> int:
        """Receive up to `nbytes` bytes and return how many, 0 at EOF; raise BlockingIOError if there are none."""
        ...

    def send(self, data: memoryview, /) -> int:
        """Send what there is room for and return how much; raise BlockingIOError if there is none."""
        ...


class EnginePump(Pump):
    """Moves a chunk whenever its source has one. What the sink does not take of it is copied out, and goes first.

    All pumps of an engine share its buffer: nothing is ever awaited between filling and emptying it. Only for streams of ours,
    which report when they are closed: a closed descriptor would just be silent, and later belong to another connection.
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
        """Let tasks receive from the source again."""
        if self._lent:
            self._source_link.take_back()

    def start(self) -> None:
        """Start to move bytes, unless an error has already ended the relay."""
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
        """True if bytes wait for room in the sink."""
        return self.running and (bool(self._rest) or (self._pipe is not None and self._pipe.held > 0))

    def cut(self) -> None:
        """End the pump, whatever it holds."""
        if self.running:
            self._leave()
            self._control.changed()

    def stop(self) -> None:
        """End the pump as soon as it holds nothing."""
        self.stopping = True
        if not self.holding:
            self.cut()

    def look_again(self) -> None:
        """Read at once, as if the source were ready."""
        if self.running and not self.holding and not self.stopping:
            try:
                self.readable(trio.current_time())
            except BaseException as error:
                self.fail(error)

    def readable(self, now: float) -> None:
        """Move up to one chunk from the source to the sink."""
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
        """Send more of what is held."""
        if self._pipe is not None:
            self._give(self._pipe.empty, self._sink_fd, now)
        else:
            # An empty view would keep the whole chunk in memory.
            self._rest = self._rest[self._give(self._sink_sock.send, self._rest, now) :] or _NOTHING
        if self.holding:
            return
        if self.stopping:
            self.cut()
        else:
            self._engine.read(self._source_fd, self)
            self._engine.write(self._sink_fd, None)

    def fail(self, error: BaseException) -> None:
        """End the pump for an error."""
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
        """Splice a chunk through the pipe."""
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
        """Send, and return how many bytes the sink took; 0 if it has no room."""
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
        """Wait for the sink instead of the source."""
        self._control.moved(now)  # out of the source at least
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
    """The engine drives the pumps of a relay while the block runs; at its end they are cut."""

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
