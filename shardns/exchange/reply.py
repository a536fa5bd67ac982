"""What an upstream's message is worth as the answer to one question. Pure; reads bytes, builds at most a header.

The upstream process parses answers fully when it stores them. Here is decided only what the exchange itself must know:
does it answer what was asked, is it whole, must it be asked for again.
"""

from __future__ import annotations

from enum import IntEnum

QR = 0x80  # third byte of the header
TC = 0x02  # third byte of the header
RCODE = 0x0F  # fourth byte
HEADER_SIZE = 12
_ONE = b"\0\1"
_POINTER = 0xC0
_FIXED = 10  # type, class, TTL, length of data
_BARE_RCODES = frozenset((1, 2, 4, 5))  # FORMERR, SERVFAIL, NOTIMP, REFUSED


class Verdict(IntEnum):
    """What a message is, held against the question that was asked."""

    GOOD = 0
    TRUNCATED = 1  # TC is set
    CUT = 2  # ends before the records that its header counts (RFC 1035 s.4.1.1): truncated without saying so
    MALFORMED = 3  # not a response, or shorter than its own question
    WRONG_QUESTION = 4
    BARE_ERROR = 5  # an error without a question section, as some servers send it


GOOD = Verdict.GOOD


def question_of(query: bytes) -> bytes:
    """Name, type and class as they stand in a query of ours. Raises ValueError when they run past its end."""
    end = HEADER_SIZE
    size = len(query)
    while end < size and query[end]:
        end += 1 + query[end]
    end += 5
    if end > size:
        raise ValueError("query without a whole question")
    return query[HEADER_SIZE:end]


def judge(wire: bytes, question: bytes) -> Verdict:
    """What wire is as an answer to question (name, type, class in wire format). Any bytes may come in.

    Names are compared without case (RFC 4343): an upstream may fold what it echoes.
    """
    end = HEADER_SIZE + len(question)
    if wire[4:6] != _ONE or wire[HEADER_SIZE:end] != question:
        verdict = _compare(wire, question)
        if verdict:
            return verdict
    flags = wire[2]
    if flags & (QR | TC) != QR:
        return Verdict.TRUNCATED if flags & QR else Verdict.MALFORMED
    # Walk over the records, counting down what the header promises.
    left = (wire[6] << 8 | wire[7]) + (wire[8] << 8 | wire[9]) + (wire[10] << 8 | wire[11])
    off = end
    try:
        while left:
            first = wire[off]
            if first >= _POINTER:
                off += 2
            elif first:
                off = _name_end(wire, off)
            else:
                off += 1
            off += _FIXED + (wire[off + 8] << 8 | wire[off + 9])
            left -= 1
    except IndexError:
        return Verdict.CUT
    return GOOD if off <= len(wire) else Verdict.CUT


def bare_error(wire: bytes, question: bytes) -> bytes:
    """The error that wire is, with the question it left out, and nothing else."""
    return wire[:4] + b"\0\1\0\0\0\0\0\0" + question


def as_truncated(wire: bytes, question: bytes) -> bytes:
    """Header and question of wire, no records, TC set: sends the client to TCP (as CoreDNS's truncateResponse)."""
    return wire[:2] + bytes((wire[2] | TC, wire[3])) + b"\0\1\0\0\0\0\0\0" + question


def _compare(wire: bytes, question: bytes) -> Verdict:
    """GOOD when the questions differ in the case of the name at most."""
    if len(wire) < HEADER_SIZE:
        return Verdict.MALFORMED
    if wire[4:6] == b"\0\0" and wire[2] & QR and wire[3] & RCODE in _BARE_RCODES:
        return Verdict.BARE_ERROR
    end = HEADER_SIZE + len(question)
    theirs = wire[HEADER_SIZE:end]
    # Lengths of labels are at most 63, below "A"; type and class may look like letters and are compared as they are.
    if wire[4:6] == _ONE and theirs[-4:] == question[-4:] and theirs[:-4].lower() == question[:-4].lower():
        return GOOD
    return Verdict.MALFORMED if len(theirs) < len(question) else Verdict.WRONG_QUESTION


def _name_end(wire: bytes, off: int) -> int:
    """The offset behind the name at off; raises IndexError when it runs past the end."""
    while True:
        length = wire[off]
        if length >= _POINTER:
            return off + 2
        off += 1 + length
        if not length:
            return off
