"""TLS without I/O: ciphertext in, ciphertext out, and the bytes inside; `_tls_wire` moves them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import final

from .tls_buffers import RECORD, Intake, Outlet
from .tls_info import TLSInfo, asked_name, listen_for_name
from .wire import Data

# Which end means what, and who says what when.
#
# A connection has two directions, and each ends by itself. The end of one is a close_notify: its sender sends no more, and all
# that was sent has come. That of TCP (FIN) says nothing of the kind, since anybody on the way can forge it: an end without a
# close_notify is a truncation, within the handshake as well as after it. (A context with OP_IGNORE_UNEXPECTED_EOF takes it for
# an end, and then OpenSSL says so.)
#
# In TLS 1.3 a close_notify ends the direction of its sender alone, who goes on to receive (RFC 8446, 6.1). TLS 1.2 has its
# receiver answer at once and throw away what it was still to send (RFC 5246, 7.2.1). A peer may do that to us, and its own
# close_notify then ends our receiving; we do not do it to a peer, to whom those bytes are worth as much as in 1.3.
#
# A fatal alert goes out once, from the side that finds the fault: OpenSSL has put it among the ciphertext by the time that the
# error is raised. No close_notify comes after it (RFC 8446, 6.2), and every later read fails with the first error: asked again,
# OpenSSL would call it a truncation. In TLS 1.3 the client's handshake is over before the server has seen its certificate: the
# alert that refuses it is an error of a later read.
#
# `unwrap` sends our close_notify by SSL_shutdown. But it calls it twice, and the second call reads: where application data is
# in the way it fails for good ("application data after close notify"). So all that was fed is decrypted before, and kept; then
# there is at most the beginning of a record, at which the second call gives up without harm.


@final
class Tls:
    """One TLS connection.

    Attributes:
        out: what is to be sent to the peer; after each call there may be something.
        dry: nothing can be read before it is fed; False also where that has not been tried yet.
        eof: the peer has said close_notify.
    """

    __slots__ = ("_fault", "_held", "_in", "_object", "_said_eof", "dry", "eof", "out", "server_name")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        self._in = Intake()
        self.out = Outlet()
        if server_side:
            listen_for_name(context)
        self._object = context.wrap_bio(self._in.bio, self.out.bio, server_side, server_hostname)
        self._held = b""  # decrypted already
        self._fault: ssl.SSLError | None = None
        self._said_eof = False
        self.dry = False
        self.eof = False
        self.server_name = server_hostname

    def feed(self, ciphertext: Data) -> None:
        """Take in what the peer sent; nothing is the end of what is below."""
        self._in.put(ciphertext)
        self.dry = False

    def shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is over, else it needs to be fed.

        Raises:
            ssl.SSLError: it failed, and an alert is to be sent, unless the peer has gone.
        """
        if not self._try(self._object.do_handshake):
            return False
        self.server_name = asked_name(self._object) or self.server_name
        return True

    def _try(self, step: Callable[[], object]) -> bool:
        """Do something for which OpenSSL may have to hear the peer; return whether it was done."""
        while True:
            try:
                step()
            except ssl.SSLWantReadError:
                if not self._in.pass_on():
                    return False
            except ssl.SSLError as fault:
                self._fault = fault
                raise
            else:
                return True

    def read(self, most: int) -> bytes | None:
        """Return up to `most` bytes, of as many records as there are; none at EOF, None where it needs to be fed first.

        Raises:
            ssl.SSLError: the peer broke the protocol, sent an alert, or ended without a close_notify (ssl.SSLEOFError).
        """
        if self._held:
            data, self._held = self._held[:most], self._held[most:]
            return data
        parts: list[bytes] = []
        part: bytes | None = None
        try:
            while most and not self.dry and (part := self._record(most)):
                parts.append(part)
                most -= len(part)
        except ssl.SSLError:
            if not parts:  # what came before is as good as ever
                raise
        return b"".join(parts) if parts else part

    def _record(self, most: int) -> bytes | None:
        """Decrypt what is left of one record, or the next."""
        if self._fault is not None:
            raise self._fault
        while True:
            try:
                data = self._object.read(most)
            except ssl.SSLWantReadError:
                if self._in.pass_on():
                    continue
                self.dry = True
                return None
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as fault:
                self._fault = fault
                raise
            self.eof = not data
            return data

    def write(self, data: memoryview) -> bool:
        """Encrypt `data`; return whether it was, else it needs to be fed first.

        The peer has to be heard first where it shakes hands anew, as TLS 1.2 may.

        Raises:
            ssl.SSLError: the connection is broken.
        """
        records: list[bytes] = []
        for start in range(0, len(data), RECORD):
            if not self._try(partial(self._object.write, data[start : start + RECORD])):
                return False  # only the first one: it is reading that begins a handshake
            records.append(self.out.bio.read())
        self.out.collect(records)
        return True

    def close_notify(self) -> None:
        """Say EOF, once; a broken connection has no use for it. Reading goes on."""
        if self._said_eof or self._fault is not None:
            return
        self._said_eof = True
        with suppress(ssl.SSLError):  # that is in the way of the next read as well
            while data := self._record(RECORD):
                self._held += data
        with suppress(ssl.SSLError):  # the peer has not said EOF yet; and before the end of a handshake there is none
            self._object.unwrap()

    @property
    def info(self) -> TLSInfo:
        """What was agreed on."""
        return TLSInfo.of(self._object, self.server_name)
