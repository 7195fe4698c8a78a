"""Asks a window, as `job ps` and `job top` do: over a unix socket, or an address."""

from __future__ import annotations

import http.client
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any, Final, final

from ._sockets import check_private, inspector_directory
from ._windows import SUFFIX

_WITHIN: Final = 5.0
_UNIX: Final = "unix:"


class AskError(Exception):
    """There is no answer to be had: one line that says why."""


@final
class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_WITHIN)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@final
class Asked:
    """A program that can be asked."""

    __slots__ = ("address",)

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str) -> bytes:
        """Return what there is at a path.

        Raises:
            AskError: it does not answer, or not well.
        """
        connection = self._connection()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise AskError(f"{self.address} does not answer: {str(error) or type(error).__name__}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise AskError(f"{self.address} answers {response.status} to {path}")
        return body

    def json(self, path: str) -> Any:
        """Return the same, read as JSON."""
        try:
            return json.loads(self.get(path))
        except ValueError:
            raise AskError(f"{self.address} does not answer with JSON") from None

    def _connection(self) -> http.client.HTTPConnection:
        if self.address.startswith(_UNIX):
            return _UnixConnection(self.address.removeprefix(_UNIX))
        host, _, port = self.address.rpartition(":")
        try:
            return http.client.HTTPConnection(host.strip("[]") or "localhost", int(port), timeout=_WITHIN)
        except ValueError:
            raise AskError(f"{self.address!r} is neither a PID nor an address") from None


def programs() -> list[tuple[int, Asked, dict[str, Any]]]:
    """Return the programs of this user that answer: their PIDs, how they are asked, and what they say of themselves."""
    found = []
    for pid, asked in sorted(_sockets().items()):
        try:
            about = asked.json("/overview.json")
        except AskError:  # it is dead, or has just ended
            continue
        found.append((pid, asked, about))
    return found


def program(target: str | None) -> Asked:
    """Return one program: that of a PID, of an address, or the only one that there is.

    Raises:
        AskError: there is none, or more than one.
    """
    if target is None:
        all_of_them = programs()
        if len(all_of_them) == 1:
            return all_of_them[0][1]
        pids = ", ".join(str(pid) for pid, _, _ in all_of_them)
        raise AskError(f"which of {pids}?" if all_of_them else "there is no program to look into")
    if not target.isdecimal():
        return Asked(target)
    found = _sockets().get(int(target))
    if found is None:
        raise AskError(f"there is no program {target} to look into")
    return found


def _sockets() -> dict[int, Asked]:
    """Return the sockets of programs; none where the directory is not ours alone."""
    directory = inspector_directory()
    try:
        check_private(directory)
        paths = list(directory.iterdir())
    except OSError:
        return {}
    return {int(path.stem): Asked(f"{_UNIX}{path}") for path in paths if _is_programs(path)}


def _is_programs(path: Path) -> bool:
    if path.suffix != SUFFIX or not path.stem.isdecimal():
        return False
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and found.st_uid == os.getuid()
