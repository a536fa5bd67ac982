"""Log records for tests."""

import socket
import struct
from dataclasses import replace

from shardns.dns import codes, names
from shardns.querylog import LogRecord
from shardns.querylog.record import SUCCESS


def sockaddr(host, port, scope=0):
    """The struct sockaddr_in or sockaddr_in6 of an address."""
    if ":" in host:
        packed = socket.inet_pton(socket.AF_INET6, host)
        return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI", port, 0) + packed + struct.pack("=I", scope)
    return struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)


BASE = LogRecord(
    duration_ns=401_617,
    request_len=56,
    response_len=89,
    listener=0,
    id=61744,
    qtype=1,
    qclass=1,
    query_flags=0x0100,
    reply_flags=0x8180,
    udp_size=512,
    rcode=0,
    dnssec_ok=0,
    proto=0,
    log_class=SUCCESS,
    peer=sockaddr("192.0.2.7", 4431),
    name=names.to_wire("www.example.org."),
)


def record(name=None, qtype=None, peer=None, **fields):
    """BASE with these fields in place; name, qtype and peer ((host, port)) as text."""
    if name is not None:
        fields["name"] = names.to_wire(name)
    if qtype is not None:
        fields["qtype"] = codes.type_value(qtype)
    if peer is not None:
        fields["peer"] = sockaddr(*peer)
    return replace(BASE, **fields)
