"""The result of a TLS handshake: what the two sides agreed on, and know of each other."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final, final
from weakref import WeakKeyDictionary


@final
@dataclass(frozen=True, slots=True)
class TLSInfo:
    """The result of a TLS handshake; see `Stream.tls`.

    Attributes:
        version: of the protocol, "TLSv1.3" say.
        cipher: its name, "TLS_AES_256_GCM_SHA384" say.
        alpn: the protocol spoken inside; None if they did not agree on one.
        server_name: the server's name that the client asked for; None if it asked for none.
        peer_certificate: as `ssl.SSLSocket.getpeercert()` gives it: None if the peer has shown none, an empty dict if the
            context does not check it: nothing in it could be believed.
        peer_certificate_der: the same certificate as bytes, DER, checked or not.
    """

    version: str
    cipher: str
    alpn: str | None
    server_name: str | None
    peer_certificate: dict[str, Any] | None = field(hash=False)
    peer_certificate_der: bytes | None = field(repr=False)

    @classmethod
    def of(cls, tls: ssl.SSLObject, server_name: str | None) -> TLSInfo:
        """Read the result from the ssl module, after the handshake."""
        version, cipher = tls.version(), tls.cipher()
        assert version is not None
        assert cipher is not None
        return cls(
            version,
            cipher[0],
            tls.selected_alpn_protocol(),
            server_name,
            tls.getpeercert(),
            tls.getpeercert(binary_form=True),
        )


_asked: Final[WeakKeyDictionary[object, str]] = WeakKeyDictionary()


@final
class _Ear:
    """A callback that notes the name a client asks for, then calls the program's own.

    A server's connection has no other way to learn the name from the ssl module.
    """

    __slots__ = ("callback",)

    def __init__(self, callback: Any) -> None:
        self.callback = callback

    def __call__(self, tls: object, name: str | None, context: ssl.SSLContext) -> Any:
        if name is not None:
            _asked[tls] = name
        return None if self.callback is None else self.callback(tls, name, context)


def listen_for_name(context: ssl.SSLContext) -> None:
    """Note the names that clients of this context ask for. Called before each connection is made."""
    # Each time, because the program may set a callback of its own in between.
    if not isinstance(context.sni_callback, _Ear):
        context.sni_callback = _Ear(context.sni_callback)


def chooses_by_name(context: ssl.SSLContext) -> bool:
    """Return True if the program has set a callback of its own for server names."""
    callback = context.sni_callback
    return (callback.callback if isinstance(callback, _Ear) else callback) is not None


def asked_name(tls: ssl.SSLObject) -> str | None:
    """Remove and return the name that the client asked this connection for."""
    return _asked.pop(tls, None)
