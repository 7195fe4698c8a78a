"""Scenario 9: more clients than places. There are never more connections than the limit, whatever is done with the rest."""

from typing import Any

import pytest
import trio

from tests.faults.networks import GONE, Network
from tests.faults.proxies import Server, echo, forwarding, roundtrip

LIMIT = 20
MORE = 50


class Crowd:
    """Clients that come at once; who is served stays until the doors are opened."""

    def __init__(self, network: Network, proxy: Server) -> None:
        self.served = self.sent_away = 0
        self._network = network
        self._proxy = proxy
        self._may_leave = trio.Event()

    async def come(self) -> None:
        """Be one of them."""
        try:
            async with await self._network.connect(self._proxy.address) as client:
                await roundtrip(client)
                self.served += 1
                await self._may_leave.wait()
        except (*GONE, OSError, AssertionError):
            self.sent_away += 1

    async def gather(self, nursery: trio.Nursery, served: int, sent_away: int) -> None:
        """Come, all of them, and see how many are served and how many not."""
        for _ in range(LIMIT + MORE):
            nursery.start_soon(self.come)
        await self._proxy.until(lambda: self.served == served and self.sent_away == sent_away)
        assert self._proxy.front.statistics().inbound == LIMIT
        self._may_leave.set()


@pytest.mark.parametrize("on_limit", ["wait", "queue"])
async def test_patient_clients(network: Network, on_limit: Any) -> None:
    """Whether they are left in the kernel's queue or in ours, all are served in the end."""
    async with forwarding(network, echo, limit=LIMIT, on_limit=on_limit, queue_timeout=20) as proxy:
        crowd = Crowd(network, proxy)
        async with trio.open_nursery() as nursery:
            await crowd.gather(nursery, LIMIT, 0)
    assert (crowd.served, crowd.sent_away) == (LIMIT + MORE, 0)
    assert proxy.most == LIMIT
    assert proxy.front.statistics().rejected == 0


@pytest.mark.parametrize("on_limit", ["queue", "reject"])
async def test_sent_away(network: Network, on_limit: Any) -> None:
    """Who finds no place, or none in time, is closed; when places are free again the next one is served."""
    async with forwarding(network, echo, limit=LIMIT, on_limit=on_limit, queue_timeout=0.3) as proxy:
        crowd = Crowd(network, proxy)
        async with trio.open_nursery() as nursery:
            await crowd.gather(nursery, LIMIT, MORE)
        await proxy.until_quiet()
        async with await network.connect(proxy.address) as client:
            await roundtrip(client)
    assert proxy.most == LIMIT
    assert proxy.front.statistics().rejected == MORE
    assert sum(event == "client.rejected" for _, event, _ in proxy.lines) == MORE
