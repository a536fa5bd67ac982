"""The supervisor's life: waits for signals, for children's words and ends, and for time; carries out what the state
machine of generation.py decides. No thread, no event loop: it forks at any moment.

It never parses a packet and never writes to memory that is another's.
"""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from shardns.errors import ConfigError, ConfigErrors
from shardns.log import get_logger
from shardns.plan import Plan
from shardns.role import Count, Message, Wiring, Word
from supervisor import segments as memory
from supervisor.actions import UPSTREAM, Abandon, Action, Adopt, Child, Exit, Kill, Retire, Say, Spawn
from supervisor.children import Children, Main, Running, run_role
from supervisor.generation import Limits, Machine, Mode
from supervisor.heartbeat import LOOK_S, Watch
from supervisor.network.node import Node
from supervisor.options import NAMELESS, Options
from supervisor.privileges import Account
from supervisor.signals import SignalPipe
from supervisor.sockets import DnsSockets, Places, remedy, shown, unix_listener
from supervisor.sources import Source, each, http_keys, listen_addresses, same

PLACE_RETRY_S = 5.0  # between tries to get a busy health or metrics port, or the operator socket
RECOVERY_BYTES_PER_S = 128 * 1024 * 1024  # of table that an upstream process looks through between GO and SERVING
POLL = "the reload plugin"  # who asks for a reload when no person does
WATCH = "the watch"  # of template, ConfigMap and resolv.conf
UNASKED = frozenset({POLL, WATCH})
EXIT_CONFIG = 1
EXIT_INTERRUPTED = 2  # a second SIGINT
_NO_FORK = 71  # sysexits.h EX_OSERR: the code of a child that could not be forked

log = get_logger()


class Supervisor:
    """One run, from the first Plan to the exit code."""

    def __init__(
        self,
        options: Options,
        source: Source,
        *,
        account: Account | None = None,
        main: Main = run_role,
        limits: Limits | None = None,
        announce: Callable[[Plan], None] | None = None,
    ) -> None:
        """Prepare nothing yet.

        source    where Plans come from
        account   who children become; None: who we are
        main      what a child runs
        announce  called with the Plan when it is first served
        """
        self._options = options
        self._source = source
        self._announce = announce
        if limits is None:
            limits = Limits(go_s=Limits().go_s + options.cache_size_bytes / RECOVERY_BYTES_PER_S)
        self._machine = Machine(options.workers, limits, random.random)
        self._poll = select.poll()
        self._children = Children(self._poll, account, main)
        self._watch: Watch[Child] = Watch(options.heartbeat_timeout_s, self._children.is_stopped)
        self._node = Node(options.node, self._poll)
        self._dns = DnsSockets(options.workers, options.local_ips if options.node.sets_interface else ())
        self._table_name = memory.table_name(options.dns_port, options.local_ips)
        self._operator = options.control or f"@shardns/{self._table_name}"
        self._places = Places(self._operator)
        self._held: dict[Child, set[str]] = {}  # which places each upstream process has
        self._wirings: dict[int, Wiring] = {}
        self._todo: deque[Action] = deque()
        self._exit: Exit | None = None
        self._interrupts = 0
        self._reload_wanted = ""  # who asked for a reload that cannot begin yet
        self._refused = ""  # the errors of the Corefile as it was last read, if it had some
        self._abandoned: Plan | None = None  # the last Plan whose children did not come up
        self._start_ns = time.monotonic_ns()
        self._next_look = 0.0
        self._next_places: float | None = None
        self._busy: frozenset[str] = frozenset()  # places that could not be had at the last try
        self._next_poll: float | None = None
        self._next_watch = time.monotonic() + options.watch_s

    def run(self) -> int:
        """Serve until the end; the exit code."""
        try:
            self._node.prepare()
            return self._run()
        finally:
            self._node.tear_down()

    def _run(self) -> int:
        """Serve, on a node that has its addresses; the exit code."""
        try:
            self._plan = self._source.load()
            self._dns.open(listen_addresses(self._plan).values())
        except (ConfigError, ConfigErrors) as errors:
            refuse(errors)
            return EXIT_CONFIG
        warn(self._plan)
        try:
            self._prepare()
        except OSError as error:
            log.error("supervisor.failed", reason=f"no shared memory: {error.strerror or error}", hint=remedy(error))
            return EXIT_CONFIG
        self._signals = SignalPipe()
        self._poll.register(self._signals, select.POLLIN)
        self._schedule_poll(time.monotonic())
        try:
            self._do(self._machine.start(time.monotonic()))
            while self._exit is None:
                self._turn()
            return self._exit.code
        finally:
            self._finish()

    # ------------------------------------------------------------------------------------------------ start and end

    def _prepare(self) -> None:
        """Memory and sockets that live as long as we do."""
        table = "" if self._options.shm_name == NAMELESS else self._options.shm_name or self._table_name
        self._segments = memory.create(
            table, self._options.cache_size_bytes, self._options.workers, beside=self._operator
        )
        self._beats = memory.Heartbeats(self._segments)
        self._tally = memory.writable_tally(self._segments.tally)
        self._miss = unix_listener("")
        self._wirings[0] = self._wire(self._plan, 0)
        self._open_places(time.monotonic())

    def _finish(self) -> None:
        """Leave nothing behind but the table."""
        self._children.end_all()
        self._node.tear_down()
        self._signals.close()
        if self._options.pid_file:
            Path(self._options.pid_file).unlink(missing_ok=True)
        self._miss.close()
        self._dns.keep_only(())
        self._places.keep_only(())
        self._tally.close()
        self._beats.close()
        self._segments.close()
        if self._exit is not None and self._exit.code == 0:
            log.info("supervisor.stopped")
        elif self._exit is not None:
            log.error("supervisor.failed", reason=self._exit.reason, code=self._exit.code)

    def _wire(self, plan: Plan, generation: int) -> Wiring:
        """What the children of a generation inherit. Its sockets must be open."""
        addresses = listen_addresses(plan)
        parts = self._segments
        return Wiring(
            plan=plan,
            generation=generation,
            worker_count=self._options.workers,
            udp=self._dns.udp(addresses),
            tcp=self._dns.tcp(addresses),
            places={},
            table=parts.table,
            slots=parts.slots,
            upstream=parts.upstream,
            tally=parts.tally,
            wake_fd=parts.wake_fd,
            miss_socket=self._miss,
            operator=self._operator,
            start_ns=self._start_ns,
        )

    # ------------------------------------------------------------------------------------------------------ one turn

    def _turn(self) -> None:
        """Wait for whatever is next, and act on it."""
        for fd, _ in self._poll.poll(self._wait_ms()):
            if fd == self._signals.fileno():
                for number in self._signals.take():
                    self._signalled(number)
            elif not self._node.heard(fd, time.monotonic()):
                for child, message in self._children.heard(fd):
                    self._said(child, message)
        for running, code in self._children.reap():
            self._ended(running, code)
        now = time.monotonic()
        self._look(now)
        self._node.tick(now)
        for kind, errors in self._node.errors.items():
            self._tally[Count[f"SETUP_{kind.upper()}"]] = errors
        self._tally[Count.SETUP_CONFIGMAP] = self._source.configmap_errors
        if self._next_places is not None and self._next_places <= now:
            self._open_places(now)
        self._look_for_changes(now)
        if self._reload_wanted and self._machine.can_reload:
            self._reload(self._reload_wanted)
        self._do(self._machine.tick(now))

    def _wait_ms(self) -> int:
        """How long nothing may be due."""
        now = time.monotonic()
        times = [self._machine.wake_at(), self._node.wake_at(), self._next_places, self._next_poll]
        wait_s = min(self._next_look, self._next_watch, *(at for at in times if at is not None)) - now
        return max(0, round(wait_s * 1000 + 0.5))

    def _signalled(self, number: signal.Signals) -> None:
        """As node-cache: SIGTERM and SIGINT after lameduck, SIGQUIT at once, SIGUSR1 reloads."""
        if number is signal.SIGCHLD:
            return
        log.info("signal.received", signal=number.name)
        if number is signal.SIGUSR1:
            self._reload(number.name)
        elif number is signal.SIGQUIT:
            self._do(self._machine.quit(0))
        elif number is signal.SIGINT and self._interrupts:
            self._do(self._machine.quit(EXIT_INTERRUPTED, "interrupted twice"))
        else:
            self._interrupts += number is signal.SIGINT
            if self._plan.lameduck_s > 0:
                log.info("lameduck.entered", lasts_s=self._plan.lameduck_s)
                for child in self._machine.serving():
                    if child.seat == UPSTREAM:
                        self._children.say(child, Word.LAMEDUCK)
            self._do(self._machine.stop(time.monotonic(), self._plan.lameduck_s))

    def _said(self, child: Child, message: Message) -> None:
        """A child's word."""
        for fd in message.fds:
            os.close(fd)
        if message.word is Word.RELOAD:
            self._reload("an operator")
            return
        if message.word is Word.FATAL:
            log.error("child.failed", **named(child), reason=message.text)
        self._do(self._machine.said(child, message.word, time.monotonic(), message.text))
        if message.word is Word.SERVING and child.seat == UPSTREAM:
            self._give_places()

    def _ended(self, running: Running, code: int) -> None:
        """A child is gone."""
        child = running.child
        self._children.forget(running)
        self._held.pop(child, None)
        facts = named(child) | {"pid": running.pid, "lived_s": round(time.monotonic() - running.since_s, 3)}
        how = {"code": code} if code > 0 else {"signal": signal_name(-code)} if code < 0 else {}
        if code == 0 or (code == -signal.SIGKILL and self._machine.is_dismissed(child)):
            log.info("child.drained", **facts, **how)
        else:
            log.error("child.exited", **facts, **how)
        self._do(self._machine.exited(child, code, time.monotonic()))

    def _look(self, now: float) -> None:
        """At the heartbeats, once a second."""
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        beats = {child: self._beats_of(child) for child in self._machine.serving()}
        for child in self._watch.look(beats, now):
            stopped = self._children.is_stopped(child)
            log.error("child.stuck", **named(child), stopped=stopped, timeout_s=self._watch.timeout_s)
            self._tally[Count.STUCK] += 1
            self._do(self._machine.stuck(child, now))

    def _beats_of(self, child: Child) -> tuple[int, ...]:
        """Its heartbeats."""
        if child.seat == UPSTREAM:
            return self._beats.of_upstream()
        return self._beats.of_worker(self._wirings[child.generation].slot_of(child.seat))

    # -------------------------------------------------------------------------------------------------------- actions

    def _do(self, actions: Iterable[Action]) -> None:
        """Carry out actions, and those that follow from them, in order."""
        self._todo.extend(actions)
        while self._todo:
            action = self._todo.popleft()
            match action:
                case Spawn(child, restarts):
                    self._spawn(child, restarts)
                case Say(child, word):
                    if word is Word.DRAIN and self._machine.mode is Mode.DRAINING:
                        self._node.withdraw()  # kube-dns is asked from here on; what has arrived is still answered
                        self._dns.leave()  # or another instance that serves the same addresses
                    self._children.say(child, word)
                case Kill(child, number):
                    self._children.kill(child, number)
                case Adopt(generation):
                    self._adopt(generation)
                case Retire(generation):
                    self._release(generation)
                    log.info("generation.drained", generation=generation)
                case Abandon(generation, reason):
                    self._abandoned = self._wirings[generation].plan
                    self._release(generation)
                    self._failed(reason)
                case Exit():
                    self._exit = self._exit or action

    def _spawn(self, child: Child, restarts: int) -> None:
        """Fork a child; when that fails, it counts as one that has crashed."""
        if restarts:
            count = Count.UPSTREAM_RESTARTS if child.seat == UPSTREAM else Count.WORKER_RESTARTS
            self._tally[count] += 1
        wiring = self._wirings[child.generation]
        if child.seat == UPSTREAM:
            wanted = self._places_of(wiring.plan)
            wiring = replace(wiring, places={key: s for key, s in self._places.open_sockets.items() if key in wanted})
            self._held[child] = set(wiring.places)
        try:
            running = self._children.fork(child, wiring)
        except OSError as error:
            log.error("child.failed", **named(child), error=error.strerror or str(error))
            self._todo.extend(self._machine.exited(child, _NO_FORK, time.monotonic()))
            return
        log.debug("child.started", **named(child), pid=running.pid, restarts=restarts)

    def _adopt(self, generation: int) -> None:
        """A generation serves."""
        self._plan = self._wirings[generation].plan
        if generation == 0:
            if self._options.pid_file:
                write_pid_file(self._options.pid_file)
            where = [shown(address) for address in listen_addresses(self._plan).values()]
            self._node.serve(time.monotonic())
            log.info("generation.serving", workers=self._options.workers, listening=where)
            if self._announce is not None:
                self._announce(self._plan)
        else:
            self._tally[Count.RELOADS] += 1
            log.info("reload.finished", generation=generation, digest=self._plan.digest)
        self._schedule_poll(time.monotonic())

    def _release(self, generation: int) -> None:
        """A generation is gone: close what no other needs."""
        del self._wirings[generation]
        plans = [wiring.plan for wiring in self._wirings.values()]
        for address in self._dns.keep_only({address for plan in plans for address in listen_addresses(plan).values()}):
            log.info("listener.closed", address=shown(address))
        for key in self._places.keep_only(self._places_of(*plans)):
            log.info("listener.closed", address=key)
        self._open_places(time.monotonic())

    # --------------------------------------------------------------------------------------------------------- reload

    def _look_for_changes(self, now: float) -> None:
        """At the Corefile, where the reload plugin wants it, and at what the Corefile is made of."""
        if self._next_poll is not None and self._next_poll <= now:
            self._schedule_poll(now)
            self._reload(POLL)
        if self._next_watch <= now:
            self._next_watch = now + self._options.watch_s
            if self._source.has_changed():
                self._reload(WATCH)

    def _reload(self, by: str) -> None:
        """Look at the configuration again, and replace the children if it says something else now."""
        if not self._machine.can_reload:
            self._reload_wanted = by
            return
        self._reload_wanted = ""
        try:
            plan = self._source.load()
            if not self._is_wanted(plan, by):
                self._refused = ""
                return
            opened = self._dns.open(listen_addresses(plan).values())
        except (ConfigError, ConfigErrors) as errors:
            if by not in UNASKED or str(errors) != self._refused:  # a file that stays wrong is said once
                refuse(errors)
                self._failed("the configuration has errors; the old one stays")
            self._refused = str(errors)
            return
        self._refused = ""
        self._begin(plan, by, opened)

    def _is_wanted(self, plan: Plan, by: str) -> bool:
        """Whether plan differs from the one that is served, and (when nobody asked) from one that has just failed."""
        if by in UNASKED:
            return not any(other is not None and same(plan, other) for other in (self._plan, self._abandoned))
        if same(plan, self._plan):
            log.info("plan.unchanged", by=by, digest=plan.digest)
            return False
        return True

    def _begin(self, plan: Plan, by: str, opened: list[tuple[str, int]]) -> None:
        """Start the children of a new Plan. Its sockets are open."""
        now = time.monotonic()
        warn(plan)
        log.info("reload.started", by=by, digest=plan.digest, opened=[shown(address) for address in opened])
        generation = self._machine.next_generation
        self._wirings[generation] = self._wire(plan, generation)
        self._open_places(now)
        self._do(self._machine.reload(now))

    def _failed(self, reason: str) -> None:
        """A reload did not happen."""
        self._tally[Count.RELOAD_FAILED] += 1
        log.error("reload.failed", reason=reason)

    def _schedule_poll(self, now: float) -> None:
        """When to look at the Corefile next: interval plus or minus half the jitter, as CoreDNS's reload."""
        config = self._plan.reload
        if config is None:
            self._next_poll = None
        else:
            self._next_poll = now + config.interval_s + config.jitter_s * (random.random() - 0.5)

    # --------------------------------------------------------------------------------------------------- other places

    def _places_of(self, *plans: Plan) -> frozenset[str]:
        """The keys of Wiring.places."""
        return frozenset({self._operator}).union(*(http_keys(plan, self._options) for plan in plans))

    def _open_places(self, now: float) -> None:
        """Open health and metrics ports of every generation, and the operator socket; try busy ones again later."""
        known = set(self._places.open_sockets)
        busy = self._places.open(self._places_of(*(wiring.plan for wiring in self._wirings.values())))
        for key in busy.keys() - self._busy:
            log.warning("listener.failed", address=key, error=busy[key], retry_s=PLACE_RETRY_S)
        self._busy = frozenset(busy)
        self._tally[Count.HTTP_BUSY] = len(busy.keys() - {self._operator})
        self._next_places = now + PLACE_RETRY_S if busy else None
        for key in self._places.open_sockets.keys() - known:
            log.info("listener.opened", address=key)
        self._give_places()

    def _give_places(self) -> None:
        """Hand serving upstream processes the sockets that were opened after their fork."""
        for child in self._machine.serving():
            if child.seat != UPSTREAM:
                continue
            wanted = self._places_of(self._wirings[child.generation].plan)
            for key in (self._places.open_sockets.keys() & wanted) - self._held[child]:
                self._children.say(child, Word.PLACE, key, self._places.open_sockets[key].fileno())
                self._held[child].add(key)


def refuse(errors: ConfigError | ConfigErrors) -> None:
    """Log every error of a configuration."""
    for error in each(errors):
        log.error("plan.refused", error=str(error))


def warn(plan: Plan) -> None:
    """Log what its author should look at."""
    for warning in plan.warnings:
        log.warning("config.warned", warning=str(warning))


def named(child: Child) -> dict[str, object]:
    """A child as facts of a log event."""
    slot = {} if child.seat == UPSTREAM else {"slot": child.seat}
    return {"role": child.role, **slot, "generation": child.generation}


def signal_name(number: int) -> str:
    """SIGKILL, or the number if it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def write_pid_file(path: str) -> None:
    """Our process id and a newline, for whoever waits for the file. A path that cannot be written costs only that."""
    try:
        Path(path).write_text(f"{os.getpid()}\n")
    except OSError as error:
        log.error("setup.failed", what="pidfile", path=path, error=error.strerror or str(error))
