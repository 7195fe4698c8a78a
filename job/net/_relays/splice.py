"""Pipes for splicing: bytes go from one socket to another without a copy, held by the kernel in between."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final, final

with suppress(ImportError):  # a system without these has no epoll, and so no engine
    import fcntl
    import resource

SIZE: Final = 1 << 18
"""Bytes that a pipe holds at most; haproxy and the kernel's own users of splice hold no more."""

_MOST: Final = 64
"""The most pipes at once: each needs two descriptors, and the kernel limits their memory per user (pipe(7))."""

_SHARE: Final = 16
"""One pipe for this many descriptors of the process's limit: descriptors are for connections first."""

CANNOT: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})
"""The errors of a kernel, or a sandbox, that cannot splice these descriptors."""


@final
class Pipe:
    """A pipe with `held` bytes in it."""

    __slots__ = ("_reader", "_writer", "held")

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        with suppress(OSError):  # the user is at the limit: a smaller pipe works as well
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, SIZE)

    def fill(self, fd: int) -> int:
        """Splice bytes from a socket into the pipe; return how many, 0 at EOF."""
        self.held = os.splice(fd, self._writer, SIZE, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        return self.held

    def empty(self, fd: int) -> int:
        """Splice bytes from the pipe to a socket; return how many it took."""
        sent = os.splice(self._reader, fd, self.held, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)
        self.held -= sent
        return sent

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reader)
        os.close(self._writer)


@final
class Pipes:
    """The pipes of a trio run, lent to pumps for as long as they move many bytes."""

    __slots__ = ("_idle", "_lent", "_most")

    def __init__(self) -> None:
        self._idle: list[Pipe] = []
        self._lent = 0
        self._most = min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // _SHARE)

    def borrow(self) -> Pipe | None:
        """Return an empty pipe; None if too many are lent already, or no descriptors are left."""
        if self._lent >= self._most:
            return None
        try:
            pipe = self._idle.pop() if self._idle else Pipe()
        except OSError:
            return None
        self._lent += 1
        return pipe

    def give_back(self, pipe: Pipe) -> None:
        """Take a pipe back. One that is not empty is closed: its bytes would reach another connection."""
        self._lent -= 1
        if pipe.held:
            pipe.close()
        else:
            self._idle.append(pipe)

    def close(self) -> None:
        """Close the pipes that are not lent."""
        while self._idle:
            self._idle.pop().close()
