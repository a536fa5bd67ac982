"""How the misses of each server block are answered: the plugins below `cache`, in their order.

In this version those are `loop`, which only watches (loopcheck.py), and one or more `forward`: the first whose FROM
fits and that does not except the name takes the query (CoreDNS 1.13.2 plugin/forward/forward.go, match).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic_ns

from shardns import log
from shardns.core import lib
from shardns.dns import codes, names
from shardns.exchange import Failure, Outcome, Pool, PoolConfig, PoolStats, Upstream
from shardns.plan import Block, Plan
from shardns.plugins import cache, errors, forward
from shardns.querylog.errors import ErrorLog
from shardns.upstream.flights import Flight

Done = Callable[[Outcome], None]

STORE_ALL = int(lib.SHD_STORE_SUCCESS | lib.SHD_STORE_DENIAL | lib.SHD_STORE_FAILURE)
MAX_AGE_S = 30.0
"""Age of a connection to an upstream without max_age: kube-dns replicas come and go behind one address."""
NO_PLUGIN = Outcome(None, "", Failure.ALL_DOWN, "plugin/forward: no next plugin found")
"""For names that no `forward` takes (CoreDNS plugin.NextOrFailure)."""


def pool_config(stanza: forward.Stanza) -> PoolConfig:
    """The pool of one `forward`."""
    return PoolConfig(
        upstreams=tuple(Upstream(target.host, target.port, target.label) for target in stanza.targets),
        force_tcp=stanza.force_tcp,
        prefer_udp=stanza.prefer_udp,
        policy=stanza.policy,  # type: ignore[arg-type]  # one of forward.POLICIES
        expire_s=stanza.expire_s,
        max_age_s=stanza.max_age_s or MAX_AGE_S,
        max_fails=stanza.max_fails,
        health_check_s=stanza.health_check_s,
        health_check_no_rec=not stanza.health_check_rd,
        health_check_domain=stanza.health_check_domain,
        max_concurrent=stanza.max_concurrent,
        failfast=stanza.failfast,
        max_connect_attempts=stanza.max_connect_attempts,
    )


class Route:
    """The way of one block's misses."""

    def __init__(self, block: Block, stats: PoolStats, loop: asyncio.AbstractEventLoop) -> None:
        """Make the pools; nothing is connected before the first miss."""
        self._loop = loop
        cached = block.plugins.get(cache.NAME)
        self._cache = cached if isinstance(cached, cache.Config) else None
        forwards = block.plugins.get(forward.NAME)
        stanzas = forwards.stanzas if isinstance(forwards, forward.Config) else ()
        self._ways = [(stanza, Pool(pool_config(stanza), stats, loop=loop)) for stanza in stanzas]
        first = stanzas[0] if len(stanzas) == 1 else None
        takes_all = first is not None and not first.excepted and _covers(first.zones, block.zones)
        self._only = self._ways[0][1] if takes_all else None
        reports = block.plugins.get(errors.NAME)
        self._errors = ErrorLog(reports.consolidate) if isinstance(reports, errors.Config) else None
        self.stale = self._cache is not None and self._cache.stale_s > 0
        self.patience_s = self._cache.stale_timeout_s if self._cache else 0.0
        self.plugin = int(lib.SHD_BY_CACHE if self._cache else lib.SHD_BY_FORWARD)
        self.stores = self._constant_stores(block)

    def _constant_stores(self, block: Block) -> int | None:
        """What may be stored if that is the same for all names of the block; else None."""
        config = self._cache
        if config is None:
            return 0
        limited = config.success.disabled or config.denial.disabled or not _covers(config.zones, block.zones)
        return None if limited else STORE_ALL

    def stores_of(self, name: str) -> int:
        """What may be stored for name, any case: enum shd_store bits."""
        config = self._cache
        name = name.lower()
        if config is None or not _covers(config.zones, (name,)):
            return 0
        stores = STORE_ALL
        if _covers(config.success.disabled, (name,)):
            stores &= ~lib.SHD_STORE_SUCCESS
        if _covers(config.denial.disabled, (name,)):
            stores &= ~(lib.SHD_STORE_DENIAL | lib.SHD_STORE_FAILURE)
        return stores

    def ask(self, flight: Flight, done: Done) -> None:
        """Ask the first `forward` that takes the name."""
        pool = self._only or self._pool_for(flight.name.lower())
        if pool is None:
            self._loop.call_soon(done, NO_PLUGIN)
        else:
            pool.ask(flight.query, flight.over_tcp, done)

    def _pool_for(self, name: str) -> Pool | None:
        return next((pool for stanza, pool in self._ways if stanza.takes(name)), None)

    def failed(self, flight: Flight, outcome: Outcome) -> None:
        """Hand a flight without an answer to the block's `errors`."""
        if self._errors is None:
            return
        rcode = codes.Rcode.REFUSED if outcome.failure is Failure.MAX_CONCURRENT else codes.Rcode.SERVFAIL
        text = self._errors.note(monotonic_ns(), rcode, flight.name, codes.type_text(flight.qtype), outcome.detail)
        if text:
            log.line(text)

    def tick(self, now_ns: int) -> None:
        """Print the counts of alike errors whose time is over."""
        if self._errors is not None:
            log.lines(self._errors.expire(now_ns))

    async def close(self) -> None:
        """Print the counts that are open; close the connections."""
        if self._errors is not None:
            log.lines(self._errors.stop())
        for _, pool in self._ways:
            await pool.close()


class Routes:
    """The routes of all blocks, and the counts of all their pools."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is connected before the first miss."""
        self.stats = PoolStats()
        self.by_block = {block.index: Route(block, self.stats, loop) for block in plan.blocks}

    def tick(self, now_ns: int) -> None:
        """About twice a second."""
        for route in self.by_block.values():
            route.tick(now_ns)

    async def close(self) -> None:
        """Close everything."""
        for route in self.by_block.values():
            await route.close()


def _covers(zones: Iterable[str], all_of: Iterable[str]) -> bool:
    """Whether each of all_of is at or below one of zones; all normalised."""
    zones = tuple(zones)
    return all(any(names.is_subdomain(name, zone) for zone in zones) for name in all_of)
