r"""Resource records in wire form out of zone-file text ("www.example.org. 30 IN A 192.0.2.1"), RFC 1035 s.5.

As miekg/dns reads one record (dns.NewRR): TTL and class may be left out and come in either order, a TTL may have units,
names without a final dot are complete all the same, "@" is the root, data of any type may be written as \# (RFC 3597).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shardns.dns import codes, names
from shardns.dns.answer import record
from shardns.dns.codes import Type

DEFAULT_TTL_S = 3600  # miekg/dns scan.go
MAX_STRING = 255  # octets of a character-string (RFC 1035 s.3.3)
MAX_DATA = 0xFFFF
MAX_TTL_S = 2**32 - 1

_TTL = re.compile(r"(?:[0-9]+[wdhms]?)+", re.IGNORECASE | re.ASCII)
_TTL_PART = re.compile(r"([0-9]+)([wdhms]?)", re.ASCII)
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a record; is_quoted: it stood in quotes, so it is data and nothing else."""

    text: str
    is_quoted: bool = False


def from_text(text: str) -> bytes:
    """The record, uncompressed. Raises ValueError with the reason for anything that is not one whole record."""
    words = _split(text)
    if not words:
        raise ValueError("no record")
    owner = _name(words.pop(0))
    ttl_s, rclass, rtype = _head(words)
    if words and words[0] == Word("\\#"):
        data = _generic(words[1:])
    elif rtype in (Type.SVCB, Type.HTTPS):
        data = _service(words)
    elif rtype in _FIELDS:
        data = _data_of(_FIELDS[rtype], words)
    else:
        raise ValueError(f"data of type {codes.type_text(rtype)} must be written as \\# LENGTH HEX (RFC 3597)")
    if len(data) > MAX_DATA:
        raise ValueError(f"data of {len(data)} octets, {MAX_DATA} is the limit")
    return record(owner, rtype, rclass, ttl_s, data)


def _head(words: list[Word]) -> tuple[int, int, int]:
    """TTL, class and type; they are taken from the words."""
    ttl_s: int | None = None
    rclass: int | None = None
    while words:
        word = words.pop(0)
        if ttl_s is None and _TTL.fullmatch(word.text):
            ttl_s = _ttl(word.text)
            continue
        if rclass is None and (found := _code(codes.class_value, word)) is not None:
            rclass = found
            continue
        rtype = _code(codes.type_value, word)
        if rtype is None or rtype in _NO_RECORDS:
            raise ValueError(f"{word.text!r} is no record type")
        return DEFAULT_TTL_S if ttl_s is None else ttl_s, codes.Class.IN if rclass is None else rclass, rtype
    raise ValueError("record without a type")


def _code(value: Callable[[str], int], word: Word) -> int | None:
    """What value says to the word; None if it does not know it. ANY is a type, too, so it is no class here."""
    if word.is_quoted or word.text.upper() == "ANY":
        return None
    try:
        return value(word.text)
    except ValueError:
        return None


def _ttl(text: str) -> int:
    """Seconds of "60", "1h30m" (BIND's units)."""
    total = sum(int(number) * _UNITS_S[unit] for number, unit in _TTL_PART.findall(text.lower()))
    if total > MAX_TTL_S:
        raise ValueError(f"TTL {text} is above {MAX_TTL_S}")
    return int(total)


# ---- words


def _split(text: str) -> list[Word]:
    """The words of one record. A record ends at the line's end, unless parentheses are open."""
    words: list[Word] = []
    at = depth = 0
    is_over = False
    while at < len(text):
        char = text[at]
        if char == ";":
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
            continue
        if char in "()":
            depth += 1 if char == "(" else -1
            if depth < 0:
                raise ValueError("closing ) without an opening one")
        elif char == "\n":
            is_over = is_over or (bool(words) and depth == 0)
        elif not char.isspace():
            if is_over:
                raise ValueError("more than one record")
            word, at = _quoted(text, at + 1) if char == '"' else _plain(text, at)
            words.append(word)
            continue
        at += 1
    if depth:
        raise ValueError("opening ( is not closed")
    return words


def _plain(text: str, at: int) -> tuple[Word, int]:
    """The word that begins at `at`, escapes kept, and where it ends."""
    start = at
    while at < len(text) and not text[at].isspace() and text[at] not in '();"':
        at += 2 if text[at] == "\\" else 1
    return Word(text[start:at]), at


def _quoted(text: str, at: int) -> tuple[Word, int]:
    """The string behind a quote, escapes kept, and where it ends."""
    start = at
    while at < len(text) and text[at] != '"':
        at += 2 if text[at] == "\\" else 1
    if at >= len(text):
        raise ValueError("quote is not closed")
    return Word(text[start:at], is_quoted=True), at + 1


# ---- data

Field = Callable[[Word], bytes]


def _data_of(fields: tuple[Field, ...], words: list[Word]) -> bytes:
    """The words as the fields of a type; the last field takes what is left where its kind has no end."""
    parts: list[bytes] = []
    for n, field in enumerate(fields):
        if field in _TO_THE_END and n == len(fields) - 1:
            if not words[n:]:
                raise ValueError("data is cut short")
            if field in {_hex, _base64}:
                parts.append(field(Word("".join(word.text for word in words[n:]))))
            else:
                parts += [field(word) for word in words[n:]]
            return b"".join(parts)
        if n >= len(words):
            raise ValueError("data is cut short")
        parts.append(field(words[n]))
    if len(words) > len(fields):
        raise ValueError(f"{words[len(fields)].text!r} is more than the type has")
    return b"".join(parts)


def _generic(words: list[Word]) -> bytes:
    """Data as LENGTH HEX... (RFC 3597 s.5)."""
    if not words:
        raise ValueError("data is cut short")
    length = _number(16)(words[0])
    data = _hex(Word("".join(word.text for word in words[1:])))
    if len(data) != struct.unpack("!H", length)[0]:
        raise ValueError(f"{len(data)} octets where {words[0].text} are announced")
    return data


def _name(word: Word) -> bytes:
    """A name."""
    if word.is_quoted or not word.text:
        raise ValueError(f"{word.text!r} is no name")
    return b"\0" if word.text == "@" else names.to_wire(word.text)


def _ip(version: int) -> Field:
    """An address of that IP version."""

    def field(word: Word) -> bytes:
        try:
            address = ipaddress.ip_address(word.text)
        except ValueError:
            address = None
        if address is None or address.version != version or "%" in word.text:
            raise ValueError(f"{word.text!r} is no IPv{version} address")
        return address.packed

    return field


def _number(bits: int) -> Field:
    """A number of 8, 16 or 32 bits."""
    size = {8: "!B", 16: "!H", 32: "!I"}[bits]

    def field(word: Word) -> bytes:
        if not (word.text.isascii() and word.text.isdigit()) or len(word.text) > 10 or int(word.text) >= 1 << bits:
            raise ValueError(f"{word.text!r} is no number of {bits} bits")
        return struct.pack(size, int(word.text))

    return field


def _period(word: Word) -> bytes:
    """Seconds of 32 bits, perhaps with units."""
    if not _TTL.fullmatch(word.text):
        raise ValueError(f"{word.text!r} is no time")
    return struct.pack("!I", _ttl(word.text))


def _octets(word: Word) -> bytes:
    r"""Text as octets, \X and \DDD resolved; without its length."""
    raw = word.text.encode("utf-8", "surrogateescape")
    found = bytearray()
    at = 0
    while at < len(raw):
        octet = raw[at]
        at += 1
        if octet == ord("\\"):
            digits = raw[at : at + 3]
            if len(digits) == 3 and digits.isdigit():
                octet, at = int(digits), at + 3
                if octet > 255:
                    raise ValueError(f"escape \\{digits.decode()} is above \\255")
            elif at < len(raw):
                octet, at = raw[at], at + 1
            else:
                raise ValueError("text ends in a backslash")
        found.append(octet)
    return bytes(found)


def _string(word: Word) -> bytes:
    """A character-string."""
    octets = _octets(word)
    if len(octets) > MAX_STRING:
        raise ValueError(f"string of {len(octets)} octets, {MAX_STRING} is the limit")
    return bytes((len(octets),)) + octets


def _strings(word: Word) -> bytes:
    """One of any number of character-strings."""
    return _string(word)


def _hex(word: Word) -> bytes:
    """Octets in hexadecimal."""
    try:
        return binascii.unhexlify(word.text)
    except (ValueError, binascii.Error):
        raise ValueError(f"{word.text!r} is not hexadecimal") from None


def _base64(word: Word) -> bytes:
    """Octets in base64."""
    try:
        return base64.b64decode(word.text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError(f"{word.text!r} is not base64") from None


# ---- SVCB and HTTPS (RFC 9460 s.2.1)

_PARAMETERS = ("mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath")
_LISTS = ("mandatory", "alpn", "ipv4hint", "ipv6hint")


def _service(words: list[Word]) -> bytes:
    """Priority, target and parameters, the parameters in the order of their numbers."""
    if len(words) < 2:
        raise ValueError("data is cut short")
    parameters: dict[int, bytes] = {}
    rest = [word.text for word in words[2:]]
    for n, word in enumerate(words[2:]):
        if word.is_quoted:
            continue  # the value of the one before
        name, mark, value = word.text.partition("=")
        if mark and not value and n + 1 < len(rest) and words[n + 3].is_quoted:
            value = rest[n + 1]
        key = _parameter_key(name)
        if key in parameters:
            raise ValueError(f"parameter {name} is given again")
        parameters[key] = _parameter(name.lower(), value)
    tail = b"".join(struct.pack("!HH", key, len(value)) + value for key, value in sorted(parameters.items()))
    return _number(16)(words[0]) + _name(words[1]) + tail


def _parameter_key(name: str) -> int:
    """The number of a parameter."""
    if name.lower() in _PARAMETERS:
        return _PARAMETERS.index(name.lower())
    digits = name.lower().removeprefix("key")
    if digits != name.lower() and digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) < 0xFFFF:
        return int(digits)
    raise ValueError(f"{name!r} is no parameter of a service")


def _parameter(name: str, value: str) -> bytes:
    """A parameter's value in wire form."""
    if name == "no-default-alpn":
        if value:
            raise ValueError("no-default-alpn has no value")
        return b""
    if name in _LISTS and not value:
        raise ValueError(f"{name} needs a value")
    if name == "mandatory":
        return b"".join(struct.pack("!H", key) for key in sorted(map(_parameter_key, value.split(","))))
    one = {
        "alpn": lambda text: _string(Word(text)),
        "ipv4hint": lambda text: _ip(4)(Word(text)),
        "ipv6hint": lambda text: _ip(6)(Word(text)),
    }.get(name)
    if one is not None:
        return b"".join(one(text) for text in value.split(","))
    if name == "port":
        return _number(16)(Word(value))
    return _base64(Word(value)) if name == "ech" else _octets(Word(value))


# ---- the types

_NO_RECORDS = frozenset(
    {Type.OPT, Type.TSIG, Type.TKEY, Type.IXFR, Type.AXFR, Type.MAILA, Type.MAILB, Type.ANY}
)  # questions and signatures of messages
_U8, _U16, _U32 = _number(8), _number(16), _number(32)
_KEY = (_U16, _U8, _U8, _base64)
_DIGEST = (_U16, _U8, _U8, _hex)
_TO_THE_END = (_strings, _hex, _base64)
_FIELDS: Mapping[int, tuple[Field, ...]] = {
    Type.A: (_ip(4),),
    Type.NS: (_name,),
    Type.CNAME: (_name,),
    Type.SOA: (_name, _name, _U32, _period, _period, _period, _period),
    Type.PTR: (_name,),
    Type.HINFO: (_string, _string),
    Type.MINFO: (_name, _name),
    Type.MX: (_U16, _name),
    Type.TXT: (_strings,),
    Type.RP: (_name, _name),
    Type.AFSDB: (_U16, _name),
    Type.AAAA: (_ip(6),),
    Type.SRV: (_U16, _U16, _U16, _name),
    Type.NAPTR: (_U16, _U16, _string, _string, _string, _name),
    Type.KX: (_U16, _name),
    Type.DNAME: (_name,),
    Type.DS: _DIGEST,
    Type.SSHFP: (_U8, _U8, _hex),
    Type.DNSKEY: _KEY,
    Type.TLSA: (_U8, _U8, _U8, _hex),
    Type.SMIMEA: (_U8, _U8, _U8, _hex),
    Type.CDS: _DIGEST,
    Type.CDNSKEY: _KEY,
    Type.OPENPGPKEY: (_base64,),
    Type.SPF: (_strings,),
    Type.URI: (_U16, _U16, _octets),
    Type.CAA: (_U8, _string, _octets),
}
