"""DNS messages octet by octet, right and wrong ones, and bare sockets for them: what no client library would send."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

HEADER = struct.Struct("!6H")
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
A, NS, SOA, TXT, AAAA, OPT, AXFR, ANY = 1, 2, 6, 16, 28, 41, 252, 255
OPCODE_SHIFT = 11


def name(text: str) -> bytes:
    """The name in wire form, its case kept."""
    labels = [label.encode() for label in text.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def question(text: str, rtype: int = A, rclass: int = 1) -> bytes:
    """One question."""
    return name(text) + struct.pack("!HH", rtype, rclass)


def opt(size: int = 1232, *, version: int = 0, do: bool = False, options: bytes = b"", owner: bytes = b"\0") -> bytes:
    """An OPT record (RFC 6891 s.6.1.2)."""
    flags = version << 16 | (0x8000 if do else 0)
    return owner + struct.pack("!HHIH", OPT, size, flags, len(options)) + options


def query(
    text: str, rtype: int = A, *, ident: int = 4711, flags: int = RD, extra: bytes = b"", extra_count: int | None = None
) -> bytes:
    """A query; extra is put behind the question and counted as one additional record, or as extra_count of them."""
    count = extra_count if extra_count is not None else int(bool(extra))
    return HEADER.pack(ident, flags, 1, 0, 0, count) + question(text, rtype) + extra


def rcode(message: bytes) -> int:
    """The lower four bits of the response code."""
    return message[3] & 15


def send(port: int, message: bytes, *, host: str = "127.0.0.1", timeout_s: float = 2) -> bytes | None:
    """The first datagram that comes back; None for silence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, port))
        sock.settimeout(timeout_s)
        sock.send(message)
        try:
            return sock.recv(65535)
        except TimeoutError:
            return None


def frame(message: bytes) -> bytes:
    """The message with its length before it (RFC 1035 s.4.2.2)."""
    return struct.pack("!H", len(message)) + message


class Stream:
    """A TCP client that reads whole frames. Raises EOFError once the other side has closed, TimeoutError on silence."""

    def __init__(self, sock: socket.socket) -> None:
        """Read from and write to sock."""
        self.sock = sock

    def send(self, *messages: bytes) -> None:
        """Nothing; all frames in one write."""
        self.sock.sendall(b"".join(frame(message) for message in messages))

    def receive(self) -> bytes:
        """The next message."""
        return self._exactly(struct.unpack("!H", self._exactly(2))[0])

    def is_closed(self, timeout_s: float) -> bool:
        """True as soon as the other side closes or resets; False if it has not within the time."""
        self.sock.settimeout(timeout_s)
        try:
            return self.sock.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True

    def _exactly(self, size: int) -> bytes:
        """The next size octets."""
        found = b""
        while len(found) < size:
            part = self.sock.recv(size - len(found))
            if not part:
                raise EOFError
            found += part
        return found


@contextlib.contextmanager
def stream(port: int, *, host: str = "127.0.0.1", timeout_s: float = 5) -> Iterator[Stream]:
    """A connected TCP client."""
    with socket.create_connection((host, port), timeout=timeout_s) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Stream(sock)
