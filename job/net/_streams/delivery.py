"""Reset a socket, and wait for delivery before that: a reset throws away all that was sent and has not arrived."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final, TypeAlias

import trio
from trio.socket import SocketType

with suppress(ImportError):
    import fcntl
    import termios

AnySocket: TypeAlias = socket.socket | SocketType

# With this option a close throws away what was not sent, and sends RST in place of FIN (tcp(7)).
_AT_ONCE: Final = struct.pack("ii", 1, 0)
_ASK: Final = hasattr(socket, "TCP_INFO") and "termios" in globals()
_CLOSED: Final = 7  # TCP_CLOSE, of the kernel's states
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05


def reset(sock: AnySocket) -> None:
    """Close a socket so that its peer sees that it was cut: by RST on TCP. A unix socket has no reset; it is just closed."""
    if sock.family != getattr(socket, "AF_UNIX", None):
        with suppress(OSError):  # it was closed before
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    sock.close()


async def wait_delivered(sock: AnySocket) -> None:
    """Wait until the peer's system has all that was sent, or is gone. There is no event for that, so this polls.

    It does not wait where the system cannot tell, nor on a unix socket: its bytes are with the peer as soon as they are sent.
    """
    pause = _FIRST_PAUSE
    await trio.lowlevel.checkpoint()
    while _unacknowledged(sock):
        await trio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _unacknowledged(sock: AnySocket) -> bool:
    if not _ASK or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _CLOSED:
            return False
        return fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)) != bytes(4)
    except (OSError, ValueError):  # it was closed meanwhile
        return False
