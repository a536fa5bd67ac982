"""Writes the seeds of the fuzz targets query, entry, reply, miss and frames: good messages, some a step beside them.

Run by hand after a change to it: `python tests/fuzz/make_corpus.py`. dnspython builds the messages, so the seeds do not
come from the code under test. A seed's name says what it is; the same script always writes the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rrset

CORPUS = Path(__file__).resolve().parent / "corpus"

SOA = "example.org. 3600 IN SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 60"

# What is asked, the rcode, and the answer, authority and additional records as zone text.
ANSWERS: dict[str, tuple[str, str, list[str], list[str], list[str]]] = {
    "a": ("www.example.org. A", "NOERROR", ["www.example.org. 300 IN A 192.0.2.1"], [], []),
    "cname": (
        "WWW.Example.org. A",
        "NOERROR",
        ["WWW.Example.org. 300 IN CNAME web.example.net.", "web.example.net. 60 IN A 192.0.2.1"],
        ["example.net. 900 IN NS ns.example.net."],
        ["ns.example.net. 900 IN AAAA 2001:db8::1"],
    ),
    "srv": (
        "_http._tcp.web.svc.cluster.local. SRV",
        "NOERROR",
        [f"_http._tcp.web.svc.cluster.local. 5 IN SRV 0 50 80 web-{n}.web.svc.cluster.local." for n in range(2)],
        [],
        [f"web-{n}.web.svc.cluster.local. 5 IN A 192.0.2.{n}" for n in range(2)],
    ),
    "mx": ("example.org. MX", "NOERROR", [f"example.org. 60 IN MX {n} mx{n}.example.org." for n in (10, 20)], [], []),
    "ptr": ("1.2.0.192.in-addr.arpa. PTR", "NOERROR", ["1.2.0.192.in-addr.arpa. 30 IN PTR host.example.org."], [], []),
    "txt": ("example.org. TXT", "NOERROR", ['example.org. 30 IN TXT "one" "two"'], [], []),
    "naptr": (
        "example.org. NAPTR",
        "NOERROR",
        ['example.org. 30 IN NAPTR 100 50 "s" "http" "" web.example.org.'],
        [],
        [],
    ),
    "old": (
        "example.org. ANY",
        "NOERROR",
        [
            "example.org. 30 IN RP mbox.example.org. txt.example.org.",
            "example.org. 30 IN AFSDB 1 afs.example.org.",
            "example.org. 30 IN RT 1 rt.example.org.",
            "example.org. 30 IN PX 1 px.example.org. x.example.org.",
            "example.org. 30 IN KX 1 kx.example.org.",
        ],
        [],
        [],
    ),
    "dname": (
        "a.old.example.org. A",
        "NOERROR",
        ["old.example.org. 30 IN DNAME new.example.org.", "a.old.example.org. 30 IN CNAME a.new.example.org."],
        [],
        [],
    ),
    "https": (
        "example.org. HTTPS",
        "NOERROR",
        ['example.org. 30 IN HTTPS 1 svc.example.org. alpn="h2"'],
        [],
        [],
    ),
    "nxdomain": ("nope.example.org. A", "NXDOMAIN", [], [SOA], []),
    "nodata": ("www.example.org. AAAA", "NOERROR", [], [SOA], []),
    "servfail": ("www.example.org. A", "SERVFAIL", [], [], []),
    "refused": ("www.example.org. A", "REFUSED", [], [], []),
    "badvers": ("www.example.org. A", "BADVERS", [], [], []),
    "root": (". NS", "NOERROR", [". 60 IN NS a.root.example.", ". 60 IN NS b.root.example."], [], []),
}


def query(text: str, **options: object) -> dns.message.Message:
    """A query for "name type" with a fixed id."""
    name, rdtype = text.split()
    message = dns.message.make_query(name, rdtype, **options)  # type: ignore[arg-type]
    message.id = 0x1234
    return message


def queries() -> Iterator[tuple[str, bytes]]:
    """The seeds of fuzz_query, by name."""
    plain = query("wWw.Example.oRg. AAAA").to_wire()
    yield "plain", plain
    yield "root", query(". NS").to_wire()
    yield "long", query(".".join(["x" * 63] * 3 + ["y" * 61]) + ". A").to_wire()
    yield "opt", query("www.example.org. A", use_edns=0, payload=1232, want_dnssec=True).to_wire()
    cookie = dns.edns.GenericOption(dns.edns.OptionType.COOKIE, b"01234567")
    yield "cookie", query("www.example.org. A", use_edns=0, options=[cookie]).to_wire()
    yield "version", query("www.example.org. A", use_edns=1).to_wire()
    yield "opts", plain[:10] + b"\0\2" + plain[12:] + b"\0\0\x29\4\xd0\0\0\0\0\0\0" * 2
    yield "tsig", plain[:10] + b"\0\1" + plain[12:] + b"\3key\0\0\xfa\0\xff\0\0\0\0\0\0"
    yield "ixfr", plain[:8] + b"\0\1" + plain[10:-4] + b"\0\xfb\0\1" + b"\xc0\x0c\0\6\0\1\0\0\0\0\0\0"
    notify = query("example.org. SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    yield "notify", notify.to_wire()
    yield "header", plain[:12]
    yield "bare", plain[:4] + bytes(8)
    yield "pointer", plain[:12] + b"\xc0\x0c\0\1\0\1"
    yield "response", dns.message.make_response(query("www.example.org. A")).to_wire()


def answers() -> Iterator[tuple[str, bytes]]:
    """The seeds of fuzz_entry, by name: each answer as dnspython compresses it, and broken ones."""
    for name, (asked, rcode, *sections) in ANSWERS.items():
        message = dns.message.make_response(query(asked, use_edns=0), recursion_available=True)
        message.set_rcode(dns.rcode.from_text(rcode))
        for section, records in zip((message.answer, message.authority, message.additional), sections, strict=True):
            for record in records:
                owner, ttl, rdclass, rdtype, rdata = record.split(maxsplit=4)
                section.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
        yield name, message.to_wire()
    head = b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0\7example\3org\0\0\1\0\1"
    yield "loop", head + b"\xc0\x1d\0\1\0\1\0\0\0\5\0\4\xc0\0\2\1"
    yield "forward", head + b"\xc0\x2d\0\1\0\1\0\0\0\5\0\4\xc0\0\2\1"
    yield "negative-ttl", head + b"\xc0\x0c\0\1\0\1\x80\0\0\5\0\4\xc0\0\2\1"
    yield "no-question", b"\x12\x34\x81\x82" + bytes(8)
    yield "sig0", head + b"\0\0\x18\0\xff\0\0\0\0\0\4\0\0\1\2"
    yield "nxt", head + b"\xc0\x0c\0\x1e\0\1\0\0\0\5\0\6\1a\xc0\x0c\1\2"


def replies() -> Iterator[tuple[str, bytes]]:
    """The seeds of fuzz_reply, by name: limit, flags, the query's length, query, answer."""
    for name, answer in answers():
        if name not in ANSWERS:
            continue
        for limit, options in ((512, {}), (65535, {"use_edns": 0, "want_dnssec": True}), (80, {"use_edns": 0})):
            asked = query(ANSWERS[name][0], **options).to_wire()
            yield f"{name}-{limit}", struct.pack("!HBH", limit, 1, len(asked)) + asked + answer


def misses() -> Iterator[tuple[str, bytes]]:
    """The seeds of fuzz_miss, by name: flags, the query's length, query, answer."""
    for number, (name, answer) in enumerate(answers()):
        options = {"use_edns": 0, "want_dnssec": True} if number % 2 else {}
        asked = query(ANSWERS[name][0], **options).to_wire() if name in ANSWERS else query("example.org. A").to_wire()
        yield name, struct.pack("!BH", 0x70 | number % 3, len(asked)) + asked + answer


def frames() -> Iterator[tuple[str, bytes]]:
    """The seeds of fuzz_frames, by name: where to cut, then frames. www.example.org. A is what its table holds."""
    hit, miss, refused = (
        query(f"{name} A").to_wire() for name in ("wWw.example.org.", "a.example.org.", "example.com.")
    )
    streams = {"hit": [hit], "mixed": [hit, miss, refused, hit], "empty": [hit, b"", hit], "short": [miss, hit[:11]]}
    streams |= {"many": [hit] * 70, "misses": [miss] * 70, "malformed": [hit + b"x", hit[:4] + bytes(8), hit]}
    for name, messages in streams.items():
        stream = b"".join(struct.pack("!H", len(message)) + message for message in messages)
        yield name, struct.pack("!H", len(stream) // 2) + stream
    yield "partial", struct.pack("!HH", 1, len(hit)) + hit[:-1]


def main() -> None:
    """Write every seed to its target's folder."""
    targets = {"query": queries(), "entry": answers(), "reply": replies(), "miss": misses(), "frames": frames()}
    for target, seeds in targets.items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, seed in seeds:
            (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
