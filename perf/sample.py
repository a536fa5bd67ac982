"""No figure is bought by wrong answers: a sample of a server's replies is compared with the nameserver's own."""

from __future__ import annotations

import socket

import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from perf.servers import ZONE, Server, Wrong

TYPES = ("A", "AAAA", "TXT")
NAMES = ("HoT0001001", "nx0000001", "never-asked-before")  # in no load
NUMBERS = range(0, 1000, 97)  # of a load's names


def check(server: Server, upstream: int, prefix: str = "sample") -> int:
    """How many replies were compared. Raises Wrong at the first that differs in rcode, question or records.

    Each question is asked three times (the last is a hit, by TCP): an answer must not change with where it comes from.
    prefix: of a load's names (perf.load.names), whose answers are those that were measured.
    """
    compared = 0
    for label in (*(f"{prefix}{number:07d}" for number in NUMBERS), *NAMES):
        for kind in TYPES:
            query = dns.message.make_query(f"{label}.{ZONE}", kind, use_edns=label[0] == "H")
            wanted = dns.query.udp(query, "127.0.0.1", timeout=3, port=upstream)
            for ask in (dns.query.udp, dns.query.udp, dns.query.tcp):
                got = ask(query, "127.0.0.1", timeout=3, port=server.port)
                _compare(server.name, got, wanted)
                compared += 1
    _check_size(server, upstream, f"{prefix}0000000.{ZONE}")
    return compared


def _compare(name: str, got: dns.message.Message, wanted: dns.message.Message) -> None:
    """Nothing; raises Wrong. A TTL may have aged, an authority section may be left out of a positive answer."""
    same = got.rcode() == wanted.rcode() and got.question == wanted.question and got.answer == wanted.answer
    same = same and bool(got.flags & dns.flags.RA) and bool(got.flags & dns.flags.QR)
    if not wanted.answer:
        same = same and got.authority == wanted.authority
    for rrset, other in zip([*got.answer, *got.authority], [*wanted.answer, *wanted.authority], strict=False):
        same = same and rrset.ttl <= other.ttl
    if not same:
        raise Wrong(f"{name} answers otherwise than the nameserver:\n{got}\n--- wanted\n{wanted}")


def _check_size(server: Server, upstream: int, name: str) -> None:
    """Nothing; raises Wrong. Replies of all servers, the floor included, must be as long: octets cost, too."""
    query = dns.message.make_query(name, "A", use_edns=False).to_wire()
    wanted, got = (_exchanged(query, port) for port in (upstream, server.port))
    if len(got) != len(wanted):
        raise Wrong(f"{server.name}: its reply has {len(got)} octets, the nameserver's {len(wanted)}")


def _exchanged(query: bytes, port: int) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect(("127.0.0.1", port))
        sock.send(query)
        return sock.recv(4096)
