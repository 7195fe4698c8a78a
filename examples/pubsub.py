"""Publish and subscribe: when `python -m examples.pubsub` is stopped, what was published before is still worked off."""

import sys
from functools import partial

import trio

import job
from job.tasks import every, recurrent


class Broker:
    """A task that hands each message to every subscriber."""

    def __init__(self) -> None:
        self._subscribers: list[trio.MemorySendChannel[int]] = []

    def subscribe(self) -> trio.MemoryReceiveChannel[int]:
        """Return the messages of a new subscriber; a hundred may wait for it, one more fails the job."""
        subscriber, messages = trio.open_memory_channel[int](100)
        self._subscribers.append(subscriber)
        return messages

    def publish(self, task: job.Task) -> None:
        """Hand on five messages, and wait for nobody."""
        for message in range(task.steps * 5, task.steps * 5 + 5):
            print("published", message, flush=True)
            for subscriber in self._subscribers:
                subscriber.send_nowait(message)

    async def run(self, task: job.Task) -> None:
        """Wait for the stop, and close the channels: each subscriber comes to the end of its messages."""
        await task.job.wait_stopping()
        for subscriber in self._subscribers:
            subscriber.close()
        task.done()


async def subscriber(name: str, messages: trio.MemoryReceiveChannel[int], task: job.Task) -> None:
    """Work off all messages in one call: a task stops at its next step, and that would leave the rest behind."""
    async for message in messages:
        await trio.sleep(0.02)
        print(name, "got", message, flush=True)
    task.done()


def main() -> job.Job[None]:
    """Return the job, for `job.run` or `job run examples.pubsub:main`."""
    j, broker, strict = job.Job[None](name="pubsub", grace=10), Broker(), job.StopPolicy.STRICT
    j.add_task(broker, policy=strict)
    j.add_task(every(1, recurrent(broker.publish)), policy=strict)
    for name in ("ann", "bob"):
        j.add_task(partial(subscriber, name, broker.subscribe()), name=name, policy=strict)
    return j


if __name__ == "__main__":
    sys.exit(job.run(main()))
