"""The engine's pump for two sockets, at least one of them with TLS on it."""

from __future__ import annotations

from typing import ClassVar, final

from .._streams.tls_buffers import RECORD
from .engine_pump import EnginePump
from .leg import Leg
from .pump import RelayControl


@final
class TlsPump(EnginePump):
    """Decrypts from its source and encrypts to its sink, without a task switch per record.

    An event of the engine is about the descriptor alone. So after each chunk the pump asks whether more has already been
    decrypted, or the end is already known. It counts as holding, and reads nothing, while ciphertext for its sink is unsent.
    The last of that may be a close_notify, which ends the pump.
    """

    __slots__ = ("_secured_sink", "_secured_source")

    most: ClassVar[int] = 2 * RECORD
    """Less than for plain sockets: these bytes come on top of what TLS itself has in memory."""

    def __init__(self, source: Leg, sink: Leg, control: RelayControl) -> None:
        super().__init__(source, sink, control)
        self._secured_source = source.secured
        self._secured_sink = sink.secured

    def start(self) -> None:
        """Start to move bytes, first those that came with the handshake."""
        super().start()
        self.look_again()

    def readable(self, now: float) -> None:
        """Move what the descriptor has, and what was decrypted already."""
        super().readable(now)
        while self._secured_source is not None and self._secured_source.more and self.running and not self.holding:
            super().readable(now)
        if self.running and self._unsent:
            self._wait_for_sink(now)

    def writable(self, now: float) -> None:
        """Send unsent ciphertext, then more of what is held."""
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
        if self.eof and self._unsent:  # there was no room for the close_notify
            self.running = True
            self._engine.write(self._sink_fd, self)

    @property
    def _unsent(self) -> bool:
        return self._secured_sink is not None and self._secured_sink.unsent

    @property
    def holding(self) -> bool:
        """True if bytes wait for room in the sink, as ciphertext or still in the clear."""
        return (self.running and self._unsent) or super().holding

    def _count_full(self) -> None:
        """No-op: bytes in a pipe could not be encrypted."""
