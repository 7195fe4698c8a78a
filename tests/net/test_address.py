"""Addresses: four forms, read and written the same way; anything else is refused by name."""

import errno
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.net._addresses import TcpAddress, UnixAddress, host_of, named, parse_address, written


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("example.org:80", TcpAddress("example.org", 80)),
        ("10.0.0.1:80", TcpAddress("10.0.0.1", 80)),
        (":8080", TcpAddress(None, 8080)),
        ("[::1]:0", TcpAddress("::1", 0)),
        ("unix:/run/a b:c.sock", UnixAddress("/run/a b:c.sock")),
    ],
)
def test_forms(text: str, address: Any) -> None:
    """Each form is read, and written as it was."""
    assert parse_address(text) == address
    assert str(address) == text


REFUSED = "|host|host:|host:http|host:65536|host:-1|host:٣|::1:80|[::1]|[]:80|[a]:80|a b:80|a/b:80|unix:|http://host:80|a\0b:80"


@pytest.mark.parametrize("text", REFUSED.split("|"))
def test_refused(text: str) -> None:
    """What has none of the forms is a ValueError that shows it."""
    with pytest.raises(ValueError, match="address must") as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_port_out_of_range(port: str) -> None:
    """The message says what a port may be."""
    with pytest.raises(ValueError, match=f"address must end with a port from 0 to 65535, got 'localhost:{port}'"):
        parse_address(f"localhost:{port}")


def test_no_text() -> None:
    """An address is a str."""
    with pytest.raises(TypeError, match="address must be a str, got 80"):
        parse_address(80)  # type: ignore[arg-type]


@given(st.text())
def test_any_text(text: str) -> None:
    """Any text is read, and then written the same but for the port's zeros, or a ValueError."""
    try:
        address = parse_address(text)
    except ValueError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "numeric"),
    [
        ("10.0.0.1:80", (socket.AF_INET, ("10.0.0.1", 80))),
        ("[::1]:80", (socket.AF_INET6, ("::1", 80, 0, 0))),
        ("[fe80::1%eth0]:80", None),
        ("localhost:80", None),
        (":80", None),
    ],
)
def test_numeric(text: str, numeric: Any) -> None:
    """A host that is a number needs no resolver; one with a zone does."""
    address = parse_address(text)
    assert isinstance(address, TcpAddress)
    assert address.numeric == numeric


@pytest.mark.parametrize(
    ("family", "name", "text"),
    [
        (socket.AF_INET, ("127.0.0.1", 80), "127.0.0.1:80"),
        (socket.AF_INET6, ("::1", 80, 0, 0), "[::1]:80"),
        (socket.AF_UNIX, "/run/x", "unix:/run/x"),
        (socket.AF_UNIX, b"\0x", "unix:\0x"),
        (socket.AF_UNIX, "", "unix:"),
    ],
)
def test_written(family: int, name: Any, text: str) -> None:
    """What the socket module calls an address is written in the form of the argument."""
    assert written(family, name) == text


@pytest.mark.parametrize(
    ("address", "host"),
    [("a.org:80", "a.org"), (":80", "localhost"), ("[::1]:80", "::1"), ("unix:/x", None), ("anything", None)],
)
def test_host_of(address: str, host: str | None) -> None:
    """TLS checks the host; a path and a transport's own names have none."""
    assert host_of(address) == host


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (PermissionError(errno.EACCES, "no (while binding)"), f"[Errno {errno.EACCES}] Permission denied: 'a:80'"),
        (socket.gaierror(-2, "Name or service not known"), "[Errno -2] Name or service not known: 'a:80'"),
        (UnicodeError("empty label"), f"[Errno {socket.EAI_NONAME}] no name of a host: 'a:80'"),
        (OSError("AF_UNIX path too long"), f"[Errno {errno.ENAMETOOLONG}] AF_UNIX path too long: 'a:80'"),
    ],
)
def test_named(error: OSError | UnicodeError, shown: str) -> None:
    """What the socket module raises is told in one way, with the address; an OSError keeps its type."""
    told = named(error, TcpAddress("a", 80))
    assert str(told) == shown
    assert type(told) is (type(error) if isinstance(error, OSError) else socket.gaierror)
