"""What client and backend say to each other: one request, two answers, each a frame of MessagePack.

The balancer between them knows none of this; it moves bytes.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from job.net import frames

MAX_SIDE: Final = 10_000
"""The longest side that may be asked for, in pixels: who asks for more is after the backend's memory."""
MAX_FILE: Final = 16 * 1024 * 1024
"""The longest file that is sent, in bytes, either way."""
MAX_NAME: Final = 64
"""The longest name of a backend."""
MAX_REASON: Final = 300
"""The longest reason of a refusal."""

Side: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
Name: TypeAlias = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
Reason: TypeAlias = Annotated[str, msgspec.Meta(max_length=MAX_REASON)]


class Resize(msgspec.Struct, frozen=True, tag=True):
    """Please fit this picture into width x height. `id` comes back with the answer."""

    id: int
    width: Side
    height: Side
    image: bytes


class Resized(msgspec.Struct, frozen=True, tag=True):
    """The picture, done by the backend of that name."""

    id: int
    backend: Name
    image: bytes


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The picture cannot be done, here or elsewhere: it is broken, say. Asking again is of no use."""

    id: int
    backend: Name
    reason: Reason


Message: TypeAlias = Resize | Resized | Refused

# A little more than a file, for what goes with it.
MAX_FRAME: Final = MAX_FILE + 4096
CODEC: Final[frames.Codec[Message]] = frames.Codec(Message, max_frame=MAX_FRAME)
