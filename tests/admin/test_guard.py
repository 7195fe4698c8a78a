"""The rules of who may ask for what, over TCP and over a unix socket."""

import pytest

from job.admin._guard import Guard, Head

OPEN = Guard(None, ["proxy.example", "b:80"], local=False)
CLOSED = Guard("secret", [], local=False)
LOCAL = Guard("secret", [], local=True)


def status(guard: Guard, method: str, path: str, **more: str) -> int:
    """Return the status of a refusal, 200 where there is none."""
    refusal = guard.refuses(Head(method, path, **{"host": "localhost:9", **more}))
    return 200 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.0.0.1:80", "[::1]:80", "localhost", "LocalHost:1", "proxy.example:80", "PROXY.example", "b:80"],
)
def test_our_hosts(host: str) -> None:
    """Addresses, localhost and the names that are given are ours."""
    assert status(OPEN, "GET", "/", host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "[", "127.0.0.1.nip.io", "b"])
def test_foreign_hosts(host: str) -> None:
    """Any other name is that of a site whose DNS leads here."""
    assert status(OPEN, "GET", "/livez", host=host) == 421


def test_no_host() -> None:
    """HTTP/1.0 has none."""
    assert OPEN.refuses(Head("GET", "/livez")) is None


@pytest.mark.parametrize(
    ("guard", "authorization", "expected"),
    [
        (OPEN, "Bearer secret", 401),
        (CLOSED, "", 401),
        (CLOSED, "Bearer wrong", 401),
        (CLOSED, "Bearer secrét€", 401),
        (CLOSED, "Basic secret", 401),
        (CLOSED, "Bearer secret", 200),
        (CLOSED, "bearer  secret ", 200),
        (LOCAL, "", 200),
    ],
)
def test_post(guard: Guard, authorization: str, expected: int) -> None:
    """A POST needs the token, or a unix socket; where there is no token there is no POST over TCP."""
    assert status(guard, "POST", "/finish", authorization=authorization) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:9", 200),
        ("http://LOCALHOST:9", 200),
        ("null", 403),
        ("http://evil.example", 403),
        ("http://[", 403),
    ],
)
def test_origin(origin: str, expected: int) -> None:
    """A POST from a page of another site is refused, whatever it knows."""
    assert status(CLOSED, "POST", "/finish", authorization="Bearer secret", origin=origin) == expected
    assert status(LOCAL, "POST", "/finish", origin=origin) == expected
    assert LOCAL.refuses(Head("POST", "/finish", None, origin)) is not None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", 401), ("/jobs", 401), ("/events", 401), ("/livez", 200), ("/readyz", 200), ("/metrics", 200)],
)
def test_get_where_there_is_a_token(path: str, expected: int) -> None:
    """It needs the token too, but for what probes and scrapes ask for; a unix socket needs none."""
    assert status(CLOSED, "GET", path) == status(CLOSED, "HEAD", path) == expected
    assert status(CLOSED, "GET", path, authorization="Bearer secret") == 200
    assert status(LOCAL, "GET", path) == status(OPEN, "GET", path) == 200
