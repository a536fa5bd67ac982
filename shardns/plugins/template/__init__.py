"""template: answers made from the question. CoreDNS 1.13.2 plugin/template/setup.go.

template CLASS TYPE [ZONES...] {
    match REGEX...
    answer RECORD...
    additional RECORD...
    authority RECORD...
    rcode CODE
    ederror CODE [TEXT]
    fallthrough [ZONES...]
    upstream
}
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shardns import re2
from shardns.corefile import Directive, Token
from shardns.dns import codes
from shardns.errors import ConfigError, Problems
from shardns.plugins import api
from shardns.plugins.template.engine import sample
from shardns.plugins.template.text import Text, parse

NAME = "template"
# The targets of its CNAMEs are looked up, and what is found there may depend on both.
FACETS = frozenset({api.Facet.DO, api.Facet.CD})

EVERYTHING = ".*"


@dataclass(frozen=True, slots=True)
class Stanza:
    """One template directive; texts are as they were written."""

    qclass: str  # a class, or ANY
    qtype: str  # a type, or ANY
    zones: tuple[str, ...]  # default: those of the block
    match: tuple[str, ...] = (EVERYTHING,)  # RE2; the first that is found in the name counts
    answer: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    authority: tuple[str, ...] = ()
    rcode: str = "NOERROR"
    fallthrough: tuple[str, ...] = ()  # names below these go on when no expression fits; empty: none


@dataclass(frozen=True, slots=True)
class Config:
    """The template directives of a block, in order."""

    stanzas: tuple[Stanza, ...]


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """All template directives of a block."""
    return Config(api.each(directives, lambda directive: _stanza(directive, scope)))


def _stanza(directive: Directive, scope: api.Scope) -> Stanza:
    """One directive."""
    qclass, qtype, *rest = api.arguments(NAME, directive, 2)
    problems = Problems()
    stanza = Stanza("ANY", "ANY", scope.zones, match=())
    with problems.caught():
        stanza = replace(stanza, qclass=codes.class_text(_code("class", codes.class_value, qclass)))
    with problems.caught():
        stanza = replace(stanza, qtype=codes.type_text(_code("type", codes.type_value, qtype)))
    if rest:
        with problems.caught():
            stanza = replace(stanza, zones=api.zones(NAME, rest))
    repeatable = {"match", "answer", "additional", "authority"}
    with problems.caught():
        stanza = api.options(NAME, stanza, directive, scope, _OPTIONS, repeatable=repeatable)
    stanza = replace(stanza, match=stanza.match or (EVERYTHING,))
    problems.check()
    _check_records(stanza, directive)
    return stanza


def _code(what: str, value: Callable[[str], int], token: Token) -> int:
    """The number that a word stands for."""
    try:
        return value(token.text)
    except ValueError as error:
        raise ConfigError(token.at, f"template: {error}", hint=f"CLASS TYPE, like IN A; ANY is every {what}") from error


def _check_records(stanza: Stanza, directive: Directive) -> None:
    """Look at records against the expressions, and as records where no capture is in them."""
    captures = [re2.parse(pattern).compiled for pattern in stanza.match]
    named = {name for one in captures for name in one.groupindex}
    most = max(one.groups for one in captures)
    problems = Problems()
    for line in directive.body:
        if line.name not in _SECTIONS:
            continue
        for token in line.args:
            text = parse(token.text)
            with problems.caught():
                _check_captures(text, named, most, token)
                _check_sample(text, stanza, token)
    problems.check()


def _check_captures(text: Text, named: set[str], most: int, token: Token) -> None:
    """Refuse captures that no expression has."""
    missing = sorted(text.names - named)
    if missing:
        hint = f"they have {', '.join(sorted(named))}" if named else "write (?P<NAME>...)"
        raise ConfigError(token.at, f"template: no match has a group {missing[0]}", got=token.text, hint=hint)
    if text.numbers and max(text.numbers) > most:
        raise ConfigError(token.at, f"template: no match has {max(text.numbers)} groups", got=token.text)


def _check_sample(text: Text, stanza: Stanza, token: Token) -> None:
    """Refuse what can be no record, whatever is asked."""
    try:
        sample(text, stanza)
    except ValueError as error:
        raise ConfigError(token.at, f"template: not a record: {error}", got=token.text) from error


# ---- options


def _match(stanza: Stanza, line: Directive, scope: api.Scope) -> Stanza:
    """match REGEX..."""
    for token in api.arguments(NAME, line, 1):
        api.expression(NAME, token, scope)
        stanza = replace(stanza, match=(*stanza.match, token.text))
    return stanza


def _section(field: str, stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """answer, additional, authority RECORD..."""
    for token in api.arguments(NAME, line, 1):
        try:
            parse(token.text)
        except ValueError as error:
            raise ConfigError(token.at, f"template: {error}", got=token.text) from error
        stanza = replace(stanza, **{field: (*getattr(stanza, field), token.text)})  # type: ignore[arg-type]  # as named
    return stanza


def _rcode(stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """rcode CODE."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    word = arg.text.upper()
    if word not in codes.Rcode.__members__:
        raise ConfigError(arg.at, "template: unknown rcode", got=arg.text, hint="such as NXDOMAIN, REFUSED, NOERROR")
    return replace(stanza, rcode=word)


def _ederror(stanza: Stanza, line: Directive, scope: api.Scope) -> Stanza:
    """ederror CODE [TEXT]."""
    code, *_ = api.arguments(NAME, line, 1, 2)
    api.integer(NAME, "ederror", code, most=65535)
    scope.warn(
        ConfigError(line.at, "template: ederror is not sent", hint="CoreDNS's cache strips it from answers, too")
    )
    return stanza


def _fallthrough(stanza: Stanza, line: Directive, _scope: api.Scope) -> Stanza:
    """fallthrough [ZONES...]."""
    return replace(stanza, fallthrough=api.zones(NAME, line.args) or (".",))


def _upstream(stanza: Stanza, _line: Directive, _scope: api.Scope) -> Stanza:
    """upstream: of old Corefiles. CNAMEs are followed in any case."""
    return stanza


_SECTIONS = ("answer", "additional", "authority")
_OPTIONS: dict[str, api.Option[Stanza]] = {
    "match": _match,
    **{name: functools.partial(_section, name) for name in _SECTIONS},
    "rcode": _rcode,
    "ederror": _ederror,
    "fallthrough": _fallthrough,
    "upstream": _upstream,
}
