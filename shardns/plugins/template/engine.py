"""What the templates of a block say to a question. CoreDNS 1.13.2 plugin/template/template.go. Pure, but for counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shardns import re2
from shardns.dns import codes, names, records
from shardns.dns.answer import Answer, Question, Refusal
from shardns.metrics import LocalCounts
from shardns.plugins.template.text import Match, Text, UnfilledError, parse


class StanzaLike(Protocol):
    """One template directive's Config."""

    @property
    def qclass(self) -> str:
        """As a word; ANY takes all."""

    @property
    def qtype(self) -> str:
        """Likewise."""

    @property
    def zones(self) -> tuple[str, ...]:
        """Normalised."""

    @property
    def match(self) -> tuple[str, ...]:
        """RE2; the first that is found in the name counts."""

    @property
    def answer(self) -> tuple[str, ...]:
        """Texts of records, as are the next two."""

    @property
    def additional(self) -> tuple[str, ...]:
        """See answer."""

    @property
    def authority(self) -> tuple[str, ...]:
        """See answer."""

    @property
    def rcode(self) -> str:
        """As a word."""

    @property
    def fallthrough(self) -> tuple[str, ...]:
        """Zones; empty for none."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A record that came to nothing. is_record: its text could be filled in, but is no record."""

    section: str
    source: str
    is_record: bool
    reason: str


class Template:
    """One directive, ready to be asked."""

    def __init__(self, stanza: StanzaLike) -> None:
        """Raises ValueError for what setup() has not looked at."""
        self.zones = stanza.zones
        self.qclass = codes.class_value(stanza.qclass)
        self.qtype = codes.type_value(stanza.qtype)
        self.rcode = codes.rcode_value(stanza.rcode)
        self.fallthrough = stanza.fallthrough
        self._patterns = [(pattern, re2.parse(pattern).compiled) for pattern in stanza.match]
        self._answer = _texts("answer", stanza.answer)
        self._additional = _texts("additional", stanza.additional)
        self._authority = _texts("authority", stanza.authority)

    def takes(self, question: Question) -> str | None:
        """The zone of ours that the question's name lies in, if class and type fit, too."""
        zone = longest(question.name, self.zones)
        if zone is None or not _fits(self.qclass, question.qclass, codes.Class.ANY):
            return None
        return zone if _fits(self.qtype, question.qtype, codes.Type.ANY) else None

    def match(self, question: Question, zone: str) -> Match | None:
        """What the first expression finds in the name; None if none does."""
        for pattern, compiled in self._patterns:
            found = compiled.search(question.name)
            if found is not None:
                qclass = self.qclass if question.qclass == codes.Class.ANY else question.qclass
                qtype = self.qtype if question.qtype == codes.Type.ANY else question.qtype
                return Match(question, zone, _class_text(qclass), _type_text(qtype), pattern, *_captures(found))
        return None

    def fill(self, match: Match) -> Answer | Failed:
        """The records for a match."""
        sections: list[list[bytes]] = []
        for section in (self._answer, self._additional, self._authority):
            filled: list[bytes] = []
            for one in section:
                wire = one.fill(match)
                if isinstance(wire, Failed):
                    return wire
                filled.append(wire)
            sections.append(filled)
        answer, additional, authority = sections
        follows = match.question.qtype in (codes.Type.A, codes.Type.AAAA)
        return Answer(answer, authority, additional, self.rcode, is_followed=follows)


class Engine:
    """All template directives of a block, in the order of the file."""

    def __init__(self, stanzas: Iterable[StanzaLike], counts: LocalCounts) -> None:
        """Raises ValueError for what setup() has not looked at."""
        self._templates = [Template(stanza) for stanza in stanzas]
        self._counts = counts

    def answer(self, question: Question, server: str) -> Answer | Refusal | None:
        """What the first template that fits says; None: the next plugin is to be asked.

        One whose expressions do not fit refuses, unless its fallthrough lets the question go on.
        """
        for template in self._templates:
            zone = template.takes(question)
            if zone is None:
                continue
            match = template.match(question, zone)
            if match is None:
                if longest(question.name, template.fallthrough) is None:
                    return Refusal()
                continue
            labels = (server, zone, match.class_text, match.type_text)
            self._counts.template_matches[labels] += 1
            if template.rcode == codes.Rcode.SERVFAIL:
                return Refusal()
            said = template.fill(match)
            if isinstance(said, Failed):
                self._count(said, labels)
                return Refusal(said.reason)
            return said
        return None

    def _count(self, failed: Failed, labels: tuple[str, ...]) -> None:
        """Count a record that came to nothing."""
        counter = self._counts.template_rr_failures if failed.is_record else self._counts.template_failures
        counter[(*labels, failed.section, failed.source)] += 1


@dataclass(frozen=True, slots=True)
class _Record:
    """A record of a section: its text, and the record itself where that is always the same."""

    section: str
    text: Text
    wire: bytes | None

    def fill(self, match: Match) -> bytes | Failed:
        """The record for a match."""
        if self.wire is not None:
            return self.wire
        try:
            filled = self.text.fill(match)
        except UnfilledError as error:
            reason = f"template: {self.section}: executing {self.text.source!r}: {error}"
            return Failed(self.section, self.text.source, is_record=False, reason=reason)
        try:
            return records.from_text(filled)
        except ValueError as error:
            reason = f"template: {self.section} {filled!r}: {error}"
            return Failed(self.section, self.text.source, is_record=True, reason=reason)


def _texts(section: str, sources: Sequence[str]) -> list[_Record]:
    """The records of a section, parsed as far as they are constant."""
    found = []
    for source in sources:
        text = parse(source)
        found.append(_Record(section, text, None if "{{" in source else records.from_text(source)))
    return found


def sample(text: Text, stanza: StanzaLike) -> None:
    """Raise ValueError if the text, filled in for a question that the stanza takes, is no record.

    A text with captures, or with a type that may be any, is left alone: nobody can say at load what it will be.
    """
    if text.names or text.numbers or (stanza.qtype == "ANY" and text.fields & {".Type", ".Question.Qtype"}):
        return
    zone = stanza.zones[0]
    qclass = "IN" if stanza.qclass == "ANY" else stanza.qclass
    qtype = "A" if stanza.qtype == "ANY" else stanza.qtype
    name = "name." if zone == "." else f"name.{zone}"
    question = Question(name, codes.type_value(qtype), codes.class_value(qclass), b"")
    records.from_text(text.fill(Match(question, zone, qclass, qtype, stanza.match[0], (), {})))


def longest(name: str, zones: Iterable[str]) -> str | None:
    """The longest zone that name is in or below; None outside all. All normalised."""
    return max((zone for zone in zones if names.is_subdomain(name, zone)), key=len, default=None)


def _fits(ours: int, asked: int, any_: int) -> bool:
    """True if one of them is ANY, or both are equal."""
    return ours == any_ or asked in (any_, ours)


def _class_text(value: int) -> str:
    """A class as Go's library names it: one without a name is empty, so clients cannot make series of metrics."""
    text = codes.class_text(value)
    return "" if text.startswith("CLASS") else text


def _type_text(value: int) -> str:
    """A type, likewise."""
    text = codes.type_text(value)
    return "" if text.startswith("TYPE") else text


def _captures(found: re.Match[str]) -> tuple[list[str], dict[str, str]]:
    """The captures by number, the whole match first, and by name; one that took no part is empty, as in Go."""
    numbered = [found[0], *(group or "" for group in found.groups())]
    return numbered, {name: found[name] or "" for name in found.re.groupindex}
