"""Backoff and Retry: when to try again, as arithmetic."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job._core.retry import Backoff, Retry, check_wait, wait_after


def never() -> float:
    """Take nothing off."""
    return 0.0


def test_backoff_grows_to_its_maximum() -> None:
    """Each wait is twice the one before it, up to the maximum."""
    backoff = Backoff(1, 10)
    assert [backoff.after(n) for n in range(1, 7)] == [1, 2, 4, 8, 10, 10]


def test_backoff_factor() -> None:
    """The factor says how fast it grows; 1 is not at all."""
    assert [Backoff(1, 100, factor=3).after(n) for n in (1, 2, 3)] == [1, 3, 9]
    assert Backoff(2, 100, factor=1).after(50) == 2


def test_backoff_without_a_cap() -> None:
    """An infinite maximum is none, also where the numbers end."""
    assert Backoff(1, math.inf).after(21) == 2**20
    assert Backoff(1, math.inf).after(10**9) == math.inf


def test_backoff_survives_any_number_of_failures() -> None:
    """A power that no float holds is the maximum."""
    assert Backoff(1, 60, factor=10).after(10**9) == 60


def test_jitter_takes_off_its_fraction_at_most() -> None:
    """Of a wait of 8 seconds a jitter of a half leaves 4 to 8, the capped wait included."""
    backoff = Backoff(8, 8, jitter=0.5)
    assert [backoff.after(3, chance) for chance in (never, lambda: 0.5, lambda: 1.0)] == [8, 6, 4]


@given(
    initial=st.floats(0.001, 100),
    more=st.floats(0, 1000),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 10_000),
)
def test_backoff_stays_within_its_bounds(
    initial: float, more: float, factor: float, jitter: float, failures: int
) -> None:
    """No wait is longer than the maximum, or shorter than the first one less its jitter."""
    maximum = initial + more
    wait = Backoff(initial, maximum, factor, jitter).after(failures)
    assert initial * (1 - jitter) <= wait <= maximum


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((0, 1), ValueError, "initial"),
        (("1", 1), TypeError, "initial"),
        ((-1, 1), ValueError, "initial"),
        ((2, 1), ValueError, "maximum"),
        ((1, math.nan), ValueError, "maximum"),
        ((1, 2, 0.5), ValueError, "factor"),
        ((1, 2, math.inf), ValueError, "factor"),
        ((1, 2, "2"), TypeError, "factor"),
        ((1, 2, True), TypeError, "factor"),
        ((1, 2, 2, 1.5), ValueError, "jitter"),
        ((1, 2, 2, -0.1), ValueError, "jitter"),
        ((1, 2, 2, math.nan), ValueError, "jitter"),
    ],
)
def test_backoff_refuses_nonsense(arguments: tuple[float, ...], error: type[Exception], name: str) -> None:
    """A wrong argument is refused at the call, by name."""
    with pytest.raises(error, match=f"^{name} must be"):
        Backoff(*arguments)


def test_retry_counts_the_first_attempt() -> None:
    """Three attempts are two after a failure."""
    retry = Retry(3, wait=5)
    assert [retry.next_delay(n, OSError()) for n in (1, 2, 3)] == [5, 5, None]


def test_retry_without_end() -> None:
    """With infinitely many attempts it never gives up."""
    assert Retry(math.inf).next_delay(10**9, OSError()) == 0


def test_retry_with_a_backoff() -> None:
    """The wait may grow with each failure."""
    retry = Retry(4, wait=Backoff(1, 3, jitter=1))
    assert [retry.next_delay(n, OSError(), never) for n in (1, 2, 3)] == [1, 2, 3]


def test_retry_on_some_errors_only() -> None:
    """Another error ends it, whatever attempts are left."""
    retry = Retry(3, on=(OSError, ValueError))
    assert retry.next_delay(1, ConnectionError()) == 0
    assert retry.next_delay(1, KeyError()) is None


def test_retry_keeps_its_types_as_a_tuple() -> None:
    """One type, or any collection of them, may be given."""
    assert Retry(2).on == (Exception,)
    assert Retry(2, on=[OSError]).on == (OSError,)  # type: ignore[arg-type]


def test_no_retry_answers_an_order_to_stop() -> None:
    """A KeyboardInterrupt, or any other BaseException, is never an Exception to retry on."""
    assert Retry(3).next_delay(1, KeyboardInterrupt()) is None


@pytest.mark.parametrize(
    ("options", "error", "name"),
    [
        ({"attempts": 0}, ValueError, "attempts"),
        ({"attempts": 2.5}, TypeError, "attempts"),
        ({"attempts": True}, TypeError, "attempts"),
        ({"attempts": "3"}, TypeError, "attempts"),
        ({"attempts": 3, "wait": -1}, ValueError, "wait"),
        ({"attempts": 3, "wait": True}, TypeError, "wait"),
        ({"attempts": 3, "wait": None}, TypeError, "wait"),
        ({"attempts": 3, "on": BaseException}, TypeError, "on"),
        ({"attempts": 3, "on": "OSError"}, TypeError, "on"),
    ],
)
def test_retry_refuses_nonsense(options: dict[str, object], error: type[Exception], name: str) -> None:
    """A wrong option is refused at the call, by name."""
    with pytest.raises(error, match=f"^{name} must "):
        Retry(**options)  # type: ignore[arg-type]


def test_a_wait_is_either() -> None:
    """Plain seconds stay the same, a Backoff is asked."""
    assert [wait_after(0.5, n) for n in (1, 9)] == [0.5, 0.5]
    assert wait_after(Backoff(1, 100), 3) == 4


def test_check_wait() -> None:
    """Both kinds of wait pass; the message says what else was given."""
    check_wait("pause", 1)
    check_wait("pause", Backoff(1, 2))
    with pytest.raises(TypeError, match="pause must be a number of seconds or a Backoff, got 'soon'"):
        check_wait("pause", "soon")
