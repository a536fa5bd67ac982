"""How the misses of each server block are answered: the plugins below `cache`, in their order.

First come those that answer by themselves (local.py), then `loop`, which only watches (loopcheck.py), then one or more
`forward`: the first whose FROM fits and that does not except the name takes the query (CoreDNS 1.13.2
plugin/forward/forward.go, match).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from time import monotonic_ns

from shardns import log
from shardns.core import lib
from shardns.dns import codes, names
from shardns.dns.answer import Question
from shardns.exchange import Failure, Outcome, Pool, PoolConfig, PoolStats, Turn, Upstream
from shardns.plan import Block, Plan
from shardns.plugins import cache, errors, forward, hosts, template
from shardns.querylog.errors import ErrorLog
from shardns.upstream.flights import Flight
from shardns.upstream.local import Asked, Done, Local, Locals

_LOCAL = frozenset({template.NAME, hosts.NAME})

STORE_ALL = int(lib.SHD_STORE_SUCCESS | lib.SHD_STORE_DENIAL | lib.SHD_STORE_FAILURE)
MAX_AGE_S = 30.0
"""Age of a connection to an upstream without max_age: kube-dns replicas come and go behind one address."""

_HANDLERS = ("template", "hosts", "loop", "forward")
"""The plugins below `cache`, in their order."""


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

    def __init__(self, block: Block, stats: PoolStats, loop: asyncio.AbstractEventLoop, turn: Turn) -> None:
        """Make the pools; nothing is connected before the first miss."""
        self._loop = loop
        cached = block.plugins.get(cache.NAME)
        self._cache = cached if isinstance(cached, cache.Config) else None
        forwards = block.plugins.get(forward.NAME)
        stanzas = forwards.stanzas if isinstance(forwards, forward.Config) else ()
        self._ways = [(stanza, Pool(pool_config(stanza), stats, loop=loop, turn=turn)) for stanza in stanzas]
        first = stanzas[0] if len(stanzas) == 1 else None
        takes_all = first is not None and not first.excepted and _covers(first.zones, block.zones)
        self._only = self._ways[0][1] if takes_all else None
        last = next((name for name in reversed(_HANDLERS) if name in block.plugins), forward.NAME)
        # CoreDNS plugin.NextOrFailure
        self._nobody = Outcome(None, "", Failure.ALL_DOWN, f"plugin/{last}: no next plugin found")
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
            self._loop.call_soon(done, self._nobody)
        else:
            pool.ask(flight.query, flight.over_tcp, done)

    def _pool_for(self, name: str) -> Pool | None:
        return next((pool for stanza, pool in self._ways if stanza.takes(name)), None)

    def failed(self, flight: Flight, outcome: Outcome) -> None:
        """Hand a flight without an answer to the block's `errors`; one that nothing is said of was meant so."""
        if self._errors is None or (isinstance(outcome, Local) and not outcome.detail):
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


class LocalRoute(Route):
    """The way of a block whose own plugins are asked first."""

    def __init__(self, block: Block, stats: PoolStats, shared: Locals, turn: Turn) -> None:
        """Read what the plugins read."""
        super().__init__(block, stats, shared.loop, turn)
        self._shared = shared
        self._plugins = shared.plugins_of(list(block.plugins.values()))
        reports = block.plugins.get(errors.NAME)
        self._stacktrace = isinstance(reports, errors.Config) and reports.stacktrace

    def ask(self, flight: Flight, done: Done) -> None:
        """Ask the plugins in their order, then the first `forward` that takes the name."""
        shared = self._shared
        asked = Asked(Question.of(flight.query), flight.row, self._stacktrace)
        try:
            server = shared.server_of(flight.row)
            for plugin in self._plugins:
                said = plugin.answer(asked.question, server)
                if said is not None:
                    shared.say(said, asked, self.plugin if self._cache else plugin.writer, done)
                    return
        except Exception as error:  # noqa: BLE001 - a plugin's fault costs its query, not the process
            shared.panicked(error, asked, done)
            return
        super().ask(flight, done)

    def tick(self, now_ns: int) -> None:
        """Let the plugins look at their files."""
        super().tick(now_ns)
        for plugin in self._plugins:
            plugin.tick(now_ns)


class Routes:
    """The routes of all blocks, and the counts of all their pools."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        """Nothing is connected before the first miss."""
        self.stats = PoolStats()
        self.turn = Turn(loop)
        self.local = Locals(plan, loop)
        self.by_block = {block.index: self._route(block, loop) for block in plan.blocks}

    def _route(self, block: Block, loop: asyncio.AbstractEventLoop) -> Route:
        """A block with `forward` only has the short way."""
        if _LOCAL.isdisjoint(block.plugins):
            return Route(block, self.stats, loop, self.turn)
        return LocalRoute(block, self.stats, self.local, self.turn)

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
