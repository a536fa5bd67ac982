"""Random queries of real and odd clients, and what an honest cache may answer, by the nameserver's own words.

Slow and plain on purpose: dnspython reads every message, and the rules are those of the RFCs, one after the other.
"""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from tests.peers import wire

FLAGS_ECHOED = wire.RD | wire.CD
UDP_MAX = 4096  # whatever a client offers, no UDP reply is larger

Record = tuple[dns.name.Name, int, int, object]


@dataclass(frozen=True)
class Asking:
    """One query: its question in the client's own case, its flags, and OPT's parts where it has one."""

    name: bytes
    rtype: int
    rclass: int
    flags: int
    opt_size: int | None  # None: no OPT
    version: int
    do: bool
    options: bytes

    @property
    def question(self) -> bytes:
        """The question section as sent."""
        return self.name + struct.pack("!HH", self.rtype, self.rclass)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two queries one entry of a cache."""
        return self.name.lower(), self.rtype, self.rclass, self.do, bool(self.flags & wire.CD)

    def wire(self, ident: int) -> bytes:
        """The query as it is sent."""
        opt = b""
        if self.opt_size is not None:
            opt = wire.opt(self.opt_size, version=self.version, do=self.do, options=self.options)
        return wire.HEADER.pack(ident, self.flags, 1, 0, 0, bool(opt)) + self.question + opt

    def upstream(self) -> bytes:
        """What a cache would ask the nameserver: the same facets, everything else its own."""
        opt = b"" if self.opt_size is None else wire.opt(do=self.do)
        flags = self.flags & FLAGS_ECHOED | wire.AD
        return wire.HEADER.pack(0, flags, 1, 0, 0, bool(opt)) + self.question.lower()[:-4] + self.question[-4:] + opt

    def limit(self, *, tcp: bool) -> int:
        """The octets a reply may have."""
        return 65535 if tcp else min(max(self.opt_size or 0, 512), UDP_MAX)


class Asker:
    """Makes queries, the same ones for the same seed."""

    TYPES = (1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 39, 43, 46, 47, 48, 64, 65, 99, 249, 255, 256, 257, 32769, 65280, 0)
    SIZES = (0, 1, 100, 511, 512, 513, 700, 1220, 1232, 1400, 4096, 65535)

    def __init__(self, seed: int, names: Sequence[bytes], *, classes: Sequence[int] = (3, 4, 254, 255)) -> None:
        """names in wire form are those that exist; classes are asked for now and then."""
        self._dice = random.Random(seed)
        self._names = names
        self._classes = classes

    def draw(self) -> Asking:
        """The next query."""
        dice = self._dice
        has_opt = dice.random() < 0.6
        options = b"".join(self._option() for _ in range(dice.choice((0, 0, 1, 3))))
        extra = dice.getrandbits(16) & 0x06C0 if dice.random() < 0.1 else 0  # AA, TC, RA and Z mean nothing here
        return Asking(
            self._case(self._name()),
            dice.choice(self.TYPES) if dice.random() < 0.97 else dice.randrange(260, 65535),
            dice.choice(self._classes) if dice.random() < 0.03 else 1,
            extra
            | sum(flag for flag, odds in ((wire.RD, 0.9), (wire.AD, 0.3), (wire.CD, 0.2)) if dice.random() < odds),
            dice.choice(self.SIZES) if has_opt else None,
            dice.randrange(1, 256) if has_opt and dice.random() < 0.03 else 0,
            has_opt and dice.random() < 0.4,
            options if has_opt else b"",
        )

    def _name(self) -> bytes:
        """A name that exists, or something before it, or nothing like it."""
        dice, name = self._dice, self._dice.choice(self._names)
        label = bytes(dice.getrandbits(8) for _ in range(dice.choice((1, 3, 63))))
        if dice.random() < 0.25 and len(name) + 1 + len(label) <= 255:
            return bytes([len(label)]) + label + name
        if dice.random() < 0.1 and name != b"\0":
            return name[1 + name[0] :]
        return name

    def _case(self, name: bytes) -> bytes:
        """The name in mixed case; lengths are no letters."""
        style = self._dice.choice((bytes.lower, bytes.upper, None))
        if style:
            return style(name)
        return bytes(
            self._dice.choice((octet, *chr(octet).swapcase().encode("latin-1")[:1])) if octet < 128 else octet
            for octet in name
        )

    def _option(self) -> bytes:
        """An EDNS option that is sound in form."""
        code = self._dice.choice((3, 5, 8, 10, 11, 12, 15, 65001))
        octets = self._dice.randbytes(self._dice.choice((0, 8, 40)))
        return struct.pack("!HH", code, len(octets)) + octets


@dataclass(frozen=True)
class Life:
    """How the cache in question holds answers: whether this one was stored, and the bounds of the TTL it shows."""

    is_hit: bool
    least_s: int
    most_s: int


@functools.lru_cache(4096)
def parsed(message: bytes) -> dns.message.Message:
    """The message, each record by itself."""
    return dns.message.from_wire(message, one_rr_per_rrset=True)


def records(section: Sequence[object]) -> list[Record]:
    """A section's records without their TTLs."""
    return [(one.name, one.rdclass, one.rdtype, one[0]) for one in section]  # type: ignore[attr-defined,index]


def differences(asking: Asking, reply: bytes, theirs: bytes, *, ident: int, tcp: bool, life: Life) -> list[str]:
    """Everything in which reply is not the reply that the nameserver's answer `theirs` allows; [] when it is right."""
    if asking.version:
        ours = dns.message.from_wire(reply)
        is_bare = not (ours.answer or ours.authority or ours.additional)
        found = [] if ours.rcode() == dns.rcode.BADVERS and is_bare else ["not a BADVERS"]
        return found + _envelope(asking, reply, ident, ours)
    ours, origin = parsed(reply), parsed(theirs)
    found = _envelope(asking, reply, ident, ours)
    if ours.rcode() != origin.rcode():
        found.append(f"rcode {ours.rcode()} for {origin.rcode()}")
    if len(reply) > asking.limit(tcp=tcp):
        found.append(f"{len(reply)} octets")
    return found + _flags(asking, ours, origin, life) + _sections(ours, origin, tcp=tcp) + _ttls(ours, life)


def _envelope(asking: Asking, reply: bytes, ident: int, ours: dns.message.Message) -> list[str]:
    """id, opcode, question and OPT."""
    found = []
    if int.from_bytes(reply[:2], "big") != ident or reply[4:6] != b"\0\1":
        found.append("another id, or not one question")
    if reply[12 : 12 + len(asking.question)] != asking.question:
        found.append("the question is not as it was asked")
    if (ours.opt is None) != (asking.opt_size is None):
        found.append("OPT, or none, against the query")
    if ours.opt is not None:
        wanted = (0, max(asking.opt_size or 0, 512), dns.flags.DO if asking.do else 0, ())
        if (ours.edns, ours.payload, ours.ednsflags & 0xFFFF, ours.options) != wanted:
            found.append(f"OPT {ours.edns, ours.payload, ours.ednsflags, ours.options} for {wanted}")
    return found


def _flags(asking: Asking, ours: dns.message.Message, origin: dns.message.Message, life: Life) -> list[str]:
    """QR, RD and CD as asked; RA of the nameserver; AA always from the cache; AD only for who asked for it; Z never."""
    wanted = wire.QR | asking.flags & FLAGS_ECHOED | origin.flags & wire.RA
    wanted |= wire.AA if life.is_hit else origin.flags & wire.AA
    if asking.do or asking.flags & wire.AD:
        wanted |= origin.flags & wire.AD
    seen = ours.flags & 0xFFF0 & ~wire.TC
    return [] if seen == wanted else [f"flags {seen:04x} for {wanted:04x}"]


def _sections(ours: dns.message.Message, origin: dns.message.Message, *, tcp: bool) -> list[str]:
    """The nameserver's records, in its order: all of them, or as many from the front as fit, with TC."""
    mine, theirs = ([records(part) for part in message.sections[1:]] for message in (ours, origin))
    if mine == theirs:
        return ["TC on a whole answer"] if ours.flags & wire.TC and not origin.flags & wire.TC else []
    flat, whole = ([record for part in parts for record in part] for parts in (mine, theirs))
    if tcp or flat != whole[: len(flat)]:
        strange = [record for record in flat if record not in whole]
        return [f"{len(flat)} records for {len(whole)}, or in another order, these are strange: {strange[:3]}"]
    is_cut = len(flat) < len(theirs[0]) + len(theirs[1])
    return [] if is_cut == bool(ours.flags & wire.TC) else [f"TC {not is_cut} on {len(flat)} of {len(whole)} records"]


def _ttls(ours: dns.message.Message, life: Life) -> list[str]:
    """One TTL on every record, within its bounds."""
    shown = {one.ttl for part in ours.sections[1:] for one in part}
    if len(shown) > 1 or any(not life.least_s <= ttl <= life.most_s for ttl in shown):
        return [f"TTLs {sorted(shown)} outside {life.least_s} to {life.most_s}"]
    return []
