"""Answers that a test writes as zone text, for the fake nameserver: what it says for a name, and what it says next.

    script = Script({"a.example.org. A": Say("a.example.org. 30 IN A 192.0.2.1")})
    with fake.nameserver(respond=script) as server: ...

Made with dnspython, which shares no code with shardns.
"""

from __future__ import annotations

import collections
from collections.abc import Mapping
from dataclasses import dataclass

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "example.org. 60 IN SOA ns.example.org. hostmaster.example.org. 1 7200 1800 86400 30"


@dataclass(frozen=True)
class Say:
    """One answer: records as zone text, a line each. is_silent: none at all; tc and ad set those flags."""

    answer: str = ""
    authority: str = ""
    additional: str = ""
    rcode: str = "NOERROR"
    aa: bool = True
    tc: bool = False
    ad: bool = False
    ra: bool = True
    question: str = ""  # another question than the one asked
    is_silent: bool = False


class Script:
    """What to say, by "name. TYPE" in lower case or by "name." for every type; "*" for all else.

    A list is said in turn, its last again and again. asked counts the queries by the same
    "name. TYPE"; queries holds them.
    """

    def __init__(self, says: Mapping[str, Say | list[Say]]) -> None:
        """says may be changed at any moment."""
        self.says = dict(says)
        self.asked: collections.Counter[str] = collections.Counter()
        self.queries: list[dns.message.Message] = []

    def __call__(self, wire: bytes) -> bytes | None:
        """The answer to a query."""
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text().lower()
        key = f"{name} {dns.rdatatype.to_text(query.question[0].rdtype)}"
        nth = self.asked[key]
        self.asked[key] += 1
        self.queries.append(query)
        say = self.says.get(key) or self.says.get(name) or self.says.get("*") or Say(rcode="REFUSED")
        if isinstance(say, list):
            say = say[min(nth, len(say) - 1)]
        return None if say.is_silent else answer(query, say)


def answer(query: dns.message.Message, say: Say) -> bytes:
    """The answer to query that says this; its OPT only if the query had one."""
    response = dns.message.make_response(query, recursion_available=say.ra)
    for flag, is_set in ((dns.flags.AA, say.aa), (dns.flags.TC, say.tc), (dns.flags.AD, say.ad)):
        if is_set:
            response.flags |= flag
    response.set_rcode(dns.rcode.from_text(say.rcode))
    response.answer = rrsets(say.answer)
    response.authority = rrsets(say.authority)
    response.additional = rrsets(say.additional)
    if say.question:
        name, rtype = say.question.split()
        response.question = [dns.rrset.from_text(dns.name.from_text(name), 0, "IN", rtype)]
    return response.to_wire(max_size=65535)


def rrsets(text: str) -> list[dns.rrset.RRset]:
    """One set per line, or per run of lines with the same owner and type."""
    found: list[dns.rrset.RRset] = []
    for line in filter(str.strip, text.splitlines()):
        owner, ttl, rclass, rtype, data = line.split(maxsplit=4)
        one = dns.rrset.from_text(dns.name.from_text(owner), int(ttl), rclass, rtype, data)
        if found and (found[-1].name, found[-1].rdtype) == (one.name, one.rdtype):
            found[-1].update(one)
        else:
            found.append(one)
    return found
