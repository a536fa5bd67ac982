"""Forking, hearing and burying children, one at a time; test_loop.py has whole families."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from shardns.plan import Plan
from shardns.role import EXIT_BOOT, Message, Segment, Wiring, Word, receive, send
from supervisor.actions import UPSTREAM, Child
from supervisor.children import Children, Main

PLAN = Plan((), (), (), "", (), (), (), None, 0.0, ())
PATIENCE_S = 20.0


@pytest.fixture
def wiring() -> Iterator[Wiring]:
    """With nothing in it but what must be there."""
    memory = os.memfd_create("test")
    with socket.socket(socket.AF_UNIX) as miss:
        nothing = Segment(memory, memory, 0)
        yield Wiring(PLAN, 0, 2, {}, {}, {}, nothing, (nothing,) * 4, nothing, nothing, memory, miss, "", 0)
    os.close(memory)


class Nursery:
    """Children that run main, and a way to wait for what they do."""

    def __init__(self, main: Main, wiring: Wiring) -> None:
        self.poll = select.poll()
        self.children = Children(self.poll, None, main)
        self._wiring = wiring

    def fork(self, seat: int = 0, life: int = 1) -> Child:
        """A new child."""
        child = Child(0, seat, life)
        self.children.fork(child, self._wiring)
        return child

    def hear(self) -> list[Message]:
        """What is said next."""
        ((fd, _),) = self.poll.poll(PATIENCE_S * 1000)
        return [message for _, message in self.children.heard(fd)]

    def bury(self) -> int:
        """The code of the next child that ends."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for running, code in self.children.reap():
                self.children.forget(running)
                return code
            time.sleep(0.005)
        raise AssertionError("nobody ended")


@pytest.fixture
def nursery(wiring: Wiring) -> Iterator[Callable[[Main], Nursery]]:
    """Makes nurseries whose children are gone at the end."""
    made: list[Nursery] = []

    def make(main: Main) -> Nursery:
        made.append(Nursery(main, wiring))
        return made[-1]

    yield make
    for one in made:
        one.children.end_all()


def test_words_go_both_ways(nursery):
    """A child says READY, hears GO, says SERVING, and its exit code is what its main returns."""

    def main(_wiring: Wiring, seat: int, control: socket.socket) -> int:
        send(control, Word.READY)
        assert receive(control) == Message(Word.GO)
        send(control, Word.SERVING)
        return 40 + seat

    family = nursery(main)
    child = family.fork(seat=2)
    assert family.hear() == [Message(Word.READY)]
    family.children.say(child, Word.GO)
    assert family.hear()[0] == Message(Word.SERVING)
    assert family.bury() == 42


def raises(_wiring: Wiring, _seat: int, _control: socket.socket) -> int:
    """A role with a bug."""
    raise RuntimeError("as the test wants it")


def leaves(_wiring: Wiring, _seat: int, _control: socket.socket) -> int:
    """A role that exits in its own way."""
    sys.exit(7)


def gives_up(_wiring: Wiring, _seat: int, _control: socket.socket) -> int:
    """A role that exits with words."""
    sys.exit("no")


def is_killed(_wiring: Wiring, _seat: int, _control: socket.socket) -> int:
    """A role that meets its end."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize("main, code", [(raises, EXIT_BOOT), (leaves, 7), (gives_up, EXIT_BOOT), (is_killed, -9)])
def test_ends(nursery, main, code, capfd):
    """An exception is EXIT_BOOT and logged, an exit its own code, a signal its negative number."""
    family = nursery(main)
    family.fork()
    assert family.bury() == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1])
def test_signals_of_the_group_do_not_reach_children(nursery, number):
    """What a terminal or systemd sends to all processes is the supervisor's to act on."""

    def main(_wiring: Wiring, _seat: int, control: socket.socket) -> int:
        os.kill(os.getpid(), number)
        send(control, Word.READY)
        receive(control)
        return 0

    family = nursery(main)
    child = family.fork()
    assert family.hear() == [Message(Word.READY)]
    family.children.say(child, Word.STOP)
    assert family.bury() == 0


def test_title_says_what_it_is(nursery):
    """ps shows the role, and the index of a worker."""

    def main(_wiring: Wiring, _seat: int, control: socket.socket) -> int:
        send(control, Word.FATAL, open("/proc/self/cmdline").read().rstrip("\0 "))  # noqa: PTH123, SIM115
        return 0

    family = nursery(main)
    family.fork(seat=1)
    assert family.hear()[0].text == "shardns: worker 1"
    family.bury()
    family.fork(seat=UPSTREAM, life=2)
    assert family.hear()[0].text == "shardns: upstream"


def test_a_child_that_says_nonsense_is_heard_no_more(nursery, capfd):
    """An undefined word costs that child its connection, and nobody else anything."""

    def main(_wiring: Wiring, _seat: int, control: socket.socket) -> int:
        control.send(b"nonsense")
        send(control, Word.READY)
        time.sleep(PATIENCE_S)
        return 0

    family = nursery(main)
    child = family.fork()
    assert family.hear() == []
    assert family.poll.poll(0) == []
    family.children.kill(child, signal.SIGKILL)
    assert family.bury() == -9


def test_talking_to_the_dead(nursery):
    """A word or a signal for a child that is gone does nothing."""

    def main(_wiring: Wiring, _seat: int, _control: socket.socket) -> int:
        return 0

    family = nursery(main)
    child = family.fork()
    family.hear()
    family.children.say(child, Word.GO)
    assert family.bury() == 0
    family.children.say(child, Word.GO)
    family.children.kill(child, signal.SIGKILL)


def test_stopped(nursery):
    """A child that a signal stopped is told from one that sleeps, and acts on the signal that is to end it."""

    def main(_wiring: Wiring, _seat: int, control: socket.socket) -> int:
        send(control, Word.READY)
        receive(control)
        return 0

    family = nursery(main)
    child = family.fork()
    family.hear()
    assert not family.children.is_stopped(child)
    pid = family.children.by_child[child].pid
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    assert family.children.is_stopped(child)
    family.children.kill(child, signal.SIGABRT)
    assert family.bury() == -signal.SIGABRT
    assert not family.children.is_stopped(child)


def test_nothing_is_open_that_is_not_the_childs(nursery, wiring):
    """Descriptors of the supervisor, and control sockets of other children, are closed in a child."""
    others: list[int] = []

    def main(_wiring: Wiring, seat: int, control: socket.socket) -> int:
        if seat == 1:
            still_open = [fd for fd in others if os.path.lexists(f"/proc/self/fd/{fd}")]
            send(control, Word.FATAL, repr(still_open))
        receive(control)
        return 0

    family = nursery(main)
    reader, writer = os.pipe()
    first = family.fork(seat=0, life=1)
    others += [reader, writer, family.children.by_child[first].control.fileno()]
    second = family.fork(seat=1, life=2)
    assert family.hear()[0].text == "[]"
    for fd in (reader, writer):
        os.close(fd)
    for child in (first, second):
        family.children.say(child, Word.STOP)
    assert [family.bury(), family.bury()] == [0, 0]


def test_fork_that_fails_leaves_nothing(nursery, monkeypatch):
    """When the kernel has no process left, OSError is raised and no descriptor stays open."""

    def no_fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    family = nursery(raises)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", no_fork)
        with pytest.raises(OSError, match="temporarily"):
            family.fork()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    assert family.children.by_pid == {}


def test_end_all(nursery):
    """Whatever still lives is killed and buried."""

    def main(_wiring: Wiring, _seat: int, _control: socket.socket) -> int:
        time.sleep(PATIENCE_S)
        return 0

    family = nursery(main)
    for life in (1, 2):
        family.fork(seat=life, life=life)
    family.children.end_all()
    assert family.children.by_pid == {}
