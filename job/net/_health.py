"""The health of one upstream: what was reported in a row, and until when it is out. Arithmetic only, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """What is known of one upstream. Reports write it through `record_success`, `record_failure` and `eject`.

    Probes and traffic look at different things, so that neither clears the errors of the other: a server that answers a
    probe may fail its clients, and one that takes connections may say itself that it is not ready. So too an upstream that
    probes took out is brought in by good probes, not by a connection that was on its way; one that traffic took out has no
    traffic, and any good report counts.

    `out_until` is None for one that is in. A time that has passed means in as well: nothing has to clear it. What was
    reported in a row outlives that time, so that an upstream let in again is out at its next error and has not to fail
    the full number of clients each time.
    """

    failures: list[int] = field(default_factory=lambda: [0, 0])
    """Those in a row, of traffic and of probes: `failures[probe]`."""
    successes: int = 0
    out_until: float | None = None
    out_by_probes: bool = False

    def is_out(self, now: float) -> bool:
        """Return whether it takes no connections at `now`."""
        return self.out_until is not None and now < self.out_until

    def record_success(self, rise: int, *, probe: bool) -> None:
        """Record a good report; `rise` of them in a row bring it in."""
        self.failures[probe] = 0
        if probe or not self.out_by_probes:
            self.successes += 1
            if self.successes >= rise:
                self.out_until = None
                self.out_by_probes = False

    def record_failure(self, fall: int, *, probe: bool) -> bool:
        """Record an error; return True from the `fall`th in a row on. Whether that ejects it is for the caller to decide."""
        self.successes = 0
        self.failures[probe] += 1
        return self.failures[probe] >= fall

    def eject(self, until: float, *, by_probes: bool) -> None:
        """Put it out, or keep it out longer."""
        self.out_until = until
        self.out_by_probes = by_probes


def may_eject(out: int, total: int, share: float) -> bool:
    """Return whether one more of `total` upstreams may go out where `out` are out already and `share` is the most."""
    # The billionth mends products such as 0.29 * 100, which is a little less than 29.
    return out + 1 <= share * total + 1e-9
