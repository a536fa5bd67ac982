"""Nameservers that say odd, wrong or broken things: what clients get, and what is kept of it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, wire
from tests.peers.client import ask, flags, rcode, texts

QNAME = b"\xc0\x0c"
OPT = wire.opt()
BY_UDP = program.STOCK.replace("force_tcp", "prefer_udp")
AA, TC = wire.AA, wire.TC
OK = wire.QR | AA | wire.RD | wire.RA
NXDOMAIN, FORMERR, NOTIMP, REFUSED = OK | 3, OK | 1, OK | 4, OK | 5
KEPT, ASKED = 1, 3  # upstream queries for three clients' queries
ROOT_A = b"\0" + struct.pack("!HHIH", wire.A, 1, 300, 4) + b"\xc0\0\2\1"


def rr(rtype=wire.A, data=b"\xc0\0\2\1", ttl=300, owner=QNAME, rclass=1):
    """A record."""
    return owner + struct.pack("!HHIH", rtype, rclass, ttl, len(data)) + data


def soa(ttl=60, minimum=30):
    """The SOA of example.org."""
    return rr(wire.SOA, b"\0\0" + struct.pack("!5I", 1, 2, 3, 4, minimum), ttl, wire.name("example.org"))


def says(body=b"", answer=0, authority=0, additional=0, flags=OK, questions=1):
    """What turns a query into an answer: header, the question so many times, body."""

    def respond(query):
        end = query.index(b"\0", 12) + 5
        counts = struct.pack("!5H", flags, questions, answer, authority, additional)
        return query[:2] + counts + query[12:end] * questions + body

    return respond


# Label, what is said, the rcode that clients get, the TTL they see first (None: no record), queries upstream for three.
CASES = {
    "good": (says(rr(), 1), "NOERROR", 30, KEPT),
    "padded": (says(rr() + b"\xff" * 30, 1), "NOERROR", 30, KEPT),
    "ttl-0": (says(rr(ttl=0), 1), "NOERROR", 5, KEPT),
    "ttl-most": (says(rr(ttl=2**31 - 1), 1), "NOERROR", 30, KEPT),
    "ttl-negative": (says(rr(ttl=2**31), 1), "NOERROR", 5, KEPT),
    "soa-minimum-0": (says(soa(minimum=0), 0, 1, flags=NXDOMAIN), "NXDOMAIN", 5, KEPT),
    "soa-minimum-negative": (says(soa(minimum=2**31), 0, 1, flags=NXDOMAIN), "NXDOMAIN", 5, KEPT),
    "opt-in-answer": (says(OPT + rr(), 2), "NOERROR", 30, KEPT),
    "two-opts": (says(rr() + OPT * 2, 1, 0, 2), "SERVFAIL", None, ASKED),
    "other-owner": (says(rr(owner=wire.name("a.example.net")), 1), "NOERROR", 30, KEPT),
    "other-class": (says(rr(rclass=3, rtype=wire.TXT, data=b"\1x"), 1), "NOERROR", 30, KEPT),
    "cname-to-itself": (says(rr(5, QNAME), 1), "NOERROR", 30, KEPT),
    "cname-ring": (says(rr(5, b"\1x\0") + rr(5, QNAME, owner=b"\1x\0"), 2), "NOERROR", 30, KEPT),
    "nxdomain-with-answer": (says(rr(), 1, flags=NXDOMAIN), "NXDOMAIN", 5, ASKED),
    "reserved-flag": (says(rr(), 1, flags=OK | 0x40), "NOERROR", 30, KEPT),
    "pointer-to-itself": (says(rr(owner=b"\xc0\x2c"), 1), "SERVFAIL", None, ASKED),
    "pointer-forward": (says(rr(owner=b"\xff\xff"), 1), "SERVFAIL", None, ASKED),
    "address-of-3-octets": (says(rr(data=b"abc"), 1), "SERVFAIL", None, ASKED),
    "another-opcode": (says(rr(), 1, flags=OK | 4 << wire.OPCODE_SHIFT), "SERVFAIL", None, ASKED),
    "bare-servfail": (says(flags=OK | 2, questions=0), "SERVFAIL", None, KEPT),
    "formerr": (says(flags=FORMERR), "FORMERR", None, ASKED),
    "notimp": (says(flags=NOTIMP), "NOTIMP", None, KEPT),
    "refused": (says(flags=REFUSED), "REFUSED", None, ASKED),
    "rcode-15": (says(flags=OK | 15), "15", None, ASKED),
    "badvers": (says(b"\0" + struct.pack("!HHIH", wire.OPT, 1232, 1 << 24, 0), 0, 0, 1), "BADVERS", None, ASKED),
}
# Over UDP anybody could have sent these: they are waited past (test_forged_datagrams). By TCP it is asked once more.
NO_ANSWERS = {
    "two-questions": says(rr(), 1, questions=2),
    "no-question": says(ROOT_A, 1, questions=0),
    "bare-nxdomain": says(flags=NXDOMAIN, questions=0),
    "a-query": says(rr(), 1, flags=wire.RD),
    "its-own-query": lambda query: query,
    "counts-too-many": says(rr(), 65535),
    "data-past-the-end": says(QNAME + struct.pack("!HHIH", 1, 1, 5, 65535) + b"\1\2", 1),
    "another-question": lambda query: says(rr(), 1)(query)[:12] + b"\1x\0\0\1\0\1" + rr(),
    "another-type": lambda query: says(rr(), 1)(query).replace(b"\0\0\1\0\1", b"\0\0\x1c\0\1", 1),
    "a-bare-header": lambda query: query[:2] + struct.pack("!5H", OK, 0, 0, 0, 0),
}


class Odd:
    """Says what the first label of the name stands for, and counts."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.says = {label: case[0] for label, case in CASES.items()} | NO_ANSWERS

    def __call__(self, query):
        label = query[13 : 13 + query[12]].decode()
        self.asked[label] += 1
        return self.says.get(label, fake.respond)(query)


@pytest.fixture(scope="module", params=["TCP", "UDP"])
def odd(request, tmp_path_factory):
    """A shardns and what it asks, by TCP or UDP."""
    said = Odd()
    text = program.STOCK if request.param == "TCP" else BY_UDP
    home = tmp_path_factory.mktemp("odd")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(fake.nameserver(respond=said))
        made = stack.enter_context(program.shardns(home, text, upstream=f"127.0.0.1:{server.port}"))
        yield made, said, request.param


@pytest.mark.parametrize("label", CASES)
def test_odd_answers(odd, label):
    """Three clients get the same: what CoreDNS would make of it, kept as long, or SERVFAIL for what cannot be read."""
    made, said, _ = odd
    _, wanted, ttl_s, asked = CASES[label]
    answers = [ask(f"{label}.example.org", port=made.port, edns=True) for _ in range(3)]
    assert {rcode(answer) for answer in answers} == {wanted}
    shown = [{one.ttl for part in answer.sections[1:] for one in part} for answer in answers]
    assert shown[0] == ({ttl_s} if ttl_s is not None else set())
    assert set().union(*shown) <= ({ttl_s, ttl_s - 1} if ttl_s is not None else set())
    assert said.asked[label] == asked
    assert ask("well.example.org", port=made.port).answer


@pytest.mark.parametrize("odd", ["TCP"], indirect=True)
@pytest.mark.parametrize("label", NO_ANSWERS)
def test_what_is_no_answer(odd, label):
    """A message that answers something else, or nothing, is never taken for the answer: SERVFAIL, at once by TCP."""
    made, said, _ = odd
    answer = ask(f"{label}.example.org", port=made.port)
    assert (rcode(answer), answer.answer) == ("SERVFAIL", [])
    assert 1 <= said.asked[label] <= 4
    assert ask("well.example.org", port=made.port).answer


def test_forged_datagrams(launch):
    """Datagrams with another id or question before the right one change nothing, whatever they say."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(8)

        def serve():
            query, client = server.recvfrom(4096)
            right = fake.respond(query) or b""
            question = query[12 : query.index(b"\0", 12) + 5]
            for forged in (bytes([query[0] ^ 1]) + right[1:], *(no(query) for no in NO_ANSWERS.values())):
                if (
                    forged[:2] != query[:2]
                    or not forged[2] & 0x80
                    or forged[4:6] + forged[12 : 12 + len(question)] != b"\0\1" + question
                ):
                    server.sendto(forged, client)
            server.sendto(right, client)
            server.sendto(right, client)

        thread = threading.Thread(target=serve)
        thread.start()
        made = launch(BY_UDP, upstream=f"127.0.0.1:{server.getsockname()[1]}")
        assert texts(ask("a.example.org", port=made.port))[0].endswith(fake.address_text("a.example.org"))
        thread.join()


def _serve_tcp(listener, write):
    """Answers each query of each connection by write(connection, query, framed answer) until the listener is closed."""

    def one(connection):
        with connection, connection.makefile("rb") as stream:
            while (length := stream.read(2)) and len(length) == 2:
                query = stream.read(int.from_bytes(length))
                if write(connection, query, wire.frame(fake.respond(query) or b"")):
                    return

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def _in_octets(connection, _query, answer):
    """Octet by octet."""
    for octet in answer:
        connection.sendall(bytes([octet]))


def _twice(connection, _query, answer):
    """The same answer twice, in one write."""
    connection.sendall(answer * 2)


def _and_close(connection, _query, answer):
    """One answer for each connection."""
    connection.sendall(answer)
    return True


def _strangers_first(connection, query, answer):
    """Before it one with an id that nobody waits for."""
    connection.sendall(wire.frame(bytes([query[0] ^ 0x55]) + answer[3:]) + answer)


@pytest.mark.parametrize("write", [_in_octets, _twice, _and_close, _strangers_first])
def test_odd_streams(launch, write):
    """However the answers come, each client gets its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        _serve_tcp(listener, write)
        made = launch(upstream=f"127.0.0.1:{listener.getsockname()[1]}")
        for n in range(30):
            (line,) = texts(ask(f"n{n}.example.org", port=made.port, timeout_s=6))
            assert line.endswith(fake.address_text(f"n{n}.example.org"))
        listener.shutdown(socket.SHUT_RDWR)


LIES = {"length 0": b"\0\0", "length 1": b"\0\1x", "65,535 and silence": b"\xff\xff\0\0", "the end": b""}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_lengths_that_lie(launch, lie):
    """A stream that cannot be read any more costs its query one try: it is asked again on another connection."""
    asked: list[bytes] = []

    def write(connection, query, answer):
        asked.append(query)
        is_odd = len(asked) == 2
        connection.sendall(lie if is_odd else answer)
        return is_odd and not lie

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        _serve_tcp(listener, write)
        made = launch(upstream=f"127.0.0.1:{listener.getsockname()[1]}")
        for name in ("well.example.org", "lied.example.org", "after.example.org"):
            (line,) = texts(ask(name, port=made.port, timeout_s=6))
            assert line.endswith(fake.address_text(name))
        assert len(asked) >= 4
        listener.shutdown(socket.SHUT_RDWR)


def test_truncated_by_tcp(odd):
    """TC by TCP reaches the client and is not kept: nobody has the whole answer."""
    made, said, transport = odd
    said.says["cut"] = says(rr(), 1, flags=OK | TC)
    for n in range(2):
        assert "TC" in flags(ask("cut.example.org", port=made.port))
        assert said.asked["cut"] == (n + 1) * (2 if transport == "UDP" else 1)
