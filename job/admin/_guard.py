"""Who may ask for what: decided by the head of a request alone. Pure; the rules stand in docs/reference/admin.md."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, final
from urllib.parse import urlsplit

_OPEN: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""What needs no token: the probes of an orchestrator, and a scrape, have none."""


@dataclass(frozen=True, slots=True)
class Head:
    """What there is to know of a request before its body."""

    method: str
    path: str
    host: str | None = None
    origin: str | None = None
    authorization: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    reason: str


@final
class Guard:
    """The rules of one window.

    Args:
        token: what a stranger has to know, if there is one.
        hosts: names by which the window is called, besides addresses and localhost.
        local: it is a unix socket, which the file system guards.
    """

    __slots__ = ("_hosts", "_local", "_token")

    def __init__(self, token: str | None, hosts: Iterable[str], *, local: bool) -> None:
        self._token = None if token is None else token.encode()
        self._hosts = frozenset(host.lower() for host in hosts)
        self._local = local

    def refuses(self, head: Head) -> Refusal | None:
        """Return why a request is refused, None where it is not."""
        if head.host is not None and not self._is_our_name(head.host):
            return Refusal(421, "this is not the host that was asked for")  # by DNS rebinding, say
        if head.method not in ("GET", "HEAD") and head.origin is not None and not _is_same(head.origin, head.host):
            return Refusal(403, "asked for by a page of another site")
        if self._needs_token(head) and not self._has_token(head):
            return Refusal(401, "a token is needed")
        return None

    def _needs_token(self, head: Head) -> bool:
        if self._local:
            return False
        if head.method in ("GET", "HEAD"):
            return self._token is not None and head.path not in _OPEN
        return True

    def _has_token(self, head: Head) -> bool:
        scheme, _, given = (head.authorization or "").partition(" ")
        if self._token is None or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode("latin-1", "replace"), self._token)

    def _is_our_name(self, host: str) -> bool:
        name = _name_in(host)
        if name is None:
            return False
        return name == "localhost" or name in self._hosts or host.lower() in self._hosts or _is_address(name)


def _name_in(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str | None) -> bool:
    try:
        return host is not None and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False
