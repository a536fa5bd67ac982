"""Code points of the DNS and their names, from IANA's "Domain Name System (DNS) Parameters".

A value without a name is kept, never dropped: TYPE123 and CLASS9 (RFC 3597 s.5), RCODE17 likewise.
"""

from __future__ import annotations

from enum import IntEnum


class Class(IntEnum):
    """Classes (RFC 1035 s.3.2.4, RFC 2136, RFC 6895)."""

    IN = 1
    CS = 2
    CH = 3
    HS = 4
    NONE = 254
    ANY = 255


class Rcode(IntEnum):
    """Response codes, extended ones included; the names are those CoreDNS prints in logs and metrics."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    YXDOMAIN = 6
    YXRRSET = 7
    NXRRSET = 8
    NOTAUTH = 9
    NOTZONE = 10
    BADVERS = 16
    BADKEY = 17
    BADTIME = 18
    BADMODE = 19
    BADNAME = 20
    BADALG = 21
    BADTRUNC = 22
    BADCOOKIE = 23


class Opcode(IntEnum):
    """Operation codes."""

    QUERY = 0
    IQUERY = 1
    STATUS = 2
    NOTIFY = 4
    UPDATE = 5
    DSO = 6


class Type(IntEnum):
    """Record types and the types that only a question may have."""

    A = 1
    NS = 2
    MD = 3
    MF = 4
    CNAME = 5
    SOA = 6
    MB = 7
    MG = 8
    MR = 9
    NULL = 10
    WKS = 11
    PTR = 12
    HINFO = 13
    MINFO = 14
    MX = 15
    TXT = 16
    RP = 17
    AFSDB = 18
    X25 = 19
    ISDN = 20
    RT = 21
    NSAP = 22
    NSAPPTR = 23
    SIG = 24
    KEY = 25
    PX = 26
    GPOS = 27
    AAAA = 28
    LOC = 29
    NXT = 30
    EID = 31
    NIMLOC = 32
    SRV = 33
    ATMA = 34
    NAPTR = 35
    KX = 36
    CERT = 37
    A6 = 38
    DNAME = 39
    OPT = 41
    APL = 42
    DS = 43
    SSHFP = 44
    IPSECKEY = 45
    RRSIG = 46
    NSEC = 47
    DNSKEY = 48
    DHCID = 49
    NSEC3 = 50
    NSEC3PARAM = 51
    TLSA = 52
    SMIMEA = 53
    HIP = 55
    CDS = 59
    CDNSKEY = 60
    OPENPGPKEY = 61
    CSYNC = 62
    ZONEMD = 63
    SVCB = 64
    HTTPS = 65
    SPF = 99
    NID = 104
    L32 = 105
    L64 = 106
    LP = 107
    EUI48 = 108
    EUI64 = 109
    TKEY = 249
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255
    URI = 256
    CAA = 257


_TYPE_TEXT = {int(value): value.name for value in Type} | {int(Type.NSAPPTR): "NSAP-PTR"}
_TYPE_VALUE = {text: value for value, text in _TYPE_TEXT.items()}


def type_text(value: int) -> str:
    """The type's name; TYPE<n> when it has none."""
    return _TYPE_TEXT.get(value) or f"TYPE{value}"


def type_value(text: str) -> int:
    """The type called text, in any case, or TYPE<n>. Raises ValueError for any other word."""
    word = text.upper()
    found = _TYPE_VALUE.get(word)
    return _numbered(word, "TYPE") if found is None else found


def class_text(value: int) -> str:
    """The class's name; CLASS<n> when it has none."""
    return Class(value).name if value in Class._value2member_map_ else f"CLASS{value}"


def class_value(text: str) -> int:
    """The class called text, in any case, or CLASS<n>. Raises ValueError for any other word."""
    word = text.upper()
    return Class[word].value if word in Class.__members__ else _numbered(word, "CLASS")


def rcode_text(value: int) -> str:
    """The response code's name; RCODE<n> when it has none."""
    return Rcode(value).name if value in Rcode._value2member_map_ else f"RCODE{value}"


def rcode_value(text: str) -> int:
    """The response code called text, in any case, or RCODE<n>. Raises ValueError for any other word."""
    word = text.upper()
    return Rcode[word].value if word in Rcode.__members__ else _numbered(word, "RCODE")


def _numbered(word: str, prefix: str) -> int:
    """The number behind prefix, 0 to 65535."""
    digits = word.removeprefix(prefix)
    if word.startswith(prefix) and digits.isascii() and digits.isdigit() and len(digits) <= 5 and int(digits) <= 0xFFFF:
        return int(digits)
    raise ValueError(f"unknown {prefix.lower()} {word!r}")
