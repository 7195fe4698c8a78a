"""The balancer in front of two servers, of which one goes away and comes back."""

from contextlib import AbstractContextManager, ExitStack

import pytest

from tests.examples.programs import Program, ask, connect, free_port, greeter, receive, run_here, running


def test_a_server_goes_and_comes_back() -> None:
    """Both servers get clients; when one is gone each client gets the other, and when it is back it gets clients again."""
    with ExitStack() as leave, ExitStack() as second:
        addresses = [leave.enter_context(greeter(b"1")), second.enter_context(greeter(b"2"))]
        balancer = leave.enter_context(balancing(*addresses))
        assert greetings(balancer.address, 20) == {b"1", b"2"}
        second.close()
        assert greetings(balancer.address, 20) == {b"1"}
        balancer.record("upstreams", up=addresses[:1])
        second.enter_context(greeter(b"2", address=addresses[1]))
        balancer.record("upstreams", up=addresses)
        assert greetings(balancer.address, 20) == {b"1", b"2"}
        assert balancer.stop() == 0


def test_no_server_at_all() -> None:
    """The client sees the end at once, and the line says why."""
    with balancing(f"127.0.0.1:{free_port()}") as balancer:
        assert balancer.address
        balancer.record("upstreams", up=[])
        with connect(balancer.address) as client:
            assert receive(client, 1) == b""
        assert balancer.ended()["reason"] == "no_upstream"
        assert balancer.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--upstream", "a:1", "--upstream", "a:1"), "'a:1' twice"),
        (("--upstream", "a:1", "--interval", "0"), "interval must be"),
        ((), "required: --upstream"),
    ],
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    """What cannot be is said in a line, and the exit code is 2."""
    assert run_here(monkeypatch, "balancer", *arguments) == 2
    assert complaint in capsys.readouterr().err


def balancing(*upstreams: str) -> AbstractContextManager[Program]:
    """Run a balancer that checks its upstreams often."""
    options = [option for address in upstreams for option in ("--upstream", address)]
    return running("balancer", "--listen", "127.0.0.1:0", "--interval", "0.05", *options)


def greetings(address: str, clients: int) -> set[bytes]:
    """Return how so many clients were greeted, one after another."""
    found = set()
    for _ in range(clients):
        with connect(address) as client:
            found.add(ask(client, b"", 1))
    return found
