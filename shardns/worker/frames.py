"""What a TCP connection needs of the core, and the two buffers that all connections share.

The core's own side of it is answering.py; tests have another.
"""

from __future__ import annotations

import enum
import mmap
import socket
import struct
from typing import Any, Final, Protocol

FRAME_MAX: Final = 65537  # octets of a frame: prefix and message (RFC 1035 s.4.2.2)
READ_MAX: Final = 65536  # octets asked for per read

_IPV4: Final = struct.Struct("=H2s4s8x")
_IPV6: Final = struct.Struct("=H2s4s16sI")

# cffi's objects have no types.
Cdata = Any
# What Python's sockets call an address depends on the family.
Address = tuple[Any, ...]


class Stop(enum.IntEnum):
    """Why the core stopped reading frames: enum shd_frames_stop."""

    DONE = 0
    MORE = 1
    CLOSE = 2


class Answering(Protocol):
    """What a connection needs of the core; tests have one of their own."""

    out: memoryview  # the replies of the last call of answer or fail

    @property
    def buffer(self) -> bytearray | mmap.mmap:
        """What was read; FRAME_MAX + READ_MAX octets."""

    def client(self, listener: int, peer: bytes) -> Cdata:
        """The far end of a connection, as answer wants it. peer: see sockaddr."""

    def answer(self, client: Cdata, start: int, end: int, now_ns: int, miss_room: int) -> Cdata:
        """Answer the whole frames in buffer[start:end]: a struct shd_frames, offsets relative to start."""

    def count(self, client: Cdata, duration_ns: int) -> None:
        """Count the replies of the last answer, duration_ns after they were read."""

    def fail(self, client: Cdata, packet: bytes, duration_ns: int) -> int:
        """The length of the SERVFAIL frame for packet, which is put into out and counted; 0 for none."""


def sockaddr(address: Address) -> bytes:
    """The struct sockaddr_in or sockaddr_in6 of an address as Python's sockets give it."""
    if len(address) == 2:
        host, port = address
        return _IPV4.pack(socket.AF_INET, port.to_bytes(2, "big"), socket.inet_aton(host))
    host, port, flow, scope = address
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return _IPV6.pack(socket.AF_INET6, port.to_bytes(2, "big"), flow.to_bytes(4, "big"), packed, scope)
