"""The health of one upstream: what was reported in a row, and until when it is out. Arithmetic only, no clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """What is known of one upstream. Reports write it through `good` and `bad`.

    `out_until` is None for one that is in. A time that has passed means in as well: nobody has to clear it. What was
    reported in a row outlives that time, so that an upstream let in again is out at its next error and has not to fail
    the full number of clients each time.
    """

    errors: int = 0
    goods: int = 0
    out_until: float | None = None

    def is_out(self, now: float) -> bool:
        """Return whether it takes no connections at `now`."""
        return self.out_until is not None and now < self.out_until

    def good(self, rise: int) -> None:
        """Note a good report; `rise` of them in a row bring it in."""
        self.errors = 0
        self.goods += 1
        if self.goods >= rise:
            self.out_until = None

    def bad(self) -> None:
        """Note an error. Whether it puts the upstream out is the caller's to decide, by `errors`."""
        self.goods = 0
        self.errors += 1


def may_eject(out: int, total: int, share: float) -> bool:
    """Return whether one more of `total` upstreams may go out where `out` are out already and `share` is the most."""
    # The billionth mends products such as 0.29 * 100, which is a little less than 29.
    return out + 1 <= share * total + 1e-9
