"""The thread that writes the lines of the `log` plugin, in every process that answers clients."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shardns import log as shardns_log
from shardns.core import ffi, lib
from shardns.plan import Plan
from shardns.plugins import log
from shardns.querylog import LogRecord, QueryLog, from_struct

# cffi's objects have no types.
Cdata = Any

_LINES = 64  # per write at most


class LogThread:
    """Writes the lines of the `log` plugin.

    A thread, because standard output may block for as long as whoever reads it likes: then records are dropped and
    counted (log_dropped), and nobody waits but this thread.
    """

    def __init__(self, rings: Sequence[Cdata], logs: Mapping[int, QueryLog], wake_fd: int) -> None:
        """rings: struct shd_log_ring, read by this thread alone. logs: by block. wake_fd: a blocking eventfd."""
        self._rings = rings
        self._logs = logs
        self._wake_fd = wake_fd
        self._record = ffi.new("struct shd_log_record *")
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """Write from now on."""
        self._thread.start()

    def wake(self) -> None:
        """There are records in a ring."""
        os.eventfd_write(self._wake_fd, 1)

    def finish(self, timeout_s: float) -> None:
        """Write what is there, then end; give up after timeout_s."""
        self._is_ending = True
        self.wake()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._is_ending:
            os.eventfd_read(self._wake_fd)
            self._drain()
        self._drain()  # what came while the last lines were written

    def _drain(self) -> None:
        """Write every record that is there."""
        lines: list[str] = []
        for record in self._records():
            logs = self._logs.get(record.block)
            line = logs.line(record) if logs is not None else None
            if line is not None:
                lines.append(line)
            if len(lines) >= _LINES:
                shardns_log.lines(lines)
                lines.clear()
        shardns_log.lines(lines)

    def _records(self) -> Iterable[LogRecord]:
        """The records of all rings until they are empty."""
        for ring in self._rings:
            while lib.shd_log_take(ring, self._record):
                yield from_struct(ffi, self._record)


def query_logs(plan: Plan) -> dict[int, QueryLog]:
    """The `log` directives by block index."""
    hosts = {listener.index: listener.host for listener in plan.listeners}
    logs = {}
    for block in plan.blocks:
        config = block.plugins.get(log.NAME)
        if isinstance(config, log.Config):
            logs[block.index] = QueryLog(config.rules, hosts)
    return logs
