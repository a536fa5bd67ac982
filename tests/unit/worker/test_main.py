"""A whole worker on loopback: its word to the supervisor, its answers, its end."""

from __future__ import annotations

import gc
import mmap
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import dns.message
import dns.query
import pytest

from shardns import missline
from shardns.cache import boot_id
from shardns.core import ffi, lib
from shardns.corefile import parse
from shardns.plan import Options, Registry, resolve
from shardns.role import EXIT_BOOT, Segment, Wiring, Word, receive, send
from shardns.worker import main
from tests.unit.worker import entries
from tests.unit.worker.fakes import framed

WAIT_S = 5.0
Cdata = Any


def segment(size: int) -> Segment:
    """Zeroed shared memory."""
    fd = os.memfd_create("test")
    os.ftruncate(fd, size)
    return Segment(fd, os.open(f"/proc/self/fd/{fd}", os.O_RDONLY), size)


def writable(of: Segment, kind: str) -> Cdata:
    """The whole segment."""
    return ffi.from_buffer(kind, mmap.mmap(of.writable_fd, of.size), require_writable=True)


class Site:
    """What the supervisor gives a worker, and the worker's main() in a thread."""

    def __init__(self, corefile: str = "cache\nforward . 192.0.2.53", boot: bytes | None = None) -> None:
        """One worker, one listener. boot: what the segments say; by default what they should."""
        boot = boot_id() if boot is None else boot
        self.udp, self.tcp = sockets()
        self.port = self.udp.getsockname()[1]
        text = f".:{self.port} {{\nbind 127.0.0.1\n{corefile}\n}}\n"
        blocks = parse(text, file="Corefile", env={}, read=lambda _name: {})  # type: ignore[arg-type, return-value]
        self.plan = resolve(blocks, Options(read=str, interface=lambda _name: None), Registry())
        geometry = ffi.new("struct shd_geometry *")
        self.table = segment(lib.shd_table_plan(4 << 20, geometry))
        self.table_memory = writable(self.table, "struct shd_table_header *")
        lib.shd_table_init(self.table_memory, geometry, (1, 2), boot)
        self.slots = tuple(segment(lib.shd_slot_segment_size(geometry)) for _ in range(2))
        self.slot_memory = [writable(slot, "struct shd_slot_segment *") for slot in self.slots]
        for number, slot in enumerate(self.slot_memory):
            lib.shd_segment_init(slot, number, self.slots[number].size, boot)
        self.upstream = segment(lib.shd_upstream_segment_size())
        self.upstream_memory = writable(self.upstream, "struct shd_upstream_segment *")
        lib.shd_segment_init(self.upstream_memory, 0, self.upstream.size, boot)
        self._make_writer(geometry)
        self.tally = segment(4096)
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.misses = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.misses.bind(f"\0shardns-test-{os.getpid()}-{self.port}")
        self.misses.listen()
        self.misses.settimeout(WAIT_S)
        self.control, self._workers_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(WAIT_S)
        self.code: int | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _make_writer(self, geometry: Cdata) -> None:
        self._caps = ffi.new("struct shd_cap[]", [{"cache_id": 1, "success_cap": 100, "denial_cap": 100}])
        marks = ffi.new("struct shd_mark *[]", [slot.marks for slot in self.slot_memory])
        self._writer_memory = ffi.new("uint64_t[]", lib.shd_writer_size(geometry, 1) // 8 + 1)
        self.writer = ffi.cast("struct shd_writer *", self._writer_memory)
        lib.shd_writer_init(self.writer, self.table_memory, marks, 2, self._caps, 1)
        self._marks = marks

    def _run(self) -> None:
        wiring = Wiring(
            plan=self.plan,
            generation=1,
            worker_count=1,
            udp={(0, 0): self.udp},
            tcp={(0, 0): self.tcp},
            places={},
            table=self.table.read_only(),
            slots=self.slots,
            upstream=self.upstream.read_only(),
            tally=self.tally,
            wake_fd=self.wake_fd,
            miss_socket=self.misses,
            operator="",
            start_ns=0,
        )
        self.code = main(wiring, 0, self._workers_control)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the worker whatever it does, and free all."""
        self.control.close()
        self.thread.join(WAIT_S)
        self._workers_control.close()
        for sock in (self.udp, self.tcp, self.misses):
            sock.close()
        for each in (self.table, self.upstream, self.tally, *self.slots):
            os.close(each.writable_fd)
            os.close(each.readable_fd)
        os.close(self.wake_fd)

    def heard(self) -> Word | None:
        """What the worker says next."""
        message = receive(self.control)
        return None if message is None else message.word

    def serve(self) -> None:
        """Bring it to service."""
        assert self.heard() is Word.READY
        send(self.control, Word.GO)
        assert self.heard() is Word.SERVING

    def ended(self) -> int | None:
        """Its exit code, once it has ended."""
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        return self.code

    def store(self, name: str, *records: str) -> None:
        """Put an answer into the table."""
        query = dns.message.make_query(name, "A")
        rules = ffi.new("struct shd_block_rule *")
        rules.cache_id = self.plan.blocks[0].cache_id
        rules.ttl = {"success_min_s": 5, "success_max_s": 3600, "store_success": 1}
        now_ms = time.monotonic_ns() // 1_000_000
        entries.store(self.writer, self.table_memory, rules, query, entries.answer(query, *records), now_ms)

    @property
    def own(self) -> Cdata:
        """The worker's segment: generation 1 has the second half of the slots."""
        return self.slot_memory[1]


def sockets() -> tuple[socket.socket, socket.socket]:
    """A UDP and a listening TCP socket on one port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp = socket.create_server(udp.getsockname())
        except OSError:
            udp.close()
            continue
        udp.setblocking(False)
        tcp.setblocking(False)
        return udp, tcp


def until(is_true: Callable[[], object]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """main() tunes the garbage collector for a process of its own."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_hits_by_udp_and_tcp() -> None:
    """Both sides answer out of the table, each counts in its own rows."""
    with Site() as site:
        site.store("www.example.org.", "www.example.org. 60 A 192.0.2.1")
        site.serve()
        query = dns.message.make_query("www.example.org.", "A")
        for ask in (dns.query.udp, dns.query.tcp):
            reply = ask(query, "127.0.0.1", port=site.port, timeout=WAIT_S)
            assert reply.answer[0].to_text() == "www.example.org. 60 IN A 192.0.2.1"
        row = site.plan.rows[0].index
        until(lambda: sum(site.own.rows[lib.SHD_TCP][row].responses[0]))
        until(lambda: sum(site.own.rows[lib.SHD_UDP][row].responses[0]))
        assert site.own.process.tcp_connections == 1
        assert sum(site.slot_memory[0].rows[0][row].responses[0]) == 0


@pytest.mark.parametrize(
    "generation, listener, tries, is_answered",
    [
        (1, 0, 0, True),
        (1, 0, 2, True),
        (1, 0, 3, False),  # three have died of it
        (0, 0, 0, False),  # from before a reload
        (1, 7, 0, False),
    ],
)
def test_what_a_killed_worker_had_read(generation: int, listener: int, tries: int, *, is_answered: bool) -> None:
    """Datagrams that a predecessor in the slot had read are answered first, by the socket they came to, and once."""
    with Site() as site, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(WAIT_S)
        address = struct.pack("=HH4s8x", socket.AF_INET, socket.htons(client.getsockname()[1]), bytes((127, 0, 0, 1)))
        names = ("left.example.org.", "new.example.org.")
        for name in names:
            site.store(name, f"{name} 60 A 192.0.2.1")
        left, new = (dns.message.make_query(name, "A", id=number) for number, name in enumerate(names))
        batch = site.own.batch
        batch.generation, batch.listener, batch.tries = generation, listener, tries
        ffi.memmove(batch.queries[1], left.to_wire(), len(left.to_wire()))  # [0]: an empty datagram
        ffi.memmove(batch.peers[1], address, len(address))
        batch.messages[1][1], batch.messages[1][7] = len(address), len(left.to_wire())
        site.serve()
        client.sendto(new.to_wire(), ("127.0.0.1", site.port))
        heard = [dns.message.from_wire(client.recv(512)).id for _ in range(1 + is_answered)]
        assert heard == ([0, 1] if is_answered else [1])
        assert (batch.generation, batch.listener, batch.tries) == (1, 0, 0)
        until(lambda: not any(message[7] for message in batch.messages))


def test_a_udp_miss_goes_into_the_ring() -> None:
    """The ask lies in the slot of this generation, and the upstream process is woken if it sleeps."""
    with Site() as site:
        site.upstream_memory.sleeping = 1
        site.serve()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(dns.message.make_query("new.example.org.", "A").to_wire(), ("127.0.0.1", site.port))
            until(lambda: site.own.ring.tail == 1)
        assert select.select([site.wake_fd], [], [], WAIT_S)[0]
        turn, place = divmod(site.own.ring.queue[0], lib.SHD_ASKS)
        assert site.own.ring.turns[place] == turn == 1


def test_a_tcp_miss_goes_over_the_line() -> None:
    """The upstream process's reply reaches the client as it is."""
    with Site() as site:
        site.serve()
        query = dns.message.make_query("new.example.org.", "A").to_wire()
        with socket.create_connection(("127.0.0.1", site.port), WAIT_S) as client:
            client.sendall(framed(query))
            line, _ = site.misses.accept()
            with line:
                (request,) = missline.RequestReader().feed(line.recv(65536))
                assert (request.wire, request.listener, request.family) == (query, 0, lib.SHD_IPV4)
                line.sendall(missline.pack_answer(request.id, b"the reply"))
                assert client.recv(65536) == framed(b"the reply")


def test_drain() -> None:
    """A miss in flight is answered, then it exits 0; a client that connects now is left to the next process."""
    with Site() as site:
        site.serve()
        with socket.create_connection(("127.0.0.1", site.port), WAIT_S) as client:
            client.sendall(framed(dns.message.make_query("new.example.org.", "A").to_wire()))
            line, _ = site.misses.accept()
            with line:
                (request,) = missline.RequestReader().feed(line.recv(65536))
                send(site.control, Word.DRAIN)
                assert site.code is None
                with socket.create_connection(("127.0.0.1", site.port), WAIT_S):
                    line.sendall(missline.pack_answer(request.id, b"the reply"))
                    assert client.recv(65536) == framed(b"the reply")
                    assert client.recv(65536) == b""
                    assert site.ended() == 0
                    assert site.own.process.tcp_connections == 1


@pytest.mark.parametrize("is_serving", [False, True])
@pytest.mark.parametrize("word", [Word.STOP, Word.DRAIN, None])
def test_the_end(word: Word | None, *, is_serving: bool) -> None:
    """Told to, or alone: it exits 0 at once, before GO too."""
    with Site() as site:
        if is_serving:
            site.serve()
        else:
            assert site.heard() is Word.READY
        if word is None:
            site.control.shutdown(socket.SHUT_RDWR)
        else:
            send(site.control, word)
        assert site.ended() == 0


def test_the_udp_thread_fails() -> None:
    """A worker that cannot serve UDP ends with another code, so that it is replaced."""
    with Site() as site:
        assert site.heard() is Word.READY
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, site.udp.fileno())
        os.close(null)
        send(site.control, Word.GO)
        assert site.ended() == 1


def test_heartbeats() -> None:
    """Both threads show that they live."""
    with Site() as site:
        site.serve()
        process = site.own.process
        until(lambda: process.heartbeat_ns and process.heartbeat_loop_ns)
        first = (process.heartbeat_ns, process.heartbeat_loop_ns)
        until(lambda: process.heartbeat_ns > first[0] and process.heartbeat_loop_ns > first[1])


def test_open_asks_are_shown_again() -> None:
    """A new worker in a slot has the upstream process look for what its predecessor left."""
    with Site() as site:
        scans = site.own.ring.scans
        site.serve()
        assert site.own.ring.scans == scans + 1


def test_segments_of_another_boot() -> None:
    """A segment whose head is not ours is refused, and another try would not help."""
    with Site(boot=bytes(16)) as site:
        assert site.ended() == EXIT_BOOT


def test_log(capfd: pytest.CaptureFixture[str]) -> None:
    """Hits of both sides are logged as CoreDNS does, the last ones too when it ends."""
    with Site("cache\nlog\nforward . 192.0.2.53") as site:
        site.store("www.example.org.", "www.example.org. 60 A 192.0.2.1")
        site.serve()
        query = dns.message.make_query("www.example.org.", "A")
        dns.query.udp(query, "127.0.0.1", port=site.port, timeout=WAIT_S)
        dns.query.tcp(query, "127.0.0.1", port=site.port, timeout=WAIT_S)
        send(site.control, Word.DRAIN)
        assert site.ended() == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("[INFO]")]
    assert sorted(line.split('"')[1] for line in lines) == [
        "A IN www.example.org. tcp 33 false 65535",
        "A IN www.example.org. udp 33 false 512",
    ]
