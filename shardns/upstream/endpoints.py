"""What /health, /ready and /metrics say, and the poll of our own /health.

/health is about this program: 200 while every worker and the upstream process show that they turn, whatever the
nameservers do. It stays 200 in lameduck, as CoreDNS's does. /ready is about traffic: 200 only when the program serves
and is not about to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic, monotonic_ns
from typing import Final

from shardns.log import get_logger
from shardns.metrics import CONTENT_TYPE, Page, Reader
from shardns.metrics.sources import Sources
from shardns.upstream.http import Handler, Response, Routes, plain

SILENT_S: Final = 3.0  # a process that has not beaten for so long is held to be stuck; processes beat every 0.5 s
POLL_S: Final = 1.0  # CoreDNS 1.13.2 plugin/health/overloaded.go
POLL_TIMEOUT_S: Final = 3.0
SLOW_S: Final = 1.0
PATHS: Final = {"health": "/health", "prometheus": "/metrics", "ready": "/ready"}
"""The path that each plugin serves; the same address may be named by several."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Beat:
    """When one thread last showed that it turns."""

    who: str
    """"worker 0" or "upstream"."""
    thread: str
    """"serve" (the C loop) or "loop" (the event loop)."""
    at_ns: int
    """CLOCK_MONOTONIC; 0: never."""


def beats(reader: Reader, worker_count: int) -> list[Beat]:
    """The beats of every worker of this generation and of the upstream process."""
    found: list[Beat] = []
    for n in range(worker_count):
        process = reader.worker(n)
        found.append(Beat(f"worker {n}", "serve", process["heartbeat_ns"]))
        found.append(Beat(f"worker {n}", "loop", process["heartbeat_loop_ns"]))
    found.append(Beat("upstream", "loop", reader.upstream()["heartbeat_loop_ns"]))
    return found


def faults(found: Iterable[Beat], now_ns: int, silent_s: float = SILENT_S) -> dict[str, str]:
    """Who is not well, and why: "worker 0" to "serve silent for 4.2 s". Empty when all are."""
    reasons: dict[str, list[str]] = {}
    for beat in found:
        if not beat.at_ns:
            reasons.setdefault(beat.who, []).append(f"{beat.thread} not started")
        elif now_ns - beat.at_ns > silent_s * 1e9:
            reasons.setdefault(beat.who, []).append(f"{beat.thread} silent for {(now_ns - beat.at_ns) / 1e9:.1f} s")
    return {who: ", ".join(texts) for who, texts in reasons.items()}


def health_response(unwell: dict[str, str]) -> Response:
    """200 OK, or 503 with a line for each that is not well."""
    if not unwell:
        return plain(HTTPStatus.OK)
    return plain(HTTPStatus.SERVICE_UNAVAILABLE, "".join(f"{who}: {why}\n" for who, why in unwell.items()))


def ready_response(unwell: Collection[str], *, is_serving: bool, is_draining: bool) -> Response:
    """200 OK, or 503 with who is not ready, joined by commas; "Shutting down" (CoreDNS plugin/ready/ready.go)."""
    if is_draining:
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, "Shutting down")
    if not is_serving:
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, "upstream")
    if unwell:
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, ",".join(sorted(unwell)))
    return plain(HTTPStatus.OK)


class Endpoints:
    """The three handlers of the upstream process. Set is_serving and is_draining as they come true."""

    def __init__(
        self, page: Page, worker_count: int, *, silent_s: float = SILENT_S, shows: Callable[[], None] = lambda: None
    ) -> None:
        """shows: called after a page was made and before it is sent."""
        self.is_serving = False
        self.is_draining = False
        self._page = page
        self._worker_count = worker_count
        self._silent_s = silent_s
        self._shows = shows

    def routes(self, plugins: Collection[str]) -> Routes:
        """The paths of an address that these plugins (of PATHS) name."""
        handlers: dict[str, Handler] = {"health": self.health, "prometheus": self.metrics, "ready": self.ready}
        return {PATHS[name]: handlers[name] for name in plugins}

    async def health(self) -> Response:
        """/health."""
        return health_response(self._faults())

    async def ready(self) -> Response:
        """/ready."""
        return ready_response(self._faults(), is_serving=self.is_serving, is_draining=self.is_draining)

    async def metrics(self) -> Response:
        """/metrics."""
        page = await self._page.render()
        self._shows()
        return Response(HTTPStatus.OK, page, CONTENT_TYPE)

    def _faults(self) -> dict[str, str]:
        """Who is not well now."""
        return faults(beats(self._page.reader, self._worker_count), monotonic_ns(), self._silent_s)


class HealthPoll:
    """Asks our own /health once a second, as CoreDNS does, and counts in sources how long the answer took."""

    def __init__(self, host: str, port: int, sources: Sources, *, every_s: float = POLL_S) -> None:
        """The address that /health listens on; a wildcard or an empty host is asked on loopback."""
        self._address = (_WILDCARDS.get(host, host), port)
        self._sources = sources
        self._every_s = every_s
        self._failing = False
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._every_s)
                await self.poll()
        finally:
            self._drop()

    async def poll(self) -> None:
        """Ask once and count it."""
        start = monotonic()
        reason = ""
        try:
            status = await asyncio.wait_for(self._ask(), POLL_TIMEOUT_S)
            reason = "" if status == HTTPStatus.OK else f"status {status}"
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError) as error:
            self._drop()
            reason = str(error) or type(error).__name__
        took_s = monotonic() - start
        self._sources.health.observe(took_s)
        self._sources.health_failures += bool(reason)
        self._report(reason, took_s)

    def _report(self, reason: str, took_s: float) -> None:
        """Log what changed."""
        if reason and not self._failing:
            log.warning("health.failed", address=f"{self._address[0]}:{self._address[1]}", reason=reason)
        elif self._failing and not reason:
            log.info("health.recovered")
        elif took_s > SLOW_S:
            log.warning("health.slow", took_s=took_s)
        self._failing = bool(reason)

    async def _ask(self) -> int:
        """The status of one request, on the connection of the last one if it is still there."""
        if self._streams is None or self._streams[0].at_eof():
            self._drop()
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        _, found, rest = head.partition(b"\r\ncontent-length:")
        await reader.readexactly(int(rest.split(b"\r\n", 1)[0]) if found else 0)
        if b"\r\nconnection: close\r\n" in head:
            self._drop()
        return int(head.split(b" ", 2)[1])

    def _drop(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


_WILDCARDS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
