"""Jobs from a durable queue, on as many machines as you like.

- `consume`: the task factory that takes messages, runs a job for each, and settles them
- `RedisStream`: a queue on Redis Streams; `job.testing.MemoryQueue` is the same in memory
- `Message`: what a job is built from; `Discard` and `Reject`: the ways to give it up
- `Source`: the protocol, for a broker of your own

For work that may be lost with its process use `job.background`.
"""

from __future__ import annotations

from ._consume import consume
from ._errors import Discard, MessageLostError, Reject, UnavailableError
from ._message import DeadLetter, Delivery, Message, QueueStatistics
from ._source import Source

__all__ = [
    "DeadLetter",
    "Delivery",
    "Discard",
    "Message",
    "MessageLostError",
    "QueueStatistics",
    "Reject",
    "Source",
    "UnavailableError",
    "consume",
]

# Tracebacks and reprs name the door, not the room behind it.
for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
