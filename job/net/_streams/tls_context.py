"""Check TLS contexts before they are used: later, the failure would be blamed on a peer."""

from __future__ import annotations

import ssl
from typing import Final

from .tls import Tls
from .tls_info import chooses_by_name

_NO_CERTIFICATE: Final = frozenset({"NO_SHARED_CIPHER", "NO_SUITABLE_SIGNATURE_ALGORITHM"})
_FLIGHTS: Final = 4  # at most, of one handshake


def server_name(context: ssl.SSLContext, hostname: str | None, address: str) -> str | None:
    """Return the name that the certificate of a server must have; a trailing dot, which makes a name absolute, is not in it.

    Raises:
        ValueError: the context is a server's, or it checks names and there is none to check.
    """
    if context.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ValueError(f"ssl_context must be a client's to dial {address}, got a server's: {context!r}")
    name = hostname.removesuffix(".") if hostname else None
    if context.check_hostname and not name:
        raise ValueError(f"server_hostname is needed to dial {address}: its ssl_context checks the certificate's name")
    return name


def check_server(context: ssl.SSLContext) -> None:
    """Refuse a context with which no handshake could succeed.

    Raises:
        ValueError: it is a client's, or has no certificate.
    """
    if context.protocol is ssl.PROTOCOL_TLS_CLIENT:
        raise ValueError(f"ssl_context must be a server's to listen, got a client's: {context!r}")
    # A callback for names may choose another context for each client, and a key that both share needs no certificate.
    if not (chooses_by_name(context) or _shares_keys(context)) and _lacks_certificate(context):
        raise ValueError(f"ssl_context has no certificate, which a server needs (load_cert_chain): {context!r}")


def _shares_keys(context: ssl.SSLContext) -> bool:
    """Return True if the program wants pre-shared keys, which no context does by itself."""
    return any(cipher["auth"] == "auth-psk" for cipher in context.get_ciphers())


def _lacks_certificate(context: ssl.SSLContext) -> bool:
    """Return True if a trial handshake fails for want of a certificate: the ssl module cannot be asked."""
    server, client = Tls(context, server_side=True), Tls(_undemanding(), server_side=False)
    try:
        for _ in range(_FLIGHTS):
            client.shake_hands()
            _carry(client, server)
            server.shake_hands()
            _carry(server, client)
    except ssl.SSLError as error:
        # Any other failure, of a server that wants the client's certificate say, shows that it got further.
        return error.reason in _NO_CERTIFICATE
    return False


def _carry(source: Tls, sink: Tls) -> None:
    if ciphertext := source.out.take():  # nothing would be EOF
        sink.feed(ciphertext)


def _undemanding() -> ssl.SSLContext:
    """Return a client's context that accepts any server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context
