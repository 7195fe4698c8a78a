"""The same job in other libraries; each imports what it needs when it is built, so that a missing one is only missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from .routines import done, nothing

Whole = Callable[[], Awaitable[None]]


def anyio_minimal() -> Whole:
    """Give three tasks, two of them behind an Event, each with a shielded clean-up, through anyio."""
    import anyio

    async def member(ready: Any, *, opens: bool) -> None:
        try:
            if not opens:
                await ready.wait()
            while await done():
                pass
            if opens:
                ready.set()
        finally:
            with anyio.CancelScope(shield=True):
                await nothing()

    async def whole() -> None:
        ready = anyio.Event()
        async with anyio.create_task_group() as group:
            for index in range(3):
                group.start_soon(lambda opens: member(ready, opens=opens), index == 0)

    return whole


def anyio_full() -> Whole:
    """Give the same with inits in order and finalizers in reverse order, each within a timeout."""
    import anyio

    async def member(gate: Any, turn: Any, after: Any, *, task_status: Any) -> None:
        await nothing()
        task_status.started()
        try:
            await gate.wait()
            while await done():
                pass
        finally:
            with anyio.move_on_after(10, shield=True):
                await turn.wait()
                await nothing()
                after.set()

    async def whole() -> None:
        await nothing()
        try:
            while await done():
                pass
            gate, last, first, over = (anyio.Event() for _ in range(4))
            async with anyio.create_task_group() as group:
                await group.start(member, gate, first, over)
                await group.start(member, gate, last, first)
                gate.set()
                last.set()
        finally:
            with anyio.move_on_after(10, shield=True):
                await nothing()

    return whole


def asyncio_minimal() -> Whole:
    """Give a oneshot and two tasks in asyncio's own TaskGroup."""

    async def member() -> None:
        while await done():
            pass

    async def whole() -> None:
        await member()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(member())
                group.create_task(member())
        finally:
            await nothing()

    return whole


def aiojobs_minimal() -> Whole:
    """Give a oneshot and two jobs of a scheduler."""
    import aiojobs

    async def member() -> None:
        while await done():
            pass

    async def whole() -> None:
        await member()
        async with aiojobs.Scheduler() as scheduler:
            jobs = [await scheduler.spawn(member()) for _ in range(2)]
            for spawned in jobs:
                await spawned.wait()

    return whole


def mode_service() -> Whole:
    """Give a service with a start, two tasks and a stop."""
    import mode

    class Trio(mode.Service):
        async def on_start(self) -> None:
            await nothing()

        @mode.Service.task
        async def first(self) -> None:
            while await done():
                pass

        @mode.Service.task
        async def second(self) -> None:
            while await done():
                pass

        async def on_stop(self) -> None:
            await nothing()

    async def whole() -> None:
        service = Trio()
        await service.start()
        await asyncio.sleep(0)  # else they are cancelled before they begin
        await service.stop()

    return whole
