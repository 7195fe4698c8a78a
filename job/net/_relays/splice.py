"""Pipes to splice through: bytes go from one socket to another without a copy, held by the kernel in between."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final, final

with suppress(ImportError):  # where there is none, nobody gets as far as a pipe
    import fcntl
    import resource

SIZE: Final = 1 << 18
"""Bytes that a pipe holds at most; haproxy and the kernel's own users of splice hold no more."""

_MOST: Final = 64
"""Pipes there may be at once: two descriptors each, and their memory is limited for each user (pipe(7))."""

_SHARE: Final = 16
"""One pipe for so many descriptors that the process may have: they are for connections first."""

CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})
"""How a kernel, or a sandbox, says that it does not splice this."""


@final
class Pipe:
    """One pipe. `held`: how many bytes are in it."""

    __slots__ = ("_reader", "_writer", "held")

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        with suppress(OSError):  # the user has enough of them: it does with less
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, SIZE)

    def fill(self, fd: int) -> int:
        """Take bytes from a socket; 0 at EOF."""
        self.held = os.splice(fd, self._writer, SIZE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        return self.held

    def empty(self, fd: int) -> int:
        """Give bytes to a socket; return how many it took."""
        sent = os.splice(self._reader, fd, self.held, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        self.held -= sent
        return sent

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reader)
        os.close(self._writer)


@final
class Pipes:
    """The pipes of a trio run, lent to who moves many bytes, for as long as there are many."""

    __slots__ = ("_idle", "_lent", "_most")

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._lent = 0
        self._most = min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE)

    def borrow(self) -> Pipe | None:
        """Return an empty pipe; None where there are too many already, or no descriptors."""
        if self._lent >= self._most:
            return None
        try:
            pipe = self._idle.pop() if self._idle else Pipe()
        except OSError:
            return None
        self._lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back. One that is not empty is of no use: its bytes would reach somebody else."""
        self._lent -= 1
        if pipe.held:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close those that are not lent."""
        while self._idle:
            self._idle.pop().close()
