"""Formats of the `log` plugin: "{remote}:{port} - {>id}" to a function that makes the line.

A format is taken apart once, when the configuration is loaded, by the rules of CoreDNS 1.13.2
plugin/pkg/replacer/replacer.go; after that a line costs one call per label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from shardns.dns import codes
from shardns.querylog.record import (
    TCP,
    LogRecord,
    bracketed,
    duration_text,
    flags_text,
    name_text,
    rcode_text,
    remote_ip,
    remote_port,
)

COMMON: Final = (
    '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" '
    "{rcode} {>rflags} {rsize} {duration}"
)
COMBINED: Final = COMMON + ' "{>opcode}"'
EMPTY: Final = "-"  # what CoreDNS prints for a value that is not there

Part = Callable[[LogRecord], str]

_type_text = lru_cache(maxsize=256)(codes.type_text)
_class_text = lru_cache(maxsize=16)(codes.class_text)


def _bufsize(record: LogRecord) -> str:
    """What the client takes: 65535 over TCP, at least 512 over UDP (CoreDNS plugin/pkg/edns/edns.go Size)."""
    return "65535" if record.proto == TCP else str(max(record.udp_size, 512))


_PARTS: Final[Mapping[str, Part]] = {
    "{type}": lambda record: _type_text(record.qtype),
    "{name}": lambda record: name_text(record.name),
    "{class}": lambda record: _class_text(record.qclass),
    "{proto}": lambda record: "tcp" if record.proto == TCP else "udp",
    "{size}": lambda record: str(record.request_len),
    "{remote}": remote_ip,
    "{port}": remote_port,
    "{rcode}": lambda record: rcode_text(record.rcode) if record.reply_flags else EMPTY,
    "{rsize}": lambda record: str(record.response_len) if record.reply_flags else "0",
    "{duration}": lambda record: duration_text(record.duration_ns),
    "{>id}": lambda record: str(record.id),
    "{>opcode}": lambda record: str(record.query_flags >> 11 & 15),
    "{>do}": lambda record: "true" if record.dnssec_ok else "false",
    "{>bufsize}": _bufsize,
    "{>rflags}": lambda record: flags_text(record.reply_flags) if record.reply_flags else EMPTY,
}


LOCAL: Final = "{local}"
LABELS: Final = frozenset({*_PARTS, LOCAL})


def expanded(text: str) -> str:
    """The format with {common} and {combined} replaced by what they stand for."""
    return text.replace("{common}", COMMON).replace("{combined}", COMBINED)


def compile_format(text: str, local_hosts: Mapping[int, str]) -> Callable[[LogRecord], str]:
    """A function that makes the line of a record.

    text         as expanded() gives it
    local_hosts  listener index to the address it listens on, for {local}

    A word in braces that is no label stays as it is; {/metadata} is always "-", as without CoreDNS's metadata plugin.
    """
    parts_by_label = dict(_PARTS)
    local = {listener: bracketed(host) for listener, host in local_hosts.items()}
    parts_by_label[LOCAL] = lambda record: local.get(record.listener, EMPTY)
    shape: list[str] = []
    parts: list[Part] = []
    for piece in split(text):
        part = parts_by_label.get(piece)
        if part is None:
            shape.append(EMPTY if _is_metadata(piece) else piece.replace("%", "%%"))
        else:
            shape.append("%s")
            parts.append(part)
    pattern = "".join(shape)
    return lambda record: pattern % tuple([part(record) for part in parts])


def split(text: str) -> list[str]:
    """The pieces of a format in order: labels, {/metadata} words, and what stands between them.

    A label ends at a "}" and begins at the last "{" before it, so "{ {name} }" holds one.
    """
    pieces: list[str] = []
    literal = 0
    at = 0
    while (close := text.find("}", at)) >= 0:
        begin = text.rfind("{", at, close)
        word = text[begin : close + 1] if begin >= 0 else ""
        if word and (word in LABELS or _is_metadata(word)):
            if begin > literal:
                pieces.append(text[literal:begin])
            pieces.append(word)
            literal = close + 1
        at = close + 1
    if literal < len(text):
        pieces.append(text[literal:])
    return pieces


def _is_metadata(word: str) -> bool:
    """Whether word is such as {/forward/upstream}."""
    return word.startswith("{/") and word.endswith("}")
