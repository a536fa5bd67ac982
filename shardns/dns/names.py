"""Domain names in their two forms: presentation text ("www.example.org.") and wire format (RFC 1035 s.3.1, 5.1).

Text that leaves this module is escaped as CoreDNS's library (miekg/dns) does it, so that metrics and log lines agree.
"""

from __future__ import annotations

import ipaddress

from shardns.errors import Malformed

MAX_WIRE = 255  # bytes of a whole name, root byte included (RFC 1035 s.2.3.4)
MAX_LABEL = 63  # bytes of one label
_BACKSLASH = 0x5C
_DOT = 0x2E
_ESCAPED = frozenset(b".\\ '@;()\"")
_DIGITS = frozenset(b"0123456789")
_FOLD = bytes(c + 32 if 0x41 <= c <= 0x5A else c for c in range(256))
_POINTER = 0xC0
_POINTER_MASK = 0x3FFF


def normalize(text: str) -> str:
    """The name in lower case, canonical escapes, with its trailing dot; "." is the root.

    Raises ValueError for empty text, an empty label, a label over 63 bytes, a name over 255 bytes or a broken escape.
    """
    return from_wire(fold(to_wire(text)))


def to_wire(text: str) -> bytes:
    """The name in wire format, root byte included, without compression; the case is kept.

    A missing trailing dot is added; characters outside ASCII become their UTF-8 bytes. Raises ValueError as normalize.
    """
    if text == ".":
        return b"\0"
    labels = _split(text)
    wire = b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    if len(wire) > MAX_WIRE:
        raise ValueError(f"name is {len(wire)} bytes long, {MAX_WIRE} is the limit")
    return wire


def from_wire(wire: bytes, off: int = 0) -> str:
    """The name that begins at off, as escaped text with its trailing dot; the case is kept.

    Compression pointers are followed when they point backwards (RFC 1035 s.4.1.4). Raises Malformed for a name that
    leaves the buffer, loops, is over 255 bytes, or uses a reserved label type.
    """
    labels: list[str] = []
    total = 1
    while True:
        length = _byte(wire, off)
        if length == 0:
            return "".join(labels) or "."
        if length & _POINTER == _POINTER:
            target = (length << 8 | _byte(wire, off + 1)) & _POINTER_MASK
            if target >= off:
                raise Malformed("compression pointer does not point backwards")
            # A pointer chain that goes backwards may still repeat labels; the length limit below ends it.
            off = target
            continue
        if length > MAX_LABEL:
            raise Malformed("reserved label type")
        total += length + 1
        if total > MAX_WIRE or off + 1 + length > len(wire):
            raise Malformed("name runs past its limit")
        labels.append(_escape(wire[off + 1 : off + 1 + length]) + ".")
        off += 1 + length


def end(wire: bytes, off: int) -> int:
    """The offset just behind the name at off, pointers not followed. Raises Malformed as from_wire."""
    start = off
    while True:
        length = _byte(wire, off)
        if length == 0:
            return off + 1
        if length & _POINTER == _POINTER:
            _byte(wire, off + 1)
            return off + 2
        if length > MAX_LABEL:
            raise Malformed("reserved label type")
        off += 1 + length
        if off - start >= MAX_WIRE:
            raise Malformed("name runs past its limit")


def fold(wire: bytes) -> bytes:
    """The wire name (or any bytes) with ASCII capitals made small (RFC 4343); length bytes are too small to be hit."""
    return wire.translate(_FOLD)


def is_subdomain(name: str, zone: str) -> bool:
    r"""True if name is zone or lies below it; both as normalize returns them.

    An escaped dot is no label border: "a\.example." is not below "example.".
    """
    if zone in {".", name}:
        return True
    if not name.endswith("." + zone):
        return False
    head = name[: -len(zone) - 1]
    return (len(head) - len(head.rstrip("\\"))) % 2 == 0


def labels(name: str) -> int:
    """How many labels a normalised name has; the root has none."""
    return 0 if name == "." else len(_split(name))


def ip_text(text: str) -> str | None:
    """The IP address in its canonical form (RFC 5952), with %interface kept on IPv6; None if it is none."""
    address, percent, scope = text.partition("%")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    if percent and (found.version == 4 or not scope):
        return None
    return f"{found}{percent}{scope}"


def _split(text: str) -> list[bytes]:
    """The labels of a name as bytes, escapes resolved. Raises ValueError as normalize."""
    raw = text.encode("utf-8", "surrogateescape")
    found: list[bytes] = []
    label = bytearray()
    at = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        if byte == _DOT:
            found.append(_checked(label))
            label = bytearray()
            continue
        if byte == _BACKSLASH:
            byte, at = _unescape(raw, at)
        label.append(byte)
    if label:
        found.append(_checked(label))
    if not found:
        raise ValueError("name is empty")
    return found


def _checked(label: bytearray) -> bytes:
    """The finished label, if its length is legal."""
    if not label:
        raise ValueError("name has an empty label")
    if len(label) > MAX_LABEL:
        raise ValueError(f"label is {len(label)} bytes long, {MAX_LABEL} is the limit")
    return bytes(label)


def _unescape(raw: bytes, at: int) -> tuple[int, int]:
    r"""The byte that the escape before `at` stands for (\DDD or \X, RFC 1035 s.5.1), and the offset behind it."""
    if at >= len(raw):
        raise ValueError("name ends in a backslash")
    digits = raw[at : at + 3]
    if len(digits) == 3 and _DIGITS.issuperset(digits):
        value = int(digits)
        if value > 255:
            raise ValueError(f"escape \\{digits.decode()} is above \\255")
        return value, at + 3
    return raw[at], at + 1


def _escape(label: bytes) -> str:
    r"""The label as text: specials as \X, anything outside printable ASCII as \DDD."""
    return "".join(
        f"\\{byte:03d}" if not 0x20 <= byte <= 0x7E else "\\" + chr(byte) if byte in _ESCAPED else chr(byte)
        for byte in label
    )


def _byte(wire: bytes, off: int) -> int:
    """One byte, if it is inside the buffer."""
    if not 0 <= off < len(wire):
        raise Malformed("name leaves the message")
    return wire[off]
