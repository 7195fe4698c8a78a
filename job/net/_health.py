"""The health of one upstream: what was reported in a row, and until when it is out. Arithmetic only, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Health:
    """What is known of one upstream. Reports write it through `good`, `bad` and `eject`.

    Probes and traffic look at different things, so that neither clears the errors of the other: a server that answers a
    probe may fail its clients, and one that takes connections may say itself that it is not ready. So too an upstream that
    probes took out is brought in by good probes, not by a connection that was on its way; one that traffic took out has no
    traffic, and any good report counts.

    `out_until` is None for one that is in. A time that has passed means in as well: nobody has to clear it. What was
    reported in a row outlives that time, so that an upstream let in again is out at its next error and has not to fail
    the full number of clients each time.
    """

    errors: list[int] = field(default_factory=lambda: [0, 0])
    """Those in a row, of traffic and of probes: `errors[probe]`."""
    goods: int = 0
    out_until: float | None = None
    out_by_probes: bool = False

    def is_out(self, now: float) -> bool:
        """Return whether it takes no connections at `now`."""
        return self.out_until is not None and now < self.out_until

    def good(self, rise: int, *, probe: bool) -> None:
        """Note a good report; `rise` of them in a row bring it in."""
        self.errors[probe] = 0
        if probe or not self.out_by_probes:
            self.goods += 1
            if self.goods >= rise:
                self.out_until = None
                self.out_by_probes = False

    def bad(self, fall: int, *, probe: bool) -> bool:
        """Note an error; return whether it is the `fall`th in a row, or beyond. To eject it is for the caller to decide."""
        self.goods = 0
        self.errors[probe] += 1
        return self.errors[probe] >= fall

    def eject(self, until: float, *, by_probes: bool) -> None:
        """Put it out, or keep it out longer."""
        self.out_until = until
        self.out_by_probes = by_probes


def may_eject(out: int, total: int, share: float) -> bool:
    """Return whether one more of `total` upstreams may go out where `out` are out already and `share` is the most."""
    # The billionth mends products such as 0.29 * 100, which is a little less than 29.
    return out + 1 <= share * total + 1e-9
