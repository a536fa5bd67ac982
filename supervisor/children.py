"""Processes: forking a child into its role, talking to it, hearing of its end.

A child forgets what is the supervisor's: signal handlers, descriptors, privileges. It listens to its control socket
alone; signals that an operator or a terminal sends to the whole group are for the supervisor to act on. It is killed by
the kernel when the supervisor ends, however that happens.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from shardns import log as shardns_log
from shardns.log import get_logger
from shardns.role import EXIT_BOOT, Message, Wiring, Word, receive, send
from supervisor import privileges
from supervisor.actions import UPSTREAM, Child

log = get_logger()

# What a role runs: (wiring, worker index or UPSTREAM, control socket) -> exit code.
Main = Callable[[Wiring, int, socket.socket], int]

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Running:
    """A child that has not been reaped."""

    child: Child
    pid: int
    control: socket.socket
    since_s: float  # time.monotonic() at the fork


def run_role(wiring: Wiring, seat: int, control: socket.socket) -> int:
    """What a child of shardns does: the worker's or the upstream process's main()."""
    if seat == UPSTREAM:
        return int(importlib.import_module("shardns.upstream").main(wiring, control))
    return int(importlib.import_module("shardns.worker").main(wiring, seat, control))


def preload() -> None:
    """Import what the children run, so that they share it instead of each loading its own.

    Also what the standard library imports only when it is needed: an unprivileged child may not be able to read it.
    """
    for name in ("shardns.upstream", "shardns.worker", "encodings.idna", "setproctitle"):
        importlib.import_module(name)
    gc.collect()


class Children:
    """The live children by pid, and the poll object that hears their control sockets."""

    def __init__(self, poll: select.poll, account: privileges.Account | None, main: Main = run_role) -> None:
        """poll: where control sockets are registered; account: who the children become; main: what they run."""
        self.by_pid: dict[int, Running] = {}
        self.by_child: dict[Child, Running] = {}
        self._by_fd: dict[int, Running] = {}
        self._poll = poll
        self._account = account
        self._main = main

    def fork(self, child: Child, wiring: Wiring) -> Running:
        """Start child. Raises OSError when the kernel has no process or descriptor left."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # what exists now is shared with the child: the collector must not touch, and so copy, it
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            _become(child, wiring, theirs, self._account, self._main, parent)
        theirs.close()
        ours.setblocking(False)
        running = Running(child, pid, ours, time.monotonic())
        self.by_pid[pid] = running
        self.by_child[child] = running
        self._by_fd[ours.fileno()] = running
        self._poll.register(ours, select.POLLIN)
        return running

    def say(self, child: Child, word: Word, text: str = "", fd: int | None = None) -> None:
        """Tell child; nothing happens when it is gone or deaf, which its end or its deadline will show."""
        running = self.by_child.get(child)
        if running is not None:
            with contextlib.suppress(OSError):
                send(running.control, word, text, () if fd is None else (fd,))

    def kill(self, child: Child, number: signal.Signals) -> None:
        """Send a signal, on which it acts even if it is stopped; nothing happens when it is gone."""
        running = self.by_child.get(child)
        if running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, number)
                os.kill(running.pid, signal.SIGCONT)

    def is_stopped(self, child: Child) -> bool:
        """Whether child is stopped by a signal; False when the kernel does not say."""
        running = self.by_child.get(child)
        if running is None:
            return False
        try:
            stat = Path(f"/proc/{running.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] == "T"  # proc_pid_stat(5): a debugger's stop is "t"

    def heard(self, fd: int) -> Iterator[tuple[Child, Message]]:
        """What the child behind fd has said; a child that hung up is heard no more."""
        running = self._by_fd.get(fd)
        while running is not None:
            try:
                message = receive(running.control)
            except BlockingIOError:
                return
            except (OSError, ValueError) as error:
                log.warning("child.failed", role=running.child.role, pid=running.pid, error=str(error))
                message = None
            if message is None:
                self._hang_up(running)
                return
            yield running.child, message

    def reap(self) -> Iterator[tuple[Running, int]]:
        """Every child that has ended, with its exit code or minus its signal. As PID 1 this also buries orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            running = self.by_pid.pop(pid, None)
            if running is not None:
                yield running, os.waitstatus_to_exitcode(status)

    def forget(self, running: Running) -> None:
        """Close what belonged to a child that was reaped."""
        self._hang_up(running)
        running.control.close()
        self.by_child.pop(running.child, None)

    def end_all(self, patience_s: float = 2.0) -> None:
        """Kill every child and bury it."""
        for running in self.by_pid.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(running.pid, signal.SIGKILL)
        deadline = time.monotonic() + patience_s
        while self.by_pid and time.monotonic() < deadline:
            for running, _ in self.reap():
                self.forget(running)
            time.sleep(0.002)

    def _hang_up(self, running: Running) -> None:
        """Listen to it no more."""
        if self._by_fd.pop(running.control.fileno(), None) is not None:
            self._poll.unregister(running.control)


def _become(
    child: Child,
    wiring: Wiring,
    control: socket.socket,
    account: privileges.Account | None,
    main: Main,
    parent: int,
) -> NoReturn:
    """Be the child, from the fork to the end. Never returns: the supervisor's stack is above."""
    code = EXIT_BOOT
    try:
        forget_signals()
        own = wiring.for_upstream() if child.seat == UPSTREAM else wiring.for_worker(child.seat)
        close_others(own.descriptors() | {control.fileno()})
        facts: Mapping[str, object] = {"role": child.role} | ({} if child.seat == UPSTREAM else {"slot": child.seat})
        shardns_log.identify(**facts)
        _title(child)
        faulthandler.enable()  # SIGABRT then says on stderr where every thread stood
        kept = privileges.drop(account)
        privileges.die_with(parent)
        if kept:
            log.debug("child.started", kept=", ".join(kept))
        code = main(own, child.seat, control)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else EXIT_BOOT
    except BaseException:
        log.error("child.failed", exc_info=True)  # noqa: G201 - our Logger names four levels
    finally:
        os._exit(code)


def forget_signals() -> None:
    """The supervisor's handlers go; what a group is sent is ignored."""
    signal.set_wakeup_fd(-1)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def close_others(keep: frozenset[int]) -> None:
    """Close every descriptor above 2 that is not in keep: other children's control sockets, listeners of old Plans."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names are numbers
        fd = int(name)
        if fd > 2 and fd not in keep:
            with contextlib.suppress(OSError):
                os.close(fd)


def _title(child: Child) -> None:
    """What ps shows."""
    from setproctitle import setproctitle

    setproctitle("shardns: upstream" if child.seat == UPSTREAM else f"shardns: worker {child.seat}")
