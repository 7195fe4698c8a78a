"""Jobs from a durable queue, on as many machines as you like.

- `consume`: the task factory that takes messages, runs a job for each, and settles them
- `RedisStream`: a queue on Redis Streams; `job.testing.MemoryQueue` is the same in memory
- `Message`: what a job is built from; `Discard` and `Reject`: the ways to give it up
- `Source`: the protocol, for a broker of your own

For work that may be lost with its process use `job.background`.
"""

from __future__ import annotations

from .._core import door
from ._consume import consume
from ._errors import Discard, MessageLostError, Reject, UnavailableError
from ._message import DeadLetter, Delivery, Message, QueueStatistics
from ._redis import RedisStream
from ._source import Source

__all__ = [
    "DeadLetter",
    "Delivery",
    "Discard",
    "Message",
    "MessageLostError",
    "QueueStatistics",
    "RedisStream",
    "Reject",
    "Source",
    "UnavailableError",
    "consume",
]

door.export(globals())
