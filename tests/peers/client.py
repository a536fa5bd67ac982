"""dnspython as a client: an implementation of DNS that shares no code with shardns."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype


def ask(
    name: str,
    rtype: str = "A",
    *,
    port: int,
    host: str = "127.0.0.1",
    tcp: bool = False,
    timeout_s: float = 3,
    edns: bool = False,
    do: bool = False,
    payload: int = 1232,
) -> dns.message.Message:
    """The answer as it came; by UDP a truncated one stays truncated. Raises dns.exception.DNSException."""
    query = dns.message.make_query(name, rtype, use_edns=0 if edns or do else -1, want_dnssec=do, payload=payload)
    send = dns.query.tcp if tcp else dns.query.udp
    return send(query, host, timeout=timeout_s, port=port)


def answers(port: int, name: str, host: str = "127.0.0.1") -> bool:
    """True once a nameserver gives any answer there: what a start waits for."""
    try:
        ask(name, "SOA", port=port, host=host, timeout_s=0.2)
    except (dns.exception.DNSException, OSError):
        return False
    return True


def texts(answer: dns.message.Message, section: str = "answer") -> list[str]:
    """The records of a section as zone-file lines, sorted, so that a rotated set compares equal."""
    return sorted(
        f"{rrset.name} {rrset.ttl} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
        for rrset in getattr(answer, section)
        for rdata in rrset
    )


def rcode(answer: dns.message.Message) -> str:
    """The response code by name, its upper bits from the OPT included."""
    return dns.rcode.to_text(answer.rcode())


def flags(answer: dns.message.Message) -> set[str]:
    """The header's flags by name: {"QR", "AA", "RD"}."""
    return set(dns.flags.to_text(answer.flags).split())
