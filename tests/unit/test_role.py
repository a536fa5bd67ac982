"""The words between supervisor and child, on a real socket, and what each role may hold."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shardns.plan import Plan
from shardns.role import MESSAGE_MAX, Message, Segment, Wiring, Word, receive, send

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a control socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "word, text",
    [(Word.READY, ""), (Word.GO, ""), (Word.FATAL, "Loop detected for zone example.org."), (Word.PLACE, "[::1]:9253")],
)
def test_words_arrive(pair, word, text):
    """A word and what follows it come out as they went in."""
    send(pair[0], word, text)
    assert receive(pair[1]) == Message(word, text)


def test_words_keep_their_order_and_bounds(pair):
    """Two datagrams are two messages, in order."""
    send(pair[0], Word.READY)
    send(pair[0], Word.SERVING)
    assert [receive(pair[1]), receive(pair[1])] == [Message(Word.READY), Message(Word.SERVING)]


def test_descriptor_comes_along(pair):
    """HTTP carries a descriptor that is the receiver's own, and is not passed on to programs it starts."""
    reader, writer = os.pipe()
    send(pair[0], Word.PLACE, "127.0.0.1:9253", [writer])
    os.close(writer)
    message = receive(pair[1])
    assert message is not None
    (fd,) = message.fds
    assert not os.get_inheritable(fd)
    os.write(fd, b"x")
    assert os.read(reader, 1) == b"x"
    os.close(fd)
    os.close(reader)


def test_end_of_the_other_side(pair):
    """None says that the other side is gone, also when it left something of ours unread."""
    send(pair[1], Word.READY)
    pair[0].close()
    assert receive(pair[1]) is None
    assert receive(pair[1]) is None


def test_nothing_there(pair):
    """A non-blocking socket without a message raises BlockingIOError."""
    pair[0].setblocking(False)
    with pytest.raises(BlockingIOError):
        receive(pair[0])


@pytest.mark.parametrize("wire", [b"nonsense", b"readyx", b" ready", b"READY"])
def test_unknown_words(pair, wire):
    """A word that nobody defined raises ValueError."""
    pair[0].send(wire)
    with pytest.raises(ValueError, match="Word"):
        receive(pair[1])


def test_long_text_is_cut(pair):
    """A reason of any length can be sent; what is too long for a datagram is cut, wherever that falls."""
    send(pair[0], Word.FATAL, "ü" * MESSAGE_MAX)
    message = receive(pair[1])
    assert message is not None
    assert message.text.rstrip("\ufffd") == "ü" * len(message.text.rstrip("\ufffd"))
    assert len(message.text) > MESSAGE_MAX // 3


PLAN = Plan((), (), (), "", (), (), (), None, 0.0, ())


@pytest.fixture
def wiring() -> Iterator[Wiring]:
    """Two workers in their second generation, with two listeners; segments' descriptors are made-up numbers."""
    keys = [(listener, worker) for listener in (0, 3) for worker in (0, 1)]
    opened = [socket.socket() for _ in range(2 * len(keys) + 3)]
    udp, tcp = dict(zip(keys, opened, strict=False)), dict(zip(keys, opened[len(keys) :], strict=False))
    yield Wiring(
        plan=PLAN,
        generation=1,
        worker_count=2,
        udp=udp,
        tcp=tcp,
        places={"127.0.0.1:9253": opened[-3], "@here": opened[-1]},
        table=Segment(1000, 1001, 8),
        slots=tuple(Segment(1100 + 2 * n, 1101 + 2 * n, 8) for n in range(4)),
        upstream=Segment(1200, 1201, 8),
        tally=Segment(1300, 1301, 8),
        wake_fd=1400,
        miss_socket=opened[-2],
        operator="@here",
        start_ns=0,
    )
    for sock in opened:
        sock.close()


def writable(wiring: Wiring) -> list[str]:
    """The names of the segments that can be written."""
    named = {"table": wiring.table, "upstream": wiring.upstream, "tally": wiring.tally}
    named |= {f"slot {n}": slot for n, slot in enumerate(wiring.slots)}
    return [name for name, segment in named.items() if segment.writable_fd >= 0]


@pytest.mark.parametrize("generation, slots", [(0, [0, 1]), (1, [2, 3]), (2, [0, 1])])
def test_generations_take_turns(wiring, generation, slots):
    """Workers of two generations that follow each other never share a slot."""
    turned = replace(wiring, generation=generation)
    assert [turned.slot_of(worker) for worker in (0, 1)] == slots


def test_worker_may_write_its_own_slot_only(wiring):
    """A worker holds its own sockets and slot; the table and all else it can only read."""
    own = wiring.for_worker(1)
    assert writable(own) == ["slot 3"]
    assert set(own.udp) == set(own.tcp) == {(0, 1), (3, 1)}
    assert not own.places
    assert own.miss_socket is wiring.miss_socket


def test_upstream_may_write_the_table_and_its_own(wiring):
    """The upstream process answers on every UDP socket, accepts no DNS over TCP, and writes table and own segment."""
    own = wiring.for_upstream()
    assert writable(own) == ["table", "upstream"]
    assert own.udp == wiring.udp
    assert not own.tcp
    assert own.places == wiring.places


def test_descriptors_are_all_and_only_those(wiring):
    """What a child keeps open: every descriptor of its wiring, and no -1."""
    own = wiring.for_worker(0)
    fds = own.descriptors()
    assert min(fds) >= 0
    assert {1001, 1105, 1104, 1201, 1301, 1400} <= fds
    assert not fds & {1000, 1100, 1102, 1106, 1200, 1300}
    assert {sock.fileno() for sock in (*own.udp.values(), *own.tcp.values(), own.miss_socket)} <= fds
    assert len(fds) == len([1001, 1201, 1301, 1400, 1101, 1103, 1104, 1105, 1107]) + len(own.udp) + len(own.tcp) + 1
