"""The plugins below `cache` that answer by themselves: what each needs of the process, and what becomes of its answers.

A plugin's own module says what an answer is; here are the hosts file that is read again, the counts, the CNAME targets
that are looked up through our own server, and the exception that must not end the process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - asyncio imports it at first use, when we may not read its file any more
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import Protocol

from shardns import log
from shardns.core import lib
from shardns.dns import answer, codes, message, names
from shardns.dns.answer import Answer, Question, Refusal
from shardns.errors import Malformed
from shardns.exchange import Outcome
from shardns.metrics import LocalCounts
from shardns.plan import Plan
from shardns.plugins import hosts, template
from shardns.plugins.hosts.table import Table
from shardns.plugins.template.engine import Engine
from shardns.querylog.errors import panic_lines

FOLLOW_S = 5.0
"""How long the target of a CNAME is waited for; as long as a query takes at most."""

logger = log.get_logger()


@dataclass(slots=True)
class Local(Outcome):
    """What a plugin of ours said. Without wire: SERVFAIL; without detail too, it is no error but meant so."""

    writer: int = int(lib.SHD_BY_NONE)
    """enum shd_writer_plugin."""
    is_kept: bool = True
    """Whether the cache may keep it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and where it came from: the counters row of the first who asked, its block's `errors` stacktrace."""

    question: Question
    row: int
    stacktrace: bool


Done = Callable[[Outcome], None]


class Plugin(Protocol):
    """A plugin of one block that answers by itself."""

    writer: int  # enum shd_writer_plugin

    def answer(self, question: Question, server: str) -> Answer | Refusal | None:
        """What it says; None: the next plugin is to be asked. server: label of the listener that was asked."""

    def tick(self, now_ns: int) -> None:
        """About twice a second."""


class Ask(Protocol):
    """Flights.ask_ourselves."""

    def __call__(self, query: bytes, listener: int, done: Callable[[bytes], None]) -> None:
        """Ask a listener of our own; done gets the reply, b"" for none."""


# ---- hosts


@dataclass(frozen=True, slots=True)
class Reading:
    """A hosts file as it was at one time."""

    mtime_ns: int
    size_bytes: int
    table: Table


class Hosts:
    """The `hosts` of one block. The file is read when this is made, and again when time of change or size differ."""

    writer = int(lib.SHD_BY_HOSTS)

    def __init__(self, config: hosts.Config, counts: LocalCounts, loop: asyncio.AbstractEventLoop) -> None:
        """A file that cannot be read is an empty one."""
        self._config = config
        self._counts = counts
        self._loop = loop
        self._inline = config.table(config.inline)
        self._read: Reading | None = None
        self._tables: Sequence[Table] = (self._inline,)
        self._reading: asyncio.Future[Reading] | None = None
        self._has_failed = False
        self._due_ns = monotonic_ns() + round(config.reload_s * 1e9)
        counts.hosts_entries[config.path] = self._inline.entries
        try:
            self._take(read(config))
        except OSError as error:
            self._fail(error)

    def answer(self, question: Question, _server: str) -> Answer | Refusal | None:
        """What the file and the Corefile's lines say."""
        return self._config.answer(self._tables, question)

    def tick(self, now_ns: int) -> None:
        """Look at the file if it is time; read it, in a thread, if it has changed."""
        if not self._config.reload_s or now_ns < self._due_ns or self._reading is not None:
            return
        self._due_ns = now_ns + round(self._config.reload_s * 1e9)
        try:
            found = Path(self._config.path).stat()
        except OSError as error:
            self._fail(error)
            return
        last = self._read
        if last is None or (last.mtime_ns, last.size_bytes) != (found.st_mtime_ns, found.st_size):
            self._reading = self._loop.run_in_executor(None, read, self._config)
            self._reading.add_done_callback(self._finished)

    def _finished(self, reading: asyncio.Future[Reading]) -> None:
        """The thread is through."""
        self._reading = None
        if reading.cancelled():
            return
        try:
            self._take(reading.result())
        except OSError as error:
            self._fail(error)

    def _take(self, reading: Reading) -> None:
        """Answer from this reading from now on."""
        self._has_failed = False
        self._read = reading
        self._tables = (reading.table, self._inline)
        self._counts.hosts_entries[self._config.path] = reading.table.entries + self._inline.entries
        self._counts.hosts_changed_s = reading.mtime_ns / 1e9
        logger.info("hosts.loaded", file=self._config.path, entries=reading.table.entries)

    def _fail(self, error: OSError) -> None:
        """Keep what we have; say so once, until the file can be read again."""
        if not self._has_failed:
            self._has_failed = True
            logger.warning("hosts.failed", file=self._config.path, error=error.strerror or str(error))


def read(config: hosts.Config) -> Reading:
    """The hosts file as it is now. May run in any thread. Raises OSError, also for what is no regular file."""
    # Without O_NONBLOCK a pipe's end would be waited for.
    with os.fdopen(os.open(config.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        text = stream.read().decode("utf-8", "surrogateescape")
    return Reading(found.st_mtime_ns, found.st_size, config.table(text.split("\n")))


# ---- template


class Template:
    """The `template` directives of one block."""

    writer = int(lib.SHD_BY_TEMPLATE)

    def __init__(self, config: template.Config, counts: LocalCounts) -> None:
        """Everything is made ready that does not depend on a question."""
        self._engine = Engine(config.stanzas, counts)

    def answer(self, question: Question, server: str) -> Answer | Refusal | None:
        """What the first that fits says."""
        return self._engine.answer(question, server)

    def tick(self, now_ns: int) -> None:
        """There is nothing to look at."""


# ---- all of them


class Locals:
    """What the plugins of all blocks share."""

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        """Until the flights exist nothing can be looked up through our own server."""
        self.loop = loop
        self.counts = LocalCounts()
        self.count_panic: Callable[[], None] = lambda: None
        """Called for each query under which our own code failed."""
        self.ask: Ask | None = None
        self._rows = {row.index: row for row in plan.rows}
        self._waits: dict[tuple[str, int], tuple[str, int]] = {}  # name and type of a flight, and what it waits for
        self._tasks: set[asyncio.Task[None]] = set()

    def plugins_of(self, configs: Sequence[object]) -> list[Plugin]:
        """The plugins of a block, in the order of their Configs."""
        found: list[Plugin] = []
        for config in configs:
            if isinstance(config, hosts.Config):
                found.append(Hosts(config, self.counts, self.loop))
            elif isinstance(config, template.Config):
                found.append(Template(config, self.counts))
        return found

    def server_of(self, row: int) -> str:
        """The label of the listener that a counters row is of."""
        return self._rows[row].server if row in self._rows else ""

    def say(self, said: Answer | Refusal, asked: Asked, writer: int, done: Done) -> None:
        """Call done with the outcome, from the loop; CNAMEs are followed first where the answer wants it."""
        if isinstance(said, Refusal):
            self.loop.call_soon(done, Local(None, "", detail=said.error))
        elif said.is_followed and any(answer.target_of(one) for one in said.answer):
            task = self.loop.create_task(self._follow(said, asked, writer, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.loop.call_soon(done, Local(answer.reply(asked.question.query, said), "", writer=writer))

    def panicked(self, error: Exception, asked: Asked, done: Done) -> None:
        """Count and print an exception of our own code, and call done with a failure, from the loop."""
        self.count_panic()
        log.lines(panic_lines(self.server_of(asked.row), error, stacktrace=asked.stacktrace))
        self.loop.call_soon(done, Local(None, ""))

    # ---- CNAMEs

    async def _follow(self, said: Answer, asked: Asked, writer: int, done: Done) -> None:
        """Add what our own server says to the targets of CNAMEs (CoreDNS 1.13.2 plugin/template/template.go).

        DIFFERS: an answer whose target could not be looked up is not kept.
        """
        found: list[bytes] = []
        is_whole = True
        try:
            for one in said.answer:
                found.append(one)
                target = answer.target_of(one)
                if target is not None:
                    more = await self._look_up(target, asked)
                    is_whole = is_whole and more is not None
                    found += more or ()
            whole = Answer(found, said.authority, said.additional, said.rcode)
            wire = answer.reply(asked.question.query, whole)
        except Exception as error:  # noqa: BLE001 - as in chain.py
            self.panicked(error, asked, done)
            return
        done(Local(wire, "", writer=writer, is_kept=is_whole))

    async def _look_up(self, target: bytes, asked: Asked) -> list[bytes] | None:
        """The records that our own server has for a target; None: it failed, or leads back to the question."""
        question = asked.question
        here, there = (question.name, question.qtype), (names.from_wire(target).lower(), question.qtype)
        if self.ask is None or asked.row not in self._rows or self._leads_to(there, here):
            return None
        came: asyncio.Future[bytes] = self.loop.create_future()
        self._waits[here] = there
        try:
            listener = self._rows[asked.row].listener
            self.ask(question.about(target), listener, lambda wire: None if came.done() else came.set_result(wire))
            wire = await asyncio.wait_for(came, FOLLOW_S)
            if len(wire) < message.HEADER_SIZE or wire[3] & message.RCODE_MASK not in _WHOLE:
                return None
            return answer.records_of(wire)
        except (TimeoutError, Malformed):
            return None
        finally:
            self._waits.pop(here, None)

    def _leads_to(self, at: tuple[str, int], end: tuple[str, int]) -> bool:
        """Whether a flight for `at` would wait for one for `end`."""
        while at != end:
            if at not in self._waits:
                return False
            at = self._waits[at]
        return True


_WHOLE = (codes.Rcode.NOERROR, codes.Rcode.NXDOMAIN)
