"""TLS without I/O: two ends that hand each other their ciphertext, in both versions of the protocol."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from job.net._streams.tls import Tls
from job.net._streams.tls_buffers import RECORD
from tests.net.certificates import AUTHORITY, client_context, server_context

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@dataclass
class Pair:
    """A client and a server, and what each has sent."""

    client: Tls
    server: Tls

    def carry(self, piece: int = RECORD) -> None:
        """Carry all that is there to the other side, in pieces."""
        for source, sink in ((self.client, self.server), (self.server, self.client)):
            data = source.out.take()
            for start in range(0, len(data), piece):
                sink.feed(data[start : start + piece])

    def shake_hands(self, piece: int = RECORD) -> None:
        """Shake hands to the end."""
        for _ in range(5):
            over = self.client.shake_hands(), self.server.shake_hands()
            self.carry(piece)
        assert over == (True, True)


def contexts(version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return contexts of their own, for one version of the protocol."""
    client, server = client_context.__wrapped__(), server_context.__wrapped__()
    client.maximum_version = server.minimum_version = version
    return client, server


@pytest.fixture(params=[TLS12, TLS13], ids=["1.2", "1.3"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Return two ends that have not begun."""
    client, server = contexts(request.param)
    return Pair(Tls(client, server_side=False, server_hostname="localhost"), Tls(server, server_side=True))


@pytest.mark.parametrize("piece", [1, 7, RECORD])
def test_handshake(pair: Pair, piece: int) -> None:
    """The ends agree, in whatever pieces the ciphertext comes, and both know of what."""
    pair.shake_hands(piece)
    client, server = pair.client.info, pair.server.info
    assert (client.version, client.cipher, client.server_name) == (server.version, server.cipher, "localhost")
    assert server.server_name == "localhost"
    assert client.alpn is None
    assert client.peer_certificate is not None
    assert client.peer_certificate["subjectAltName"] == (("DNS", "localhost"),)
    assert client.peer_certificate_der is not None
    assert (server.peer_certificate, server.peer_certificate_der) == (None, None)


@pytest.mark.parametrize("piece", [1000, RECORD])
def test_bytes(pair: Pair, piece: int) -> None:
    """Bytes of many records come out in one read, and of one record in as many as one likes."""
    pair.shake_hands()
    data = bytes(range(256)) * 300
    assert pair.client.write(memoryview(data))
    pair.carry(piece)
    assert pair.server.read(10) == data[:10]
    assert pair.server.read(len(data)) == data[10:]
    assert pair.server.read(1) is None
    assert not pair.server.eof


def test_nothing_yet(pair: Pair) -> None:
    """Where nothing is there, more has to be fed; the beginning of a record is nothing."""
    pair.shake_hands()
    assert pair.server.read(1) is None
    assert pair.client.write(memoryview(b"x"))
    record = pair.client.out.take()
    pair.server.feed(record[:-1])
    assert pair.server.read(1) is None
    pair.server.feed(record[-1:])
    assert pair.server.read(1) == b"x"


def test_each_direction_ends_by_itself(pair: Pair) -> None:
    """After its close_notify an end goes on to receive, until the other one's."""
    pair.shake_hands()
    assert pair.client.write(memoryview(b"question"))
    pair.client.close_notify()
    pair.carry()
    assert pair.server.read(100) == b"question"
    assert [pair.server.read(100), pair.server.read(100)] == [b"", b""]
    assert pair.server.eof
    assert pair.server.write(memoryview(b"late "))
    pair.carry()
    assert pair.server.write(memoryview(b"answer"))
    pair.server.close_notify()
    pair.carry()
    assert pair.client.read(100) == b"late answer"
    assert pair.client.read(100) == b""
    assert pair.client.eof


def test_close_notify_with_bytes_in_the_way(pair: Pair) -> None:
    """What has arrived and was not read survives a close_notify, though OpenSSL would lose it."""
    pair.shake_hands()
    assert pair.server.write(memoryview(b"arrived"))
    pair.carry()
    pair.client.close_notify()
    pair.client.close_notify()
    pair.carry()
    assert pair.server.read(1) == b""
    assert pair.server.write(memoryview(b" and more"))
    pair.carry()
    assert pair.client.read(3) == b"arr"
    assert pair.client.read(100) == b"ived"
    assert pair.client.read(100) == b" and more"


def test_close_notify_with_half_a_record_in_the_way(pair: Pair) -> None:
    """The beginning of a record survives it as well."""
    pair.shake_hands()
    assert pair.server.write(memoryview(b"whole"))
    record = pair.server.out.take()
    pair.client.feed(record[:9])
    pair.client.close_notify()
    pair.client.feed(record[9:])
    assert pair.client.read(100) == b"whole"


def test_both_at_once(pair: Pair) -> None:
    """Two close_notify that cross are two ends."""
    pair.shake_hands()
    pair.client.close_notify()
    pair.server.close_notify()
    pair.carry()
    assert pair.client.read(1) == pair.server.read(1) == b""


def test_truncation(pair: Pair) -> None:
    """An end without close_notify is a fault, for as long as one asks, and what came before it is there."""
    pair.shake_hands()
    assert pair.client.write(memoryview(b"half"))
    pair.carry()
    pair.server.feed(b"")
    assert pair.server.read(100) == b"half"
    for _ in range(2):
        with pytest.raises(ssl.SSLEOFError):
            pair.server.read(100)
    assert not pair.server.eof
    pair.server.close_notify()
    pair.carry()
    with pytest.raises(ssl.SSLError, match="ALERT"):
        pair.client.read(100)


def test_truncation_is_found_by_close_notify(pair: Pair) -> None:
    """One that has not been read yet stays a truncation when our own EOF goes out."""
    pair.shake_hands()
    pair.server.feed(b"")
    pair.server.close_notify()
    with pytest.raises(ssl.SSLEOFError):
        pair.server.read(100)


def test_end_after_close_notify(pair: Pair) -> None:
    """After a close_notify the end of what is below says nothing new."""
    pair.shake_hands()
    pair.client.close_notify()
    pair.carry()
    pair.server.feed(b"")
    assert pair.server.read(1) == b""


def test_bad_record(pair: Pair) -> None:
    """A record that was tampered with is told to the peer by an alert, and what came before it is there."""
    pair.shake_hands()
    pair.client.read(1)  # tickets
    assert pair.client.write(memoryview(b"good"))
    pair.carry()
    assert pair.client.write(memoryview(b"evil"))
    record = bytearray(pair.client.out.take())
    record[-1] ^= 1
    pair.server.feed(record)
    assert pair.server.read(100) == b"good"
    for _ in range(2):
        with pytest.raises(ssl.SSLError, match="DECRYPTION_FAILED_OR_BAD_RECORD_MAC"):
            pair.server.read(100)
    pair.server.close_notify()
    pair.carry()
    with pytest.raises(ssl.SSLError, match="ALERT_BAD_RECORD_MAC"):
        pair.client.read(100)


def test_write_before_the_handshake(pair: Pair) -> None:
    """Where the peer has to be heard first, as in a handshake, nothing is written."""
    assert not pair.client.write(memoryview(b"early"))
    pair.shake_hands()
    assert pair.client.write(memoryview(b"in time"))
    pair.carry()
    assert pair.server.read(100) == b"in time"


def test_no_tls(pair: Pair) -> None:
    """Who speaks no TLS is an error of the handshake, and no later one is another."""
    pair.server.feed(b"GET / HTTP/1.0\r\n\r\n")
    with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
        pair.server.shake_hands()
    with pytest.raises(ssl.SSLError, match="HTTP_REQUEST"):
        pair.server.read(1)


def test_end_within_the_handshake(pair: Pair) -> None:
    """A peer that goes while it shakes hands has truncated them."""
    pair.client.shake_hands()
    pair.client.feed(b"")
    with pytest.raises(ssl.SSLEOFError):
        pair.client.shake_hands()


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_certificate_of_the_client(version: ssl.TLSVersion) -> None:
    """Where both are checked both know each other; the protocol inside is agreed on."""
    client, server = contexts(version)
    server.verify_mode = ssl.CERT_REQUIRED
    AUTHORITY.configure_trust(server)
    AUTHORITY.issue_cert("alice@example.org").configure_cert(client)
    client.set_alpn_protocols(["h2", "http/1.1"])
    server.set_alpn_protocols(["http/1.1"])
    pair = Pair(Tls(client, server_side=False, server_hostname="localhost"), Tls(server, server_side=True))
    pair.shake_hands()
    info = pair.server.info
    assert (info.alpn, pair.client.info.alpn) == ("http/1.1", "http/1.1")
    assert "alice@example.org" in str(info.peer_certificate)
    assert info.peer_certificate_der is not None
    assert hash(info) == hash(pair.server.info)


@pytest.mark.parametrize(("version", "client_hears"), [(TLS12, "shake_hands"), (TLS13, "read")])
def test_missing_certificate_of_the_client(version: ssl.TLSVersion, client_hears: str) -> None:
    """The server's alert says so; in TLS 1.3 the client has it after its handshake."""
    client, server = contexts(version)
    server.verify_mode = ssl.CERT_REQUIRED
    pair = Pair(Tls(client, server_side=False, server_hostname="localhost"), Tls(server, server_side=True))
    hears: dict[str, Callable[[], Any]] = {"shake_hands": pair.client.shake_hands, "read": partial(pair.client.read, 1)}
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        pair.shake_hands()
    pair.carry()
    with pytest.raises(ssl.SSLError, match="ALERT"):
        hears[client_hears]()


def test_callback_of_the_program() -> None:
    """A program's own callback for names is called as before, also one that it sets later."""
    heard: list[tuple[str, str | None]] = []
    for number in ("first", "second"):
        client, server = contexts(TLS13)
        for _ in range(2):

            def hear(tls: Any, name: str | None, context: Any, number: str = number) -> None:
                heard.append((number, name))

            server.sni_callback = hear
            client.check_hostname = False
            pair = Pair(Tls(client, server_side=False), Tls(server, server_side=True))
            pair.shake_hands()
            assert pair.server.server_name is None
    assert heard == [("first", None)] * 2 + [("second", None)] * 2


def test_nothing_is_kept_of_large_bytes(pair: Pair) -> None:
    """What was fed and taken a record at a time leaves nothing behind."""
    pair.shake_hands()
    for _ in range(100):
        assert pair.client.write(memoryview(bytes(RECORD)))
        pair.carry()
        assert pair.server.read(2 * RECORD) == bytes(RECORD)
    assert not pair.client.out.pending
    assert pair.server.read(1) is None
