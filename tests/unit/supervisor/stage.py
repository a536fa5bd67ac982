"""A real supervisor with children that play the roles: real forks, sockets, signals and shared memory, no DNS.

A played worker answers every datagram with JSON about itself; the datagram may name something to do:

    hang      stop its heartbeat and do nothing any more
    exit N    end with this code
    status    its /proc/self/status
    fds       what its descriptors are
    orphan    start a process that is nobody's child but the supervisor's, as PID 1

Zones of the Corefile tell the players how to behave while they load: boot-fails., never-ready., slow. (0.5 s before
READY), dies. (before READY), dies-late. (after GO).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import mmap
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from shardns import log
from shardns.core import ffi
from shardns.role import Count, Segment, Tally, Wiring, Word, receive, send
from supervisor.actions import UPSTREAM
from supervisor.generation import Limits
from supervisor.loop import Supervisor
from supervisor.options import Options
from supervisor.privileges import account
from supervisor.sources import CorefileSource

PATIENCE_S = 20.0
QUICK = Limits(ready_s=4.0, go_s=4.0, stop_s=0.5, drain_s=1.0, abort_s=0.5, backoff_s=0.02, backoff_max_s=0.1)
BEAT_S = 0.1
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def free_port() -> int:
    """A port that was free for UDP and TCP on 127.0.0.1 a moment ago."""
    for _ in range(50):
        with socket.socket(type=socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                tcp.bind(udp.getsockname())
                return int(udp.getsockname()[1])
    raise OSError("no free port")


# ---------------------------------------------------------------------------------------------------------- the players


def play(wiring: Wiring, seat: int, control: socket.socket) -> int:
    """A role's main()."""
    zones = {zone for block in wiring.plan.blocks for zone in block.zones}
    if "boot-fails." in zones and seat == 0:
        raise RuntimeError("as the test wants it")
    if "dies." in zones and seat == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if "never-ready." in zones and seat == 0:
        time.sleep(PATIENCE_S)
    if "slow." in zones:
        time.sleep(0.5)
    segment = wiring.upstream if seat == UPSTREAM else wiring.slots[wiring.slot_of(seat)]
    beat = _Heart(segment, "struct shd_upstream_segment" if seat == UPSTREAM else "struct shd_slot_segment")
    send(control, Word.READY)
    control.setblocking(True)
    word = receive(control)
    if word is None or word.word is not Word.GO:
        return 0
    if "dies-late." in zones and seat == UPSTREAM:
        os.kill(os.getpid(), signal.SIGKILL)
    send(control, Word.SERVING)
    return _serve(wiring, seat, control, beat)


class _Heart:
    """Beats in the right place of a segment."""

    def __init__(self, segment: Segment, kind: str) -> None:
        self._memory = mmap.mmap(segment.writable_fd, segment.size)
        at = ffi.offsetof(kind, "process")
        self._at = [
            at + ffi.offsetof("struct shd_process_counters", name) for name in ("heartbeat_ns", "heartbeat_loop_ns")
        ]

    def beat(self) -> None:
        """Now."""
        for at in self._at:
            struct.pack_into("=Q", self._memory, at, time.monotonic_ns())


def _serve(wiring: Wiring, seat: int, control: socket.socket, heart: _Heart) -> int:
    """Until told to leave."""
    mine = list(wiring.udp.values()) if seat != UPSTREAM else []
    others = list(wiring.places.values()) if seat == UPSTREAM else []
    while True:
        heart.beat()
        for sock in select.select([control, *mine, *others], [], [], BEAT_S)[0]:
            if sock is control:
                message = receive(control)
                if message is None or message.word in (Word.DRAIN, Word.STOP):
                    return 0
                if message.word is Word.PLACE:
                    others.append(socket.socket(fileno=message.fds[0]))
            elif sock in others:
                client, _ = sock.accept()
                with client:
                    client.sendall(json.dumps(_counts(wiring)).encode())
            else:
                with contextlib.suppress(BlockingIOError):
                    text, peer = sock.recvfrom(4096)
                    sock.sendto(json.dumps(_act(wiring, seat, text.decode())).encode(), peer)


def _counts(wiring: Wiring) -> dict[str, int]:
    """The supervisor's tally, as the metrics page would read it."""
    tally = Tally.mapped(wiring.tally)
    return {count.name: tally[count] for count in Count}


def _act(wiring: Wiring, seat: int, text: str) -> dict[str, object]:
    """Do what a datagram says."""
    if text == "hang":
        time.sleep(3 * PATIENCE_S)
    if text.startswith("exit "):
        os._exit(int(text.split()[1]))
    said: dict[str, object] = {"pid": os.getpid(), "seat": seat, "generation": wiring.generation}
    if text == "status":
        said["status"] = Path("/proc/self/status").read_text()
    if text == "fds":
        said["fds"] = sorted(_targets())
    if text == "orphan":
        said["orphan"] = _orphan()
    return said


def _orphan() -> int:
    """The pid of a process whose parent is gone, and that ends soon."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid == 0:
            time.sleep(0.2)
        else:
            os.write(writer, str(pid).encode())
        os._exit(0)
    os.waitpid(between, 0)
    return int(os.read(reader, 16))


def _targets() -> Iterator[str]:
    """What every descriptor above 2 refers to."""
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            if int(link.name) > 2:
                yield str(link.readlink())


# --------------------------------------------------------------------------------------------------------- the theatre


def forget_others(keep: int) -> None:
    """Make every descriptor above 2 but keep one of /dev/null.

    Closed, their numbers would soon be ours; and what is left of earlier tests in this process still closes them.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for link in list(Path("/proc/self/fd").iterdir()):
        if int(link.name) > 2 and int(link.name) not in (keep, null):
            os.dup2(null, int(link.name))


class Theatre:
    """A supervisor in a process of its own, and what it has logged."""

    def __init__(
        self,
        options: Options,
        main: Callable[[Wiring, int, socket.socket], int],
        limits: Limits,
        *,
        is_init: bool,
    ) -> None:
        reader, writer = os.pipe()
        self.port = options.dns_port
        self.events: list[dict[str, object]] = []
        self._rest = b""
        self.code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                gc.freeze()
                forget_others(writer)
                os.dup2(writer, 1)
                os.close(writer)
                if is_init:
                    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
                log.configure("json", "debug")
                source = CorefileSource(options)
                who = account(options.user, os.geteuid())
                code = Supervisor(options, source, account=who, main=main, limits=limits).run()
            finally:
                os._exit(code)
        os.close(writer)
        self._log = reader

    def until(self, event: str, times: int = 1, **facts: object) -> dict[str, object]:
        """The times-th such event of all that were logged, waiting for it. Raises AssertionError after a while."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = [e for e in self.events if e["event"] == event and facts.items() <= e.items()]
            if len(found) >= times:
                return found[times - 1]
            assert self._read(deadline), f"no {event} {facts}; there were {self.events}"

    def ask(self, text: str = "", seat: int | None = None, generation: int | None = None) -> dict[str, object]:
        """What a worker answers: that of seat and generation, if given. Asks until that one is met."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            met = self._exchange("")
            if met is None or (seat is not None and met["seat"] != seat):
                continue
            if generation is not None and met["generation"] != generation:
                continue
            if not text:
                return met
            with socket.socket(type=socket.SOCK_DGRAM) as client:
                client.bind(("127.0.0.1", self._last_port))
                client.settimeout(0.5)
                client.sendto(text.encode(), ("127.0.0.1", self.port))
                with contextlib.suppress(TimeoutError):
                    answer: dict[str, object] = json.loads(client.recv(65535))
                    return answer
                return {}
        raise AssertionError(f"no answer from seat {seat} of generation {generation}; logged: {self.events}")

    def signal(self, number: signal.Signals) -> None:
        """To the supervisor."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """The exit code, or minus the signal."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self._reap(0)

    def close(self) -> None:
        """No supervisor is left behind."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
        os.close(self._log)

    def _reap(self, flags: int) -> int:
        if self.code is None:
            _, status = os.waitpid(self.pid, flags)
            self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def _exchange(self, text: str) -> dict[str, object] | None:
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.settimeout(0.3)
            client.connect(("127.0.0.1", self.port))
            try:
                client.send(text.encode())
                answer: dict[str, object] = json.loads(client.recv(65535))
            except (TimeoutError, ConnectionRefusedError):
                return None
            self._last_port = client.getsockname()[1]
            return answer

    def _read(self, deadline: float) -> bool:
        """Whether more log was read before the deadline and the end."""
        readable, _, _ = select.select([self._log], [], [], max(0.0, deadline - time.monotonic()))
        octets = os.read(self._log, 65536) if readable else b""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        self.events += [json.loads(line) for line in lines if line.startswith(b"{")]
        return bool(octets)


@contextlib.contextmanager
def theatre(
    options: Options,
    main: Callable[[Wiring, int, socket.socket], int] = play,
    limits: Limits = QUICK,
    *,
    is_init: bool = False,
) -> Iterator[Theatre]:
    """A supervisor that is gone at the end. is_init: orphans are given to it as to PID 1."""
    stage = Theatre(options, main, limits, is_init=is_init)
    try:
        yield stage
    finally:
        stage.close()
