"""The words of a Corefile template that stand for what only the running program knows. Pure.

They are replaced as text, as node-cache does it, comments included. What is still there after parsing is an error at
its place: node-cache serves a zone of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shardns.corefile import Directive, ServerBlock, Token
from shardns.errors import ConfigError, Position

CLUSTER = "__PILLAR__CLUSTER__DNS__"
LOCAL = "__PILLAR__LOCAL__DNS__"
SERVER = "__PILLAR__DNS__SERVER__"
UPSTREAM = "__PILLAR__UPSTREAM__SERVERS__"
DOMAIN = "__PILLAR__DNS__DOMAIN__"
ENDPOINT = "__PROMETHEUS__ENDPOINT__"
ALL = (CLUSTER, LOCAL, SERVER, UPSTREAM, DOMAIN, ENDPOINT)

_ANY = re.compile(r"__(?:PILLAR|PROMETHEUS)__(?:[A-Z]+(?:__?[A-Z]+)*__)?")
_LOCAL_HOST = re.compile(rf"\[{LOCAL}\]|{LOCAL}(?=:)")


@dataclass(frozen=True, slots=True)
class Lack:
    """Why a placeholder is not replaced, and what to do."""

    why: str
    remedy: str


def fill(text: str, values: Mapping[str, str], local_ips: Sequence[str] = ()) -> str:
    """The text with every placeholder that has a value replaced by it.

    DIFFERS: where one address must stand ("health __PILLAR__LOCAL__DNS__:8080"), LOCAL is the first of local_ips, with
    brackets where it is IPv6; node-cache puts all of them there.
    """
    if local_ips:
        first = local_ips[0]
        text = _LOCAL_HOST.sub(f"[{first}]" if ":" in first else first, text)
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def are_in(text: str) -> bool:
    """Whether the text is a template."""
    return _ANY.search(text) is not None


def left(blocks: Iterable[ServerBlock], lacks: Mapping[str, Lack]) -> tuple[list[ConfigError], frozenset[Position]]:
    """An error for every placeholder that the blocks still hold, at its first place; and all their places.

    lacks says why they are there, of those it knows.
    """
    places: dict[str, list[Position]] = {}
    for token in _words(blocks):
        for match in _ANY.finditer(token.text):
            places.setdefault(match[0], []).append(token.at)
    errors = []
    for name, at in places.items():
        lack = lacks.get(name, Lack("this program knows no such placeholder", f"known are {', '.join(ALL)}"))
        also = f" ({len(at)} places)" if len(at) > 1 else ""
        errors.append(ConfigError(at[0], f"{name} is not filled in{also}: {lack.why}", hint=lack.remedy))
    return errors, frozenset(place for at in places.values() for place in at)


def _words(blocks: Iterable[ServerBlock]) -> Iterator[Token]:
    """Every word."""
    for block in blocks:
        yield from block.keys
        for directive in block.directives:
            yield from _words_of(directive)


def _words_of(directive: Directive) -> Iterator[Token]:
    """The words of a line and of those in its braces."""
    yield Token(directive.name, directive.at)
    yield from directive.args
    for line in directive.body:
        yield from _words_of(line)
