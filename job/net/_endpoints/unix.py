"""The file of a unix socket: created by a bind, replaced if it is stale, removed at the end."""

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

with suppress(ImportError):  # a system without fcntl has no unix sockets either
    import fcntl

BACKLOG: Final = 65535  # the kernel caps it
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
        """Remove the file, unless it is gone, or by now that of another socket."""
        with suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat(follow_symlinks=False)
    return found.st_dev, found.st_ino


async def listen_unix(address: UnixAddress) -> tuple[socket.socket, SocketFile | None]:
    """Bind and listen, replacing a stale file: one without a listener. A name that begins with NUL has no file (unix(7)).

    Raises:
        OSError: the path cannot be bound: a listener has it, it is not a socket, its directory does not exist …
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
        probe.setblocking(False)  # a full backlog shows that there is a listener: no need to wait
        try:
            probe.connect(path)
        except FileNotFoundError:  # its listener has just removed it
            return True
        except ConnectionRefusedError:  # a file that is not a socket refuses as well
            return stat.S_ISSOCK(Path(path).stat().st_mode)
        except OSError:
            return False
    return False


@asynccontextmanager
async def _alone(path: str) -> AsyncIterator[None]:
    """Hold a lock while binding in the folder of `path`, so that two processes do not take each other's file.

    A socket that is bound and does not listen yet looks stale, so of two that start at once each would replace the file of
    the other. The folder itself is locked, so that no lock file is left behind. The lock is advisory: if the folder cannot be
    locked, or another program keeps it locked, the bind goes ahead without it.
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
    except OSError:  # it does not exist, or may be written but not read
        return None


async def _lock(folder: int) -> None:
    with trio.move_on_after(_LOCK_WITHIN):
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await trio.sleep(_LOCK_PAUSE)
            except OSError:  # this file system has no locks
                return
            else:
                return
