"""No figure is bought by wrong answers: a sample of a server's replies is compared with the nameserver's own."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.query
import dns.rdatatype

from perf.load import Wrong
from perf.servers import ZONE, Server

TYPES = ("A", "AAAA", "TXT")
NAMES = (*(f"hot{i:07d}" for i in range(0, 1000, 97)), "HoT0000001", "nx0000001", "never-asked-before")


def check(server: Server, upstream: int) -> int:
    """How many replies were compared. Raises Wrong at the first that differs in rcode, question or records.

    Each question is asked three times (the last is a hit, by TCP): an answer must not change with where it comes from.
    """
    compared = 0
    for label in NAMES:
        for kind in TYPES:
            query = dns.message.make_query(f"{label}.{ZONE}", kind, use_edns=label[0] == "h")
            wanted = dns.query.udp(query, "127.0.0.1", timeout=3, port=upstream)
            for ask in (dns.query.udp, dns.query.udp, dns.query.tcp):
                got = ask(query, "127.0.0.1", timeout=3, port=server.port)
                _compare(server.name, got, wanted)
                compared += 1
    return compared


def _compare(name: str, got: dns.message.Message, wanted: dns.message.Message) -> None:
    """Nothing; raises Wrong. A TTL may have aged, an authority section may be left out of a positive answer."""
    same = got.rcode() == wanted.rcode() and got.question == wanted.question and got.answer == wanted.answer
    same = same and bool(got.flags & dns.flags.RA) and bool(got.flags & dns.flags.QR)
    for rrset, other in zip(got.answer, wanted.answer, strict=False):
        same = same and rrset.ttl <= other.ttl
    if not same:
        raise Wrong(f"{name} answers otherwise than the nameserver:\n{got}\n--- wanted\n{wanted}")
