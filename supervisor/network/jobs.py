"""A short-lived child of the supervisor that does one thing to the node and reports: heavy imports end with it."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from shardns import log as shardns_log
from supervisor import privileges
from supervisor.children import close_others, forget_signals
from supervisor.network.report import Report

TIMEOUT_S = 30.0  # several programs may each wait 5 s for a lock
_CHUNK = 65536

log = shardns_log.get_logger()


@dataclass(slots=True)
class Job:
    """A child at work. fd is readable when it has something to say, and at its end."""

    pid: int
    fd: int
    deadline: float  # time.monotonic()
    _said: bytearray = field(default_factory=bytearray)

    def read(self) -> Report | None:
        """The report, once it is complete; None while it is not. To be called when fd is readable."""
        octets = os.read(self.fd, _CHUNK)
        if octets:
            self._said += octets
            return None
        os.close(self.fd)
        with suppress(ChildProcessError):  # buried already, with others
            os.waitpid(self.pid, 0)
        try:
            return Report.from_json(bytes(self._said))
        except ValueError:
            report = Report()
            report.fail("interface_check", "setting up the node", "the process for it ended without a report")
            return report

    def kill(self) -> None:
        """Give it up; its end can be read as always."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Report:
        """The report, however long it takes up to the deadline."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        while True:
            left_s = self.deadline - time.monotonic()
            if not poll.poll(max(0.0, left_s) * 1000):
                self.kill()
            report = self.read()
            if report is not None:
                return report


def start(work: Callable[[], Report]) -> Job:
    """A child that does the work. Raises OSError when there can be none."""
    reader, writer = os.pipe()
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(reader)
        os.close(writer)
        raise
    if pid == 0:
        _become(work, writer, parent)
    os.close(writer)
    return Job(pid, reader, time.monotonic() + TIMEOUT_S)


def _become(work: Callable[[], Report], writer: int, parent: int) -> NoReturn:
    """Be the child. Never returns: the supervisor's stack is above."""
    try:
        forget_signals()
        close_others(frozenset([writer]))
        privileges.die_with(parent)
        octets = work().to_json()
        while octets:
            octets = octets[os.write(writer, octets) :]
    except BaseException:
        log.exception("child.failed", role="network")
    finally:
        os._exit(0)
