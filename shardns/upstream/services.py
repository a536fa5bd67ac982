"""What the upstream process serves besides DNS: /metrics, /health, /ready and the operator's socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns

import shardns
from shardns.core import ffi, lib
from shardns.metrics import (
    CacheCounts,
    CacheView,
    Control,
    Page,
    PluginView,
    Sources,
    TableUse,
)
from shardns.metrics import (
    Memory as MetricsMemory,
)
from shardns.metrics.sources import SETUP_ERRORS
from shardns.plan import Plan
from shardns.plugins import cache
from shardns.role import Count, Tally, Wiring
from shardns.upstream import about
from shardns.upstream.chain import Routes
from shardns.upstream.endpoints import Endpoints, HealthPoll
from shardns.upstream.flights import Flights
from shardns.upstream.http import HttpServer
from shardns.upstream.ledger import Ledger
from shardns.upstream.memory import NONE, CData, Memory
from shardns.upstream.operations import TableOperations, numbers
from shardns.upstream.operator import OperatorServer, allowed_uids

SAVE_S = 1.0
"""Between two savings of the counts."""


@dataclass(frozen=True, slots=True)
class _Counts:
    """Reads the table's counts of one block's cap."""

    memory: Memory
    cap: int

    def __call__(self) -> CacheCounts:
        if self.cap == NONE:
            return CacheCounts()
        cap = self.memory.caps[self.cap]
        return CacheCounts(cap.success_count, cap.denial_count, cap.success_evictions, cap.denial_evictions)


class Services:
    """The HTTP endpoints and the operator's socket, from `start` to `stop`."""

    def __init__(
        self, wiring: Wiring, memory: Memory, routes: Routes, flights: Flights, *, reload: Callable[[], None]
    ) -> None:
        """Nothing listens yet. reload: asks the supervisor for a reload."""
        self._wiring = wiring
        self._memory = memory
        self._tally = Tally.mapped(wiring.tally)
        self.sources = self._make_sources(wiring, routes, flights)
        routes.local.count_panic = self._count_panic
        self._reload = reload
        self._page = Page(self.sources)
        self._ledger = Ledger(memory.own.ledger, routes.stats, flights.counts, self.sources, self._caps(wiring.plan))
        self.endpoints = Endpoints(self._page, wiring.worker_count, shows=self._ledger.save)
        self._server = HttpServer()
        self._operator: OperatorServer | None = None
        self._poll: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve at every place that there is, counting on from where our predecessor was."""
        self._ledger.restore()
        self._save()
        for key, sock in self._wiring.places.items():
            await self._listen(key, sock)
        plan = self._wiring.plan
        if plan.health:
            first = plan.health[0]
            self._poll = asyncio.create_task(HealthPoll(first.host, first.port, self.sources).run())
        self.endpoints.is_serving = True

    async def adopt(self, key: str, descriptors: Sequence[int]) -> None:
        """Serve at a place that was busy when we started."""
        for descriptor in descriptors:
            await self._listen(key, socket.socket(fileno=descriptor))

    def draining(self) -> None:
        """/ready says no from here on."""
        self.endpoints.is_draining = True

    async def stop(self) -> None:
        """Close all connections; leave the counts to our successor."""
        self._ledger.save()
        if self._poll is not None:
            self._poll.cancel()
        if self._operator is not None:
            self._operator.close()
        self._server.close()

    def _save(self) -> None:
        """Keep the counts, now and every second, so that a kill costs little of them."""
        self._ledger.save()
        asyncio.get_running_loop().call_later(SAVE_S, self._save)

    async def _listen(self, key: str, sock: socket.socket) -> None:
        """Serve at one place."""
        if key == self._wiring.operator:
            self._operator = OperatorServer(self._make_operations(), allowed_uids())
            await self._operator.start(sock)
            return
        await self._server.listen(sock, self.endpoints.routes(plugins_at(self._wiring.plan, key)))

    def _make_operations(self) -> TableOperations:
        zones: dict[int, list[str]] = {}
        for block in self._wiring.plan.blocks:
            if cache.NAME in block.plugins:
                zones.setdefault(block.cache_id, []).extend(block.zones)
        return TableOperations(
            self._memory.table,
            self._memory.writer,
            zones,
            lambda: numbers(self.sources, self._page.reader, time.time()),
            self._about,
            self._reload,
            self._wiring.table.readable_fd,
        )

    def _about(self) -> dict[str, object]:
        """What `shardns doctor` starts from. The arguments are the supervisor's: we are its fork."""
        return {
            "version": self.sources.version,
            "uptime_s": round(time.time() - self.sources.start_time_s, 3),
            "arguments": sys.argv[1:],
            **about.served(self._wiring.plan),
            **about.beats(self._page.reader, self._wiring.worker_count),
        }

    # ---- where the numbers are

    def _make_sources(self, wiring: Wiring, routes: Routes, flights: Flights) -> Sources:
        plan, workers = wiring.plan, wiring.worker_count
        started_ago_s = (monotonic_ns() - wiring.start_ns) / 1e9
        return Sources(
            version=shardns.__version__,
            memory=MetricsMemory(
                slots=tuple(slot.readable_fd for slot in wiring.slots),
                workers=tuple(wiring.slot_of(worker) for worker in range(workers)),
                upstream=wiring.upstream.readable_fd,
            ),
            rows=plan.rows,
            pools=routes.stats,
            flights=flights.counts,
            table=self._table_use,
            start_time_s=time.time() - started_ago_s,
            supervisor_pid=os.getppid(),
            plugins=tuple(plugin_views(plan)),
            caches=tuple(self._cache_views(plan)),
            control=self._control,
            local=routes.local.counts,
        )

    def _count_panic(self) -> None:
        self.sources.panics += 1

    def _cache_views(self, plan: Plan) -> list[CacheView]:
        views = []
        for block in plan.blocks:
            config = block.plugins.get(cache.NAME)
            if not isinstance(config, cache.Config):
                continue
            rows: dict[str, list[int]] = {}
            for row in plan.rows:
                if row.block == block.index:
                    rows.setdefault(row.server, []).append(row.index)
            views.append(CacheView(config.label, rows, _Counts(self._memory, self._memory.cap_of(block.index))))
        return views

    def _caps(self, plan: Plan) -> dict[str, CData]:
        """The table's count of each cache, by the label that its evictions are shown under."""
        found: dict[int, str] = {}
        for block in plan.blocks:
            config = block.plugins.get(cache.NAME)
            if isinstance(config, cache.Config):
                found.setdefault(self._memory.cap_of(block.index), config.label)
        return {label: ffi.addressof(self._memory.caps, cap) for cap, label in found.items()}

    def _table_use(self) -> TableUse:
        use = self._memory.use()
        return TableUse(
            self._wiring.table.size,
            use.octets_used,
            use.entries,
            use.pages_used,
            use.pages_total,
            [(use.class_size[i], use.class_entries[i]) for i in range(lib.SHD_CLASSES)],
            use.refusals + self._ledger.refusals,
        )

    def _control(self) -> Control:
        tally = self._tally
        return Control(
            reloads=tally[Count.RELOADS],
            reloads_failed=tally[Count.RELOAD_FAILED],
            worker_restarts=tally[Count.WORKER_RESTARTS],
            upstream_restarts=tally[Count.UPSTREAM_RESTARTS],
            children_stuck=tally[Count.STUCK],
            http_busy=tally[Count.HTTP_BUSY],
            setup_errors={kind: tally[Count[f"SETUP_{kind.upper()}"]] for kind in SETUP_ERRORS},
            config_sha512=self._wiring.plan.digest if tally[Count.RELOADS] else "",
        )


def plugins_at(plan: Plan, key: str) -> set[str]:
    """Which of health, ready and prometheus are served on the address; one that no block names is for metrics."""
    named = {"health": plan.health, "ready": plan.ready, "prometheus": plan.prometheus}
    found = {name for name, addresses in named.items() if key in {str(address) for address in addresses}}
    return found or {"prometheus"}


def plugin_views(plan: Plan) -> list[PluginView]:
    """Every plugin of every block at each of its addresses."""
    return [
        PluginView(row.server, row.zone, name)
        for row in plan.rows
        if row.block is not None
        for name in plan.blocks[row.block].plugins
    ]
