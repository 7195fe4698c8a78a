"""The file of a unix socket: made when somebody listens, taken over from who is gone, removed at the end."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final, final

import trio

from ..._core.words.blocks import asynccontextmanager
from .._addresses import UnixAddress

with suppress(ImportError):  # where there is none there are no unix sockets either
    import fcntl

BACKLOG: Final = 65535  # the kernel has its own idea of the most
_LOCK_WITHIN: Final = 5.0
_LOCK_PAUSE: Final = 0.02


@final
class SocketFile:
    """The file that belongs to a bound socket."""

    __slots__ = ("_identity", "_path")

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._identity = _identity(self._path)

    def remove(self) -> None:
        """Remove the file, unless it is somebody else's by now, or gone."""
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat(follow_symlinks=False)
    return found.st_dev, found.st_ino


async def listen_unix(address: UnixAddress) -> tuple[socket.socket, SocketFile | None]:
    """Bind and listen, replacing a stale file: one that nobody listens on. A name that begins with NUL has no file (unix(7)).

    Raises:
        OSError: the path cannot be had: somebody listens there, it is no socket, there is no such directory …
    """
    async with _alone(address.path):
        sock = socket.socket(socket.AF_UNIX)
        try:
            file = _bind(sock, address.path)
            sock.listen(BACKLOG)
        except BaseException:
            sock.close()
            raise
        return sock, file


def _bind(sock: socket.socket, path: str) -> SocketFile | None:
    if _is_abstract(path):
        sock.bind(path)
        return None
    try:
        sock.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(path):
            raise
        Path(path).unlink(missing_ok=True)
        sock.bind(path)
    return SocketFile(path)


def _is_abstract(path: str) -> bool:
    return path.startswith("\0")


def _is_stale(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a full backlog is a sign of life, and nothing to wait for
        try:
            probe.connect(path)
        except FileNotFoundError:  # by now: who listened there is just leaving
            return True
        except ConnectionRefusedError:  # also by a file that is no socket
            return stat.S_ISSOCK(Path(path).stat().st_mode)
        except OSError:
            return False
    return False


@asynccontextmanager
async def _alone(path: str) -> AsyncIterator[None]:
    """Keep others from binding in the folder of `path` meanwhile, as far as they ask.

    A socket that is bound and does not listen yet looks like one that is stale: of two that start at once each would take
    the file of the other. The lock is the folder's own, so that no file of ours is left behind. It is a courtesy among
    those who start: a folder that cannot be locked, or that something else keeps locked, stops nobody.
    """
    await trio.lowlevel.checkpoint()
    folder = None if _is_abstract(path) else _open_folder(path)
    try:
        if folder is not None:
            await _lock(folder)
        yield
    finally:
        if folder is not None:
            os.close(folder)


def _open_folder(path: str) -> int | None:
    try:
        return os.open(Path(path).parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there is none, or we may write in it and not read it
        return None


async def _lock(folder: int) -> None:
    with trio.move_on_after(_LOCK_WITHIN):
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await trio.sleep(_LOCK_PAUSE)
            except OSError:  # not on this file system
                return
            else:
                return
