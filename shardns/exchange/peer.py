"""One upstream with both its transports, as the pool uses it."""

from __future__ import annotations

import asyncio
from random import Random

from shardns.exchange.ask import Ask
from shardns.exchange.config import PoolConfig, Upstream
from shardns.exchange.connections import Connections
from shardns.exchange.datagrams import Datagrams
from shardns.exchange.ids import Ids
from shardns.exchange.stats import UpstreamStats
from shardns.exchange.target import Owner, Target
from shardns.exchange.tcp import TcpLink


class Peer(Target):
    """An upstream: where it is, how it is, and the ways to ask it."""

    def __init__(  # noqa: PLR0913 - what it is made of
        self,
        index: int,
        upstream: Upstream,
        config: PoolConfig,
        *,
        owner: Owner,
        stats: UpstreamStats,
        loop: asyncio.AbstractEventLoop,
        dice: Random,
        ids: Ids,
        max_links: int,
    ) -> None:
        """index is its place in the pool; max_links the TCP connections it usually may have."""
        super().__init__(index, upstream, config, stats, dice)
        self.tcp = Connections(self, config, owner=owner, loop=loop, dice=dice, ids=ids, max_links=max_links)
        self._counted = 0
        self.udp = Datagrams(self, owner=owner, loop=loop, dice=dice, ids=ids)

    def submit(self, ask: Ask, now: float, *, avoid: TcpLink | None = None, forced: bool = False) -> bool:
        """Send the ask by its transport, or let it wait for a connection; False when neither can be."""
        if ask.by_tcp:
            return self.tcp.submit(ask, now, avoid=avoid, forced=forced)
        return self.udp.submit(ask, now)

    def tick(self, now: float) -> float:
        """Do what is due; when to come again."""
        due = min(self.tcp.tick(now), self.udp.tick(now))
        return min(due, self.health.next_check)  # last: what was late may have been news to it

    def count_in_flight(self) -> None:
        """Bring the stats' in_flight up to date; other pools may add to the same number."""
        in_flight = len(self.tcp) + len(self.udp)
        self.stats.in_flight += in_flight - self._counted
        self._counted = in_flight

    def close(self) -> list[Ask]:
        """Close all sockets; the asks that waited here."""
        asks = self.tcp.close() + self.udp.close()
        self.count_in_flight()
        return asks
