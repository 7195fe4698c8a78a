"""TLS without I/O: ciphertext in, ciphertext out, and the bytes inside; `tls_wire` moves them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import final

from .tls_buffers import RECORD, Intake, Outlet
from .tls_info import TLSInfo, asked_name, listen_for_name
from .wire import Data

# Theory: which end means what.
#
# A connection has two directions, and each ends by itself. The end of a direction is a close_notify: its sender sends no more,
# and everything sent has arrived. TCP's FIN promises nothing of the kind, since anyone on the way can forge it: an end without
# a close_notify is a truncation, within the handshake as well as after it. (A context with OP_IGNORE_UNEXPECTED_EOF takes it
# for an end, and then OpenSSL reports an end.)
#
# In TLS 1.3 a close_notify ends only its sender's direction; the sender goes on receiving (RFC 8446, 6.1). In TLS 1.2 the
# receiver must answer at once and throw away what it still had to send (RFC 5246, 7.2.1). A peer may do that to us, and its own
# close_notify then ends our receiving. We do not do it to a peer: those bytes are worth as much as in 1.3.
#
# A fatal alert goes out once, from the side that finds the fault: OpenSSL has put it into the ciphertext by the time the error
# is raised. No close_notify follows it (RFC 8446, 6.2), and every later read fails with the first error: asked again, OpenSSL
# would call it a truncation. In TLS 1.3 the client's handshake is over before the server has seen its certificate, so the alert
# that refuses it is the error of a later read.
#
# `unwrap` sends our close_notify by SSL_shutdown, which it calls twice; the second call reads, and if application data is in
# the way it fails for good ("application data after close notify"). So everything fed is decrypted first, and kept. Then at
# most the beginning of a record is left, and at that the second call gives up without harm.


@final
class Tls:
    """One TLS connection.

    Attributes:
        out: ciphertext for the peer; after each call there may be some.
        dry: nothing can be read before it is fed; False also if that has not been tried yet.
        eof: the peer has sent close_notify.
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
        """Add ciphertext from the peer; empty bytes are the end of the wire below."""
        self._in.put(ciphertext)
        self.dry = False

    def shake_hands(self) -> bool:
        """Continue the handshake; return True when it is over, False if it needs to be fed.

        Raises:
            ssl.SSLError: it failed, and there is an alert to send, unless the peer has gone.
        """
        if not self._try(self._object.do_handshake):
            return False
        self.server_name = asked_name(self._object) or self.server_name
        return True

    def _try(self, step: Callable[[], object]) -> bool:
        """Do a step that may need ciphertext from the peer; return False if there is none."""
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
        """Return up to `most` bytes, from as many records as there are; empty at EOF, None if it needs to be fed first.

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
            if not parts:  # the records before the fault are good
                raise
        return b"".join(parts) if parts else part

    def _record(self, most: int) -> bytes | None:
        """Decrypt the rest of the current record, or the next one."""
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
        """Encrypt `data`; return False if it needs to be fed first: a renegotiation of TLS 1.2 must be read.

        Raises:
            ssl.SSLError: the connection is broken.
        """
        records: list[bytes] = []
        for start in range(0, len(data), RECORD):
            if not self._try(partial(self._object.write, data[start : start + RECORD])):
                return False  # only at the first record: a renegotiation begins with a read
            records.append(self.out.bio.read())
        self.out.collect(records)
        return True

    def close_notify(self) -> None:
        """Send EOF, once, unless the connection is broken. Reading goes on."""
        if self._said_eof or self._fault is not None:
            return
        self._said_eof = True
        with suppress(ssl.SSLError):  # the next read raises it again
            while data := self._record(RECORD):
                self._held += data
        with suppress(ssl.SSLError):  # no EOF from the peer yet, or the handshake is not over
            self._object.unwrap()

    @property
    def info(self) -> TLSInfo:
        """The result of the handshake."""
        return TLSInfo.of(self._object, self.server_name)
