"""The file of a unix socket: made when somebody listens, taken over from who is gone, removed at the end."""

from __future__ import annotations

import errno
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import final

from ._address import UnixAddress


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


def bind_unix(sock: socket.socket, address: UnixAddress) -> SocketFile | None:
    """Bind a socket, replacing a stale file: one that nobody listens on. A name that begins with NUL has no file (unix(7)).

    Raises:
        OSError: the path cannot be had: somebody listens there, it is no socket, there is no such directory …
    """
    if address.path.startswith("\0"):
        sock.bind(address.path)
        return None
    try:
        sock.bind(address.path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(address.path):
            raise
        Path(address.path).unlink()
        sock.bind(address.path)
    return SocketFile(address.path)


def _is_stale(path: str) -> bool:
    if not stat.S_ISSOCK(Path(path).stat().st_mode):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a full backlog is a sign of life, and nothing to wait for
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False
