"""The part of Go's text/template that records are written with: text, and fields of the question between {{ and }}.

Known are .Name .Zone .Class .Type .Regex .Question.Name .Question.Qtype .Question.Qclass, .Group.NAME,
`index .Group "NAME"` and `index .Match NUMBER`, in parentheses or not, trim markers ({{- and -}}) and comments. All
else is refused by its name: an answer is shared by all clients, so nothing that differs between them can be in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from shardns.dns.answer import Question

_ACTION = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_COMMENT = re.compile(r"/\*.*\*/", re.DOTALL)
_FIELD = re.compile(r"\.[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_INDEX = re.compile(r"index\s+\.(Match|Group)\s+(?:([0-9]+)|\"([^\"\\]*)\"|`([^`]*)`)", re.ASCII)
_FIRST = re.compile(r"\s*(\.?\$?[\w.]*)", re.ASCII)
NO_VALUE = "<no value>"  # what Go writes for a key that a map has not
# Fields that exist in CoreDNS, and why not here.
_REFUSED = {
    ".Remote": "differs from client to client, and the answer is shared",
    ".Message": "differs from client to client, and the answer is shared",
    ".Meta": "needs the plugin metadata, which is not in this version",
}


@dataclass(frozen=True, slots=True)
class Match:
    """What a record's text is filled in with.

    groups are the captures by number, the whole match first; named are those with a name.
    """

    question: Question
    zone: str
    class_text: str
    type_text: str
    regex: str
    groups: Sequence[str]
    named: Mapping[str, str]


class UnfilledError(Exception):
    """A text that cannot be filled in: it indexes a capture that this expression has not."""


Part = Callable[[Match], str]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was understood.

    source       as it was written
    parts        one after the other they give the record
    fields       those it has of _FIELDS
    names        groups that are asked for by name, numbers those by number
    """

    source: str
    parts: tuple[Part, ...]
    fields: frozenset[str]
    names: frozenset[str]
    numbers: frozenset[int]

    def fill(self, match: Match) -> str:
        """The record for this question. Raises UnfilledError."""
        return "".join(part(match) for part in self.parts)


def parse(source: str) -> Text:
    """The text's parts. Raises ValueError with the reason for what is not in the subset."""
    parts: list[Part] = []
    uses = _Uses()
    at = 0
    trims = False
    while True:
        action = _ACTION.search(source, at)
        literal = source[at : action.start() if action else len(source)]
        if "{{" in literal:
            raise ValueError("unclosed action")
        literal = literal.lstrip() if trims else literal
        if action is None:
            parts.append(_constant(literal))
            return Text(source, tuple(parts), frozenset(uses.fields), frozenset(uses.names), frozenset(uses.numbers))
        parts.append(_constant(literal.rstrip() if action[1] else literal))
        trims = bool(action[3])
        at = action.end()
        said = action[2].strip()
        if not _COMMENT.fullmatch(said):
            parts.append(_action(said, uses))


@dataclass(slots=True)
class _Uses:
    """What a text asks for, while it is read."""

    fields: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)


def _action(said: str, uses: _Uses) -> Part:
    """What stands between the braces; what it asks for is added to uses."""
    while said.startswith("(") and said.endswith(")"):
        said = said[1:-1].strip()
    if _FIELD.fullmatch(said):
        return _field_part(said, uses)
    index = _INDEX.fullmatch(said)
    if index is None:
        raise ValueError(_why_not(said))
    if index[2] is not None:
        if index[1] == "Group":
            raise ValueError("index .Group takes a string")
        uses.numbers.add(int(index[2]))
        return _by_number(int(index[2]))
    if index[1] == "Match":
        raise ValueError("index .Match takes a number")
    key = index[3] if index[3] is not None else index[4]
    if key.isascii() and key.isdigit():
        # CoreDNS has the numbered captures among the groups, too.
        uses.numbers.add(int(key))
        return lambda match: match.groups[int(key)] if int(key) < len(match.groups) else ""
    uses.names.add(key)
    return lambda match: match.named.get(key, "")


def _field_part(said: str, uses: _Uses) -> Part:
    """A field."""
    if said in _FIELDS:
        uses.fields.add(said)
        return _FIELDS[said]
    key = said.removeprefix(".Group.")
    if key == said or "." in key:
        raise ValueError(_why_not(said))
    uses.names.add(key)
    return lambda match: match.named.get(key, NO_VALUE)


def _why_not(said: str) -> str:
    """The reason against what is not in the subset."""
    if not said:
        return "missing value for command"
    first = _FIRST.match(said)
    word = (first[1] if first else "") or said
    for name, reason in _REFUSED.items():
        if word == name or word.startswith(f"{name}."):
            return f"{word} {reason}"
    if word in {".Match", ".Group", ".Question"}:
        hint = {".Match": "index .Match 1", ".Group": ".Group.name", ".Question": ".Question.Name"}[word]
        return f"{word} alone is not in this version, {hint} is"
    if word.startswith("."):
        return f"{word} is no field of a question"
    return f"{{{{ {said} }}}} is not in this version: fields, .Group.name and index only"


def _constant(text: str) -> Part:
    """Text that stays."""
    return lambda _match: text


def _by_number(number: int) -> Part:
    """A capture by number."""

    def part(match: Match) -> str:
        if number >= len(match.groups):
            raise UnfilledError(f"error calling index: index out of range: {number}")
        return match.groups[number]

    return part


_FIELDS: dict[str, Part] = {
    ".Name": lambda match: match.question.name,
    ".Zone": lambda match: match.zone,
    ".Class": lambda match: match.class_text,
    ".Type": lambda match: match.type_text,
    ".Regex": lambda match: match.regex,
    ".Question.Name": lambda match: match.question.name,
    ".Question.Qtype": lambda match: str(match.question.qtype),
    ".Question.Qclass": lambda match: str(match.question.qclass),
}
