"""One upstream as both transports see it: its address and what is known of it. And what they tell the pool."""

from __future__ import annotations

import socket
from random import Random
from typing import Protocol

from shardns.exchange.ask import Ask
from shardns.exchange.config import PoolConfig, Upstream
from shardns.exchange.health import Health
from shardns.exchange.reply import Verdict
from shardns.exchange.rtt import Rtt
from shardns.exchange.stats import UpstreamStats
from shardns.exchange.tcp import TcpLink
from shardns.exchange.turn import Turn
from shardns.exchange.udp_socket import UdpLink


class Target:
    """An upstream's address, counts, health and habits of time; shared by its TCP and its UDP side."""

    def __init__(self, index: int, upstream: Upstream, config: PoolConfig, stats: UpstreamStats, dice: Random) -> None:
        """index is its place in the pool. Raises OSError for a host that is no address."""
        self.index = index
        self.label = upstream.label
        self.stats = stats
        self.health = Health(config.max_fails, config.health_check_s, dice)
        self.rtt = Rtt()
        found = socket.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        self.family = found[0][0]
        self.address: tuple[object, ...] = found[0][4]


class Owner(Protocol):
    """The pool, as an upstream's transports see it. `now` is CLOCK_MONOTONIC in seconds."""

    turn: Turn

    def answered(self, target: Target, found: list[tuple[Ask, bytes, float]], now: float) -> None:
        """Messages came by TCP: ask, message, when the ask was sent there."""

    def datagram(self, target: Target, ask: Ask, wire: bytes, verdict: Verdict, now: float) -> None:
        """An answer came by UDP; it has been judged."""

    def lost(self, target: Target, ask: Ask, error: str, now: float, *, unreachable: bool) -> None:
        """The ask will get no answer at this place: dial failed, connection died, ICMP error."""

    def late(self, target: Target, link: TcpLink | UdpLink | None, ask: Ask, now: float) -> None:
        """The first time-out of an ask; link is None when it still waits for a connection."""

    def woken(self, link: TcpLink) -> None:
        """The link is about to have its first frame in this turn of the loop."""

    def stirred(self) -> None:
        """Something has begun that `tick` must see in time."""
