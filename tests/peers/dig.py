"""dig as a client, its output taken apart."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

_HEADER = re.compile(r"opcode: (\w+), status: (\w+), id: (\d+)")
_FLAGS = re.compile(r"^;; flags: ?([\w ]*);", re.MULTILINE)
_EDNS = re.compile(r"^; EDNS: version: (\d+), flags: ?([\w ]*); udp: (\d+)", re.MULTILINE)
_SECTION = re.compile(r"^;; (QUESTION|ANSWER|AUTHORITY|ADDITIONAL) SECTION:\n((?:.+\n?)*)", re.MULTILINE)
_SIZE = re.compile(r"MSG SIZE +rcvd: (\d+)")


@dataclass(frozen=True)
class Record:
    """One line of a section: data is what stands behind the type."""

    name: str
    ttl_s: int
    rtype: str
    data: str


@dataclass(frozen=True)
class Edns:
    """The OPT of an answer; size is the UDP payload in bytes that the server takes."""

    version: int
    flags: frozenset[str]
    size: int


@dataclass(frozen=True)
class Answer:
    """What dig shows of the last answer it received; by_tcp also where it came after a truncated one."""

    opcode: str
    status: str
    id: int
    flags: frozenset[str]
    edns: Edns | None
    question: str
    answer: tuple[Record, ...]
    authority: tuple[Record, ...]
    additional: tuple[Record, ...]
    size: int
    by_tcp: bool
    text: str

    def data(self) -> list[str]:
        """The data of the answer section, sorted."""
        return sorted(record.data for record in self.answer)


class NoAnswerError(Exception):
    """dig gave up; the text is its output."""


def dig(*args: str, port: int, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> Answer:
    """The answer to a query asked in dig's own words ("-t", "SRV", "_http._tcp.web", "+tcp").

    Asks once and waits two seconds unless args say otherwise; prefix runs it elsewhere ("ip", "netns", "exec", NAME).
    Raises NoAnswerError where dig receives none.
    """
    command = [*prefix, "dig", f"@{host}", "-p", str(port), "+tries=1", "+time=2", "+nocmd", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode or "->>HEADER<<-" not in done.stdout:
        raise NoAnswerError(done.stdout + done.stderr)
    return parse(done.stdout)


def parse(text: str) -> Answer:
    """The answer that dig's output shows."""
    header = _HEADER.search(text)
    flags = _FLAGS.search(text)
    size = _SIZE.search(text)
    assert header, text
    assert flags, text
    edns = _EDNS.search(text)
    sections = dict(_SECTION.findall(text))
    return Answer(
        opcode=header[1],
        status=header[2],
        id=int(header[3]),
        flags=frozenset(flags[1].split()),
        edns=Edns(int(edns[1]), frozenset(edns[2].split()), int(edns[3])) if edns else None,
        question=" ".join(sections.get("QUESTION", "").lstrip(";").split()),
        answer=_records(sections.get("ANSWER", "")),
        authority=_records(sections.get("AUTHORITY", "")),
        additional=_records(sections.get("ADDITIONAL", "")),
        size=int(size[1]) if size else 0,
        by_tcp="(TCP)" in text,
        text=text,
    )


def _records(body: str) -> tuple[Record, ...]:
    """The lines of one section."""
    found = []
    for line in body.splitlines():
        name, ttl, _, rtype, data = line.split(maxsplit=4)
        found.append(Record(name, int(ttl), rtype, data))
    return tuple(found)
