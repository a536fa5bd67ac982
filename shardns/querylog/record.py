"""What is known of one reply when it is logged, and the words that CoreDNS prints for it.

The C side keeps `struct shd_log_record` (core/answer.h) in a ring; from_struct copies one out.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from shardns.dns import codes, names

SUCCESS: Final = 1
DENIAL: Final = 2
ERROR: Final = 4
ALL: Final = SUCCESS | DENIAL | ERROR
CLASSES: Final = {"success": SUCCESS, "denial": DENIAL, "error": ERROR, "all": ALL}
"""enum shd_log_class by the word in a Corefile (CoreDNS plugin/pkg/response/classify.go)."""

TCP: Final = 1  # enum shd_proto
# In the order CoreDNS prints them (plugin/pkg/replacer/replacer.go appendFlags).
_FLAGS: Final = (
    (0x8000, "qr"),
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0040, "z"),
    (0x0020, "ad"),
    (0x0010, "cd"),
)
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # ::ffff:0:0/96: an IPv4 client of a dual-stack socket


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One reply. The fields are those of struct shd_log_record; name is in wire format, in the client's own case."""

    duration_ns: int
    request_len: int
    response_len: int
    listener: int
    id: int
    qtype: int
    qclass: int
    query_flags: int
    reply_flags: int
    """0 when no plugin wrote the reply (SERVFAIL after a failure): CoreDNS then has no message to print from."""
    udp_size: int
    rcode: int
    dnssec_ok: int
    proto: int
    log_class: int
    peer: bytes
    """struct sockaddr_in or sockaddr_in6."""
    name: bytes
    block: int = 0
    time_ns: int = 0


def from_struct(ffi: Any, record: Any) -> LogRecord:  # noqa: ANN401 - cffi objects have no types
    """A copy of a `struct shd_log_record`."""
    return LogRecord(
        record.duration_ns,
        record.request_len,
        record.response_len,
        record.listener,
        record.id,
        record.qtype,
        record.qclass,
        record.query_flags,
        record.reply_flags,
        record.udp_size,
        record.rcode,
        record.dnssec_ok,
        record.proto,
        record.log_class,
        ffi.buffer(record.peer, record.peer_len)[:],
        ffi.buffer(record.name, record.name_len)[:],
        record.block,
        record.time_ns,
    )


@lru_cache(maxsize=4096)
def name_text(wire: bytes) -> str:
    """The name as CoreDNS prints it: small letters, escaped, with its trailing dot."""
    return names.from_wire(names.fold(wire))


@lru_cache(maxsize=256)
def flags_text(flags: int) -> str:
    """The names of the header flags that are set, joined by commas: "qr,aa,rd,ra"."""
    return ",".join(name for bit, name in _FLAGS if flags & bit)


@lru_cache(maxsize=64)
def rcode_text(rcode: int) -> str:
    """The response code's name; its number when it has none."""
    text = codes.rcode_text(rcode)
    return str(rcode) if text.startswith("RCODE") else text


def remote_ip(record: LogRecord) -> str:
    """The client's address; an IPv6 one in brackets."""
    return _host(record.peer[4:8] if len(record.peer) < 28 else record.peer[8:28])


def remote_port(record: LogRecord) -> str:
    """The client's port; 0 when the address is unknown."""
    return str(int.from_bytes(record.peer[2:4], "big"))


def bracketed(host: str) -> str:
    """The address with brackets if it is an IPv6 one (RFC 3986 s.3.2.2)."""
    return f"[{host}]" if ":" in host else host


def duration_text(duration_ns: int) -> str:
    """Seconds as Go prints time.Duration.Seconds() with 'f' and the shortest precision, and "s"."""
    whole, nanos = divmod(duration_ns, 1_000_000_000)
    seconds = whole + nanos / 1e9
    if seconds < 1e-3:  # repr turns to exponents below 1e-4
        text = f"{seconds:.9f}".rstrip("0")
        return text.rstrip(".") + "s"
    return repr(seconds).removesuffix(".0") + "s"


@lru_cache(maxsize=1024)
def _host(address: bytes) -> str:
    """The text of 4 octets of IPv4, or of 16 octets of IPv6 and 4 of scope id (native order)."""
    if len(address) == 4:
        return socket.inet_ntop(socket.AF_INET, address)
    if len(address) < 20:
        return "-"
    ip = address[:16]
    if ip.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, ip[12:])
    scope = int.from_bytes(address[16:20], "little")
    text = socket.inet_ntop(socket.AF_INET6, ip)
    # Go prints the interface's name; its number says the same without asking the kernel.
    return bracketed(f"{text}%{scope}" if scope and ip[0] == 0xFE and ip[1] & 0xC0 == 0x80 else text)
