"""pproxy's own program, on uvloop as it wants; its way to ask for a loop is one that newer loops no longer answer."""

from __future__ import annotations

import asyncio

import pproxy.server

from ...peers import has_module


def main() -> None:
    """Run pproxy with the arguments given."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    if has_module("uvloop"):
        import uvloop

        uvloop.install = lambda: asyncio.set_event_loop(uvloop.new_event_loop())
    pproxy.server.main()


if __name__ == "__main__":
    main()
