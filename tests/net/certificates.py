"""An authority of the tests, and contexts that trust it."""

import ssl
from functools import cache

import trustme

AUTHORITY = trustme.CA()
LOCALHOST = AUTHORITY.issue_cert("localhost")


@cache
def server_context() -> ssl.SSLContext:
    """Return a context with a certificate for localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LOCALHOST.configure_cert(context)
    return context


@cache
def client_context(*, trusting: bool = True) -> ssl.SSLContext:
    """Return a context that checks certificates."""
    context = ssl.create_default_context()
    if trusting:
        AUTHORITY.configure_trust(context)
    return context
