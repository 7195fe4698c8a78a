"""The pump that the engine drives where at least one of the two sockets has TLS on it."""

from __future__ import annotations

from typing import ClassVar, final

from .._streams.tls_buffers import RECORD
from .engine_pump import EnginePump
from .leg import Leg
from .pump import RelayControl


@final
class TlsPump(EnginePump):
    """Decrypts what its source has, encrypts what its sink takes, without a task switch for a record.

    An event of the engine tells of the descriptor alone. So after each chunk it looks for what has been decrypted, or is known
    of the end, already; and it holds something, and reads nothing, as long as ciphertext of its sink is unsent. The last of
    that may be a close_notify, which ends it.
    """

    __slots__ = ("_secured_sink", "_secured_source")

    most: ClassVar[int] = 2 * RECORD
    """Less than plain sockets are worth: it is held next to what TLS itself has in memory."""

    def __init__(self, source: Leg, sink: Leg, course: RelayControl) -> None:
        super().__init__(source, sink, course)
        self._secured_source = source.secured
        self._secured_sink = sink.secured

    def start(self) -> None:
        """Begin, with what has come with the handshake."""
        super().start()
        self.look_again()

    def readable(self, now: float) -> None:
        """Move what is there, and what is there nevertheless."""
        super().readable(now)
        while self._secured_source is not None and self._secured_source.more and self.running and not self.holding:
            super().readable(now)
        if self.running and self._unsent:
            self._wait_for_sink(now)

    def writable(self, now: float) -> None:
        """Give the sink some more."""
        if self._secured_sink is not None:
            self.sending = True
            self._secured_sink.flush()
        if self._unsent:
            return
        if self.eof:
            self._leave()
            self._control.changed()
        else:
            super().writable(now)
            self.look_again()

    def _pass_eof(self) -> None:
        super()._pass_eof()
        if self.eof and self._unsent:  # the close_notify has found no room
            self.running = True
            self._engine.write(self._sink_fd, self)

    @property
    def _unsent(self) -> bool:
        return self._secured_sink is not None and self._secured_sink.unsent

    @property
    def holding(self) -> bool:
        """True if something waits for room in the sink, as ciphertext or before that."""
        return (self.running and self._unsent) or super().holding

    def _count_full(self) -> None:
        """Take no pipe: what is in it cannot be encrypted."""
