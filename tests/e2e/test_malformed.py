"""Packets that are no proper query: the answer the RFCs ask for, or silence; and the program lives on."""

import contextlib
import os
import random
import socket
import struct
from pathlib import Path

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask
from tests.peers.process import wait_until

NAME = "a.example.org"
QUESTION = wire.question(NAME)
OPT = wire.opt()
QUERY = wire.query(NAME)
FORMERR, NOTIMP, SILENCE = 1, 4, None


def _message(*counts, body, flags=wire.RD):
    """A message with these four counts."""
    return wire.HEADER.pack(4711, flags, *counts) + body


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A shardns in front of the fake, which has heard every query that was passed on."""
    with fake.nameserver() as server:
        home = tmp_path_factory.mktemp("malformed")
        with program.shardns(home, upstream=f"127.0.0.1:{server.port}") as made:
            yield made, server


PACKETS = [
    ("nothing at all", b"", SILENCE),
    ("one octet", b"\x12", SILENCE),
    ("a header cut short", b"\x12\x34\1\0\0\1\0\0\0\0\0", SILENCE),
    ("a response", _message(1, 0, 0, 0, body=QUESTION, flags=wire.QR | wire.RD), SILENCE),
    ("a response with FORMERR", _message(0, 0, 0, 0, body=b"", flags=wire.QR | 1), SILENCE),
    ("a bare header", _message(0, 0, 0, 0, body=b""), FORMERR),
    ("no question but a record", _message(0, 1, 0, 0, body=QUESTION + b"\0\0\0\0\0\0"), FORMERR),
    ("two questions", _message(2, 0, 0, 0, body=QUESTION * 2), FORMERR),
    ("65,535 questions", _message(65535, 0, 0, 0, body=QUESTION), FORMERR),
    ("a question that is missing", _message(1, 0, 0, 0, body=b""), FORMERR),
    ("a name cut short", _message(1, 0, 0, 0, body=b"\x07exam"), FORMERR),
    ("a name without an end", _message(1, 0, 0, 0, body=b"\x01a" * 4), FORMERR),
    ("no type", _message(1, 0, 0, 0, body=wire.name(NAME)), FORMERR),
    ("no class", _message(1, 0, 0, 0, body=wire.name(NAME) + b"\0\1"), FORMERR),
    ("a pointer to itself", _message(1, 0, 0, 0, body=b"\xc0\x0c\0\1\0\1"), FORMERR),
    ("a pointer to the header", _message(1, 0, 0, 0, body=b"\xc0\0\0\1\0\1"), FORMERR),
    ("a pointer past the end", _message(1, 0, 0, 0, body=b"\xff\xff\0\1\0\1"), FORMERR),
    ("a pointer cut short", _message(1, 0, 0, 0, body=b"\xc0"), FORMERR),
    ("two pointers in a ring", _message(1, 0, 0, 0, body=b"\1a\xc0\x10\xc0\x0e\0\1\0\1"), FORMERR),
    ("a label of type 01", _message(1, 0, 0, 0, body=b"\x41a\0\0\1\0\1"), FORMERR),
    ("a label of type 10", _message(1, 0, 0, 0, body=b"\x81a\0\0\1\0\1"), FORMERR),
    (
        "a name of 256 octets",
        _message(1, 0, 0, 0, body=(b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1"),
        FORMERR,
    ),
    ("octets after the question", _message(1, 0, 0, 0, body=QUESTION + b"\0"), FORMERR),
    ("a record that is missing", _message(1, 0, 0, 1, body=QUESTION), FORMERR),
    ("65,535 records that are missing", _message(1, 65535, 65535, 65535, body=QUESTION), FORMERR),
    ("a record cut short", _message(1, 0, 0, 1, body=QUESTION + OPT[:-1]), FORMERR),
    ("a record longer than the message", _message(1, 0, 0, 1, body=QUESTION + OPT[:-2] + b"\xff\xff"), FORMERR),
    (
        "an answer in a query",
        _message(1, 1, 0, 0, body=QUESTION + QUESTION + struct.pack("!IH", 5, 4) + b"abcd"),
        FORMERR,
    ),
    ("two OPTs", _message(1, 0, 0, 2, body=QUESTION + OPT * 2), FORMERR),
    ("an OPT with an owner", _message(1, 0, 0, 1, body=QUESTION + wire.opt(owner=wire.name("x"))), FORMERR),
    ("an option longer than its OPT", _message(1, 0, 0, 1, body=QUESTION + wire.opt(options=b"\0\3\0\x09x")), FORMERR),
    ("an option cut short", _message(1, 0, 0, 1, body=QUESTION + wire.opt(options=b"\0\3\0")), FORMERR),
    ("an OPT that is not counted", _message(1, 0, 0, 0, body=QUESTION + OPT), FORMERR),
    ("an inverse query", _message(1, 0, 0, 0, body=QUESTION, flags=1 << 11), NOTIMP),
    ("a status query", _message(1, 0, 0, 0, body=QUESTION, flags=2 << 11), NOTIMP),
    ("opcode 3", _message(1, 0, 0, 0, body=QUESTION, flags=3 << 11), NOTIMP),
    ("a NOTIFY", _message(1, 0, 0, 0, body=QUESTION, flags=4 << 11), NOTIMP),
    ("an UPDATE", _message(1, 0, 0, 0, body=QUESTION, flags=5 << 11), NOTIMP),
    ("a DSO message", _message(0, 0, 0, 0, body=b"", flags=6 << 11), NOTIMP),
    ("opcode 15", _message(1, 0, 0, 0, body=QUESTION, flags=15 << 11), NOTIMP),
]


@pytest.mark.parametrize("packet, wanted", [case[1:] for case in PACKETS], ids=[case[0] for case in PACKETS])
def test_by_udp(made, packet, wanted):
    """Each is answered with its id, the opcode and the code the RFCs give, or not at all; nothing goes upstream."""
    served, server = made
    before = server.queries
    reply = wire.send(served.port, packet, timeout_s=0.3 if wanted is SILENCE else 3)
    assert (wire.rcode(reply) if reply else None) == wanted
    if reply:
        assert reply[:2] == packet[:2]
        assert reply[2] & 0x80
        assert reply[2] & 0x78 == packet[2] & 0x78
        assert reply[6:10] == bytes(4)
        assert len(reply) <= 512
    assert server.queries == before


def test_by_tcp(made):
    """By TCP those that get an answer get the same, on one connection, and a good query after them is answered."""
    served, _ = made
    told = [(packet, wanted) for _, packet, wanted in PACKETS if wanted is not SILENCE]
    with wire.stream(served.port) as client:
        for packet, wanted in told:
            client.send(packet)
            assert wire.rcode(client.receive()) == wanted
        client.send(wire.query(NAME))
        assert client.receive().endswith(fake.address_of(wire.name(NAME)))


@pytest.mark.parametrize("packet", [b"", b"\x12", PACKETS[3][1]], ids=["empty frame", "one octet", "a response"])
def test_frames_that_get_no_answer(made, packet):
    """A frame that deserves no answer gets none, or the connection is closed; the server answers others at once."""
    served, _ = made
    with wire.stream(served.port) as client:
        client.send(packet)
        client.is_closed(0.2)
        assert ask(NAME, port=served.port, tcp=True).answer


def test_garbage(made):
    """Thousands of random packets, and good ones with octets flipped, stop nothing and restart nothing."""
    served, _ = made
    pids = served.pids()
    dice = random.Random(20260101)
    good = [wire.query(f"{n}.example.org", extra=wire.opt(do=bool(n % 2))) for n in range(8)]
    with wire.stream(served.port) as client:
        for n in range(3000):
            packet = bytearray(dice.choice(good))
            for _ in range(dice.randrange(1, 6)):
                packet[dice.randrange(len(packet))] = dice.randrange(256)
            if n % 3 == 0:
                packet = bytearray(dice.randbytes(dice.randrange(600)))
            wire.send(served.port, bytes(packet), timeout_s=0.00001)
            if n % 30 == 0:
                client.send(bytes(packet[2:]))
        client.is_closed(0.1)
    assert ask(NAME, port=served.port).answer
    assert ask(NAME, port=served.port, tcp=True).answer
    assert served.pids() == pids


@pytest.mark.parametrize("size", [65535, 65507, 4097, 4096, 1233])
def test_large_garbage(made, size):
    """A message of any size up to 64 KiB that is no query is answered FORMERR; the next one is answered."""
    served, _ = made
    junk = wire.HEADER.pack(4711, wire.RD, 1, 0, 0, 1) + QUESTION + os.urandom(size - 12 - len(QUESTION))
    with wire.stream(served.port) as client:
        client.send(junk, wire.query(NAME, ident=5))
        first = client.receive()
        assert wire.rcode(first) == FORMERR
        assert client.receive()[:2] == b"\0\5"
    if size <= 65507:
        reply = wire.send(served.port, junk, timeout_s=0.3)
        assert reply is None or wire.rcode(reply) in (FORMERR, NOTIMP)
    assert ask(NAME, port=served.port).answer


def test_unusual_and_legal(made):
    """TSIG, unknown additional records, AXFR, IXFR, ANY and reserved types get an answer, whatever it is."""
    served, server = made
    tsig = wire.name("key.example.org") + struct.pack("!HHIH", 250, 255, 0, 4) + b"abcd"
    extra = wire.name("x") + struct.pack("!HHIH", 65300, 1, 0, 0)
    soa = wire.name(NAME) + struct.pack("!HHIH", 6, 1, 0, 22) + bytes(22)
    for packet in (
        wire.query(NAME, extra=tsig),
        wire.query(NAME, extra=extra + OPT, extra_count=2),
        wire.query(NAME, wire.AXFR),
        _message(1, 0, 1, 0, body=wire.question(NAME, 251) + soa),
        wire.query("", wire.NS),
        wire.query(NAME, wire.ANY),
        wire.query(NAME, 0),
        wire.query(NAME, 65535),
    ):
        assert wire.send(served.port, packet) is not None
    assert server.queries > 0


def test_malformed_is_counted(made):
    """Packets answered with FORMERR or NOTIMP, and those dropped, are numbers on the metrics page."""
    served, _ = made
    before = served.scrape().text
    wire.send(served.port, PACKETS[5][1])
    assert served.scrape().text != before


def _spoofed(port, source_port, message):
    """Nothing; a datagram to port that seems to come from source_port of the same address."""
    datagram = struct.pack("!4H", source_port, port, 8 + len(message), 0) + message
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
        raw.sendto(datagram, ("127.0.0.1", 0))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may say that a datagram came from elsewhere")
@pytest.mark.parametrize("packet", [QUERY, PACKETS[8][1], PACKETS[3][1]], ids=["a query", "malformed", "a response"])
def test_no_loops(made, packet):
    """What seems to come from our own address, or from port 0, is answered at most once; no reply is ever answered."""
    served, _ = made
    ask(NAME, port=served.port)
    before = served.scrape()
    for source_port in (served.port, 0):
        _spoofed(served.port, source_port, packet)
    for _ in range(20):
        assert ask(NAME, port=served.port).answer
    after = served.scrape()
    name = "shardns_worker_packets_received_total"
    assert 22 <= after.total(name) - before.total(name) <= 23


def test_thousands_of_rude_connections(made):
    """2,500 connections with garbage, half frames or nothing: others are served; afterwards nothing of them is left."""
    served, _ = made
    pids = [pid for role, pid in served.pids().items() if role.startswith("worker")]
    dice = random.Random(20261123)
    good = wire.frame(wire.query(NAME))
    rude = [
        b"",
        b"\0",
        b"\xff\xff" + bytes(100),
        good[:-1],
        good + good[:9],
        dice.randbytes(400),
        b"\0\0" + good,
        good * 50,
    ]

    def use(count):
        with contextlib.ExitStack() as stack:
            for n in range(count):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=5))
                with contextlib.suppress(OSError):
                    sock.sendall(rude[n % len(rude)])
                    if n % 5 == 0:
                        sock.shutdown(socket.SHUT_WR)
                if n % 250 == 0:
                    assert ask(NAME, port=served.port, tcp=True).answer
                    assert ask(NAME, port=served.port).answer
        wait_until(lambda: served.scrape().total("shardns_worker_tcp_open") == 0, what="no connection to be open")

    use(2500)
    descriptors, sizes = _taken(pids)
    use(2500)
    again, now = _taken(pids)
    assert again <= descriptors + 2
    assert now <= sizes * 1.1 + 1_000_000
    assert [pid for role, pid in served.pids().items() if role.startswith("worker")] == pids


def _taken(pids):
    """Open descriptors of these processes, and octets of memory that are theirs alone."""
    descriptors = sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)
    return descriptors, sum(int(program.status(pid)["RssAnon"].split()[0]) * 1024 for pid in pids)


def test_garbage_between_good_queries(made):
    """On one connection each good query is answered, and each frame of garbage by an error, until one has no answer."""
    served, _ = made
    dice = random.Random(7)
    with wire.stream(served.port) as client:
        for n in range(200):
            junk = wire.HEADER.pack(n, 0, *(dice.getrandbits(16) for _ in range(4))) + dice.randbytes(
                dice.randrange(80)
            )
            client.send(junk, wire.query(NAME, ident=1000 + n))
            replies = {int.from_bytes(reply[:2]): reply for reply in (client.receive(), client.receive())}
            assert wire.rcode(replies[n]) == FORMERR
            assert replies[1000 + n].endswith(fake.address_of(wire.name(NAME)))
