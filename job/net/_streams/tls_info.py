"""What the two sides of a TLS connection have agreed on, and know of each other."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final, final
from weakref import WeakKeyDictionary


@final
@dataclass(frozen=True, slots=True)
class TLSInfo:
    """What a TLS handshake has settled; see `Stream.tls`.

    Attributes:
        version: of the protocol, "TLSv1.3" say.
        cipher: its name, "TLS_AES_256_GCM_SHA384" say.
        alpn: the protocol that both want to speak inside; None where they did not agree on one.
        server_name: the name of the server that the client asked for; None where it asked for none.
        peer_certificate: as `ssl.SSLSocket.getpeercert()` gives it: None where the peer has shown none, and an empty dict where
            the context does not check it, so that there is nothing in it to be believed.
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
        """Ask the ssl module, after the handshake."""
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
    """Hears the name that a client asks for, and does what the program's own callback says.

    The ssl module tells a server's connection the name in no other way.
    """

    __slots__ = ("callback",)

    def __init__(self, callback: Any) -> None:
        self.callback = callback

    def __call__(self, tls: object, name: str | None, context: ssl.SSLContext) -> Any:
        if name is not None:
            _asked[tls] = name
        return None if self.callback is None else self.callback(tls, name, context)


def listen_for_name(context: ssl.SSLContext) -> None:
    """Have the names noted that clients of this context ask for; to be called before each connection is made."""
    # Each time, since the program may set a callback of its own in between.
    if not isinstance(context.sni_callback, _Ear):
        context.sni_callback = _Ear(context.sni_callback)


def chooses_by_name(context: ssl.SSLContext) -> bool:
    """Whether the program has a callback of its own for the names that clients ask for."""
    callback = context.sni_callback
    return (callback.callback if isinstance(callback, _Ear) else callback) is not None


def asked_name(tls: ssl.SSLObject) -> str | None:
    """Return the name that the client has asked this connection for, and forget it."""
    return _asked.pop(tls, None)
