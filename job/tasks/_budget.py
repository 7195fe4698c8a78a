"""How many restarts within how long a time: arithmetic only."""

from __future__ import annotations

import math
from collections import deque
from typing import final


@final
class Budget:
    """At most `most` within any `within` seconds: the restart intensity of OTP's supervisors."""

    __slots__ = ("_most", "_spent", "_within")

    def __init__(self, most: float, within: float) -> None:
        self._most = most
        self._within = within
        self._spent: deque[float] = deque()  # when, the oldest first

    def spend(self, now: float) -> bool:
        """Take one; return whether there was any left."""
        if self._most == math.inf:
            return True
        while self._spent and self._spent[0] <= now - self._within:
            self._spent.popleft()
        if len(self._spent) >= self._most:
            return False
        self._spent.append(now)
        return True
