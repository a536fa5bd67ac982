"""The upstream process: takes asks, asks the upstreams, is the table's only writer, serves metrics and health.

It loads everything before it says READY and touches no shared memory but its own until GO: during a reload the old
upstream process is the table's writer until it is gone. STOP may come at any time: open asks stay in their rings, and
the next upstream process takes them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Coroutine
from time import monotonic, monotonic_ns
from typing import Any

from shardns.cache import Refused
from shardns.core import lib
from shardns.log import get_logger
from shardns.logthread import LogThread, query_logs
from shardns.role import EXIT_BOOT, Message, Wiring, Word, receive, send
from shardns.upstream.chain import Routes
from shardns.upstream.flights import Flight, Flights
from shardns.upstream.loopcheck import LoopCheck, Target
from shardns.upstream.memory import Memory
from shardns.upstream.misses import MissServer
from shardns.upstream.services import Services

HEARTBEAT_S = 0.5
DRAIN_S = 5.0
"""Open flights may take this long after DRAIN; then they stay in the rings."""
LOG_S = 0.5
"""For the last lines of the `log` plugin."""

log = get_logger()


class UpstreamProcess:
    """Everything of the process, from GO to the end."""

    def __init__(self, wiring: Wiring, control: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Load: maps memory, builds rules and pools. Serves nothing yet."""
        self._wiring = wiring
        self._control = control
        self._loop = loop
        self._memory = Memory(wiring)
        self._routes = Routes(wiring.plan, loop)
        self._loops = LoopCheck(_loop_targets(wiring), self._fatal)
        self._turn = self._routes.turn
        self._flights = Flights(
            self._memory.finish, self._routes.by_block, loop=loop, seen_hinfo=self._seen_hinfo, turn=self._turn
        )
        self._routes.local.ask = self._flights.ask_ourselves
        self._misses = MissServer(self._flights.take_wire, self._turn)
        self._services = Services(
            wiring, self._memory, self._routes, self._flights, reload=lambda: self._say(Word.RELOAD)
        )
        self._ended = loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._own = self._memory.own
        self._wake_fd = wiring.wake_fd
        self._taking = False
        self._log: LogThread | None = None
        if self._memory.log_ring is not None:
            self._log = LogThread([self._memory.log_ring], query_logs(wiring.plan), os.eventfd(0, os.EFD_CLOEXEC))

    async def run(self) -> None:
        """Serve from now until the supervisor says that it is enough."""
        self._loop.set_exception_handler(self._broke)
        self._memory.take_over()
        self._beat()
        if self._log is not None:
            self._log.start()
        self._loop.add_reader(self._wiring.wake_fd, self._woken)
        await self._misses.start(self._wiring.miss_socket)
        self._take()
        await self._services.start()
        self._say(Word.SERVING)
        self._background(self._loops.run())
        await self._ended
        await self._services.stop()
        self._misses.close()
        lib.shd_finish_flush(self._memory.finish)
        await self._routes.close()
        if self._log is not None:
            self._log.finish(LOG_S)

    def heard(self, message: Message | None) -> None:
        """A word of the supervisor's after GO; None when it is gone."""
        if message is None or message.word is Word.STOP:
            self._flights.abandon()
            self._end()
        elif message.word is Word.LAMEDUCK:
            self._services.draining()
        elif message.word is Word.DRAIN:
            self._services.draining()
            self._background(self._drain())
        elif message.word is Word.PLACE:
            self._background(self._services.adopt(message.text, message.fds))

    # ---- asks

    def _woken(self) -> None:
        """A worker has put asks."""
        try:  # noqa: SIM105 - done for each miss that comes alone, and contextlib.suppress takes longer than the read
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass
        if not self._taking:
            self._take()

    def _take(self) -> None:
        """Take asks; as long as several come at a time, look again at the next turn of the loop without being woken."""
        self._own.sleeping = 0
        self._turn.begin()
        self._taking = self._flights.take()
        self._turn.end()
        if not self._taking:
            self._own.sleeping = 1
            self._taking = self._flights.waiting()
        if self._taking:
            self._loop.call_soon(self._take)

    def _seen_hinfo(self, flight: Flight) -> None:
        """An HINFO ask: perhaps a loop's."""
        self._loops.seen(flight)

    # ---- life

    def _beat(self) -> None:
        """Show that the loop turns."""
        self._own.process.heartbeat_ns = self._own.process.heartbeat_loop_ns = monotonic_ns()
        self._routes.tick(monotonic_ns())
        self._write_log()
        self._memory.look()
        if not self._taking and self._flights.waiting():
            self._take()  # a worker was killed between putting its asks and waking us
        self._loop.call_later(HEARTBEAT_S, self._beat)

    def _write_log(self) -> None:
        """Let the log thread write what there is."""
        ring = self._memory.log_ring
        if self._log is not None and ring is not None and ring.head != ring.tail:
            self._log.wake()

    async def _drain(self) -> None:
        """Finish what is open, then end."""
        end = monotonic() + DRAIN_S
        while (self._taking or self._flights.counts.open or self._flights.waiting()) and monotonic() < end:
            if not self._taking:
                self._take()
            await asyncio.sleep(0.01)
        self._end()

    def _fatal(self, reason: str) -> None:
        """The whole program must end."""
        log.error("loop.detected", reason=reason)
        self._say(Word.FATAL, reason)

    def _say(self, word: Word, text: str = "") -> None:
        """Tell the supervisor; if it is gone, so are we."""
        try:
            send(self._control, word, text)
        except OSError:
            self._end()

    def _end(self) -> None:
        """Let run() return."""
        if not self._ended.done():
            self._ended.set_result(None)

    def _broke(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback raised. If the network is not to blame it is our bug: end, and let a successor take the asks."""
        error = context.get("exception")
        if isinstance(error, Exception) and not isinstance(error, OSError) and not self._ended.done():
            self._ended.set_exception(error)
        else:
            loop.default_exception_handler(context)

    def _background(self, work: Coroutine[object, object, None]) -> None:
        """Run a coroutine, keep it from being collected, and let its exception end the process (it would be a bug)."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._ended.done():
            self._ended.set_exception(error)


def _loop_targets(wiring: Wiring) -> list[Target]:
    """Where each block with `loop` is to be probed: its first listen address."""
    targets = []
    for block in wiring.plan.blocks:
        config = block.plugins.get("loop")
        if config is not None:
            listener = wiring.plan.listener(block.listeners[0])
            targets.append(Target(config.zone, listener.host, listener.port))  # type: ignore[attr-defined]
    return targets


async def _main(wiring: Wiring, control: socket.socket) -> None:
    """Load, say READY, wait for GO, serve."""
    loop = asyncio.get_running_loop()
    process = UpstreamProcess(wiring, control, loop)
    gone = loop.create_future()
    started: list[UpstreamProcess] = []

    def listen() -> None:
        try:
            message = receive(control)
        except BlockingIOError:
            return
        if started:
            started[0].heard(message)
        elif message is not None and message.word is Word.GO:
            gone.set_result(True)
        elif message is None or message.word in (Word.STOP, Word.DRAIN):
            gone.set_result(False)

    control.setblocking(False)
    loop.add_reader(control, listen)
    gc.collect()
    gc.freeze()
    send(control, Word.READY)
    if not await gone:
        return
    started.append(process)
    await process.run()
    loop.remove_reader(control)


def main(wiring: Wiring, control: socket.socket) -> int:
    """Be the upstream process; the exit code. EXIT_BOOT: it would not start on another try either."""
    try:
        asyncio.run(_main(wiring, control))
    except Refused as refused:
        log.error("segment.refused", segment=str(refused))
        return EXIT_BOOT
    return 0
