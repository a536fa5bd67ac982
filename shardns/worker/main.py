"""The worker process, from its Wiring to its exit code.

    load      map and check the segments, compile the rules, prepare both sides; READY
    GO        the C thread serves UDP, the event loop serves TCP; SERVING
    DRAIN     nothing new: what has arrived by UDP is answered, TCP clients have up to 5 s for what is in flight; exit 0
    STOP      exit 0 now; so does the end of the supervisor

UDP never waits for anything here: the C thread runs without the interpreter lock. When it ends by itself the process
ends too, and the supervisor starts another on the same sockets and the same memory.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import time
from typing import Final

from shardns.cache import Refused, boot_id
from shardns.log import get_logger
from shardns.logthread import LogThread, query_logs
from shardns.missline import MissLine
from shardns.role import EXIT_BOOT, Message, Wiring, Word, receive, send
from shardns.worker.answering import CoreAnswering
from shardns.worker.memory import Memory
from shardns.worker.serving import UdpThread
from shardns.worker.tcp import TcpServer

EXIT_FAILED: Final = 1  # the C thread ended by itself: another process may do better
TICK_S: Final = 1.0  # heartbeat of the event loop, and how often times are looked at
JOIN_S: Final = 2.0  # for the C thread to answer what has arrived
LOG_S: Final = 0.5  # for the last log lines
# A worker makes no cycles per query; what a connection leaves behind may wait.
_GC_THRESHOLD: Final = (20_000, 50, 100)

log = get_logger()


class Worker:
    """Everything of the process, from loading to the end."""

    def __init__(self, wiring: Wiring, worker: int, control: socket.socket) -> None:
        """Load; serve nothing. Raises Refused for a segment that is not ours, OSError and MemoryError."""
        self._wiring = wiring
        self._worker = worker
        self._control = control
        self._memory = Memory(wiring, worker, boot_id())
        self._process = self._memory.process
        self._stop_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._log: LogThread | None = None
        self._fds = [self._stop_fd]
        log_fd = -1
        if self._memory.log_rings:
            log_fd = os.eventfd(0, os.EFD_CLOEXEC)
            self._fds.append(log_fd)
            self._log = LogThread(self._memory.log_rings, query_logs(wiring.plan), log_fd)
        # Not uvloop: with descriptors of our own on the loop it gains nothing (CPU per TCP hit 6.2 us against asyncio's
        # 5.8 pipelined, 14.7 against 13.1 one at a time).
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_report)
        self._line = MissLine(self._loop, wiring.miss_socket.getsockname(), clock_ns=time.monotonic_ns)
        answering = CoreAnswering(
            self._memory.tcp_answerer,
            wake_log=self._log.wake if self._log is not None else _nothing,
            clock_realtime_ns=time.time_ns,
        )
        self._tcp = TcpServer(self._loop, answering, self._line, self._process, clock_ns=time.monotonic_ns)
        serve = self._memory.make_serve(wiring, worker, stop_fd=self._stop_fd, log_fd=log_fd)
        self._udp = UdpThread(serve, self._stop_fd, self._udp_ended_in_thread)
        self._is_draining = False
        self._is_udp_done = False
        self._is_tcp_done = False
        self._code = 0

    def run(self) -> int:
        """Serve from now until the supervisor says otherwise; the exit code."""
        self._memory.adopt_ring()
        if self._log is not None:
            self._log.start()
        self._udp.start()
        own = {listener: sock for (listener, owner), sock in self._wiring.tcp.items() if owner == self._worker}
        self._tcp.listen(own)
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._hear)
        self._tick()
        self._say(Word.SERVING)
        self._loop.run_forever()
        self._end()
        return self._code

    def close(self) -> None:
        """Give back what main() made; not needed by a process that ends."""
        self._loop.close()
        for fd in self._fds:
            os.close(fd)

    def _end(self) -> None:
        """Leave nothing half done; the process ends right after."""
        self._tcp.close()
        self._line.close()
        self._udp.stop()
        self._udp.join(JOIN_S)
        if self._log is not None:
            self._log.finish(LOG_S)
        log.debug("worker.stopped", code=self._code)

    # ---- the supervisor

    def _hear(self) -> None:
        """Words of the supervisor."""
        try:
            message = receive(self._control)
        except BlockingIOError:
            return
        if message is None or message.word is Word.STOP:
            self._loop.stop()
        elif message.word is Word.DRAIN and not self._is_draining:
            self._is_draining = True
            self._udp.stop()
            self._tcp.drain(self._tcp_drained)

    def _say(self, word: Word) -> None:
        """Tell the supervisor; if it is gone, so are we."""
        try:
            send(self._control, word)
        except OSError:
            self._loop.call_soon(self._loop.stop)

    # ---- what ends

    def _udp_ended_in_thread(self, error: int) -> None:
        """The C thread's last act."""
        self._loop.call_soon_threadsafe(self._udp_ended, error)

    def _udp_ended(self, error: int) -> None:
        """Either it was told to, or nothing is served by UDP any more."""
        self._is_udp_done = True
        if error or not self._is_draining:
            log.error("serve.failed", error=os.strerror(error) if error else "ended by itself")
            self._code = EXIT_FAILED
            self._loop.stop()
        self._check_drained()

    def _tcp_drained(self) -> None:
        """No TCP client is left."""
        self._is_tcp_done = True
        self._check_drained()

    def _check_drained(self) -> None:
        """End when both sides have."""
        if self._is_udp_done and self._is_tcp_done:
            self._loop.stop()

    # ---- time

    def _tick(self) -> None:
        """Once a second: show that the loop turns, and look at what takes too long."""
        self._process.heartbeat_loop_ns = time.monotonic_ns()
        self._tcp.tick()
        self._line.expire()
        self._loop.call_later(TICK_S, self._tick)


def main(wiring: Wiring, worker: int, control: socket.socket) -> int:
    """Be worker 0..N-1; the exit code. EXIT_BOOT: it would not start on another try either."""
    try:
        process = Worker(wiring, worker, control)
    except Refused as refused:
        log.error("segment.refused", segment=str(refused))
        return EXIT_BOOT
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    send(control, Word.READY)
    code = process.run() if _wait_for_go(control) else 0
    process.close()
    return code


def _wait_for_go(control: socket.socket) -> bool:
    """Whether the supervisor said GO, and not that it is over."""
    message: Message | None
    while (message := receive(control)) is not None:
        if message.word is Word.GO:
            return True
        if message.word in (Word.STOP, Word.DRAIN):
            break
    return False


def _report(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A bug of ours in a callback: said, and survived. The connection it hit is closed by its time limits."""
    error = context.get("exception")
    exc_info = error if isinstance(error, BaseException) else None
    log.error("tcp.failed", reason=context.get("message"), exc_info=exc_info)


def _nothing() -> None:
    """Nobody logs."""
