"""log: a line per query. CoreDNS 1.13.2 plugin/log/setup.go and plugin/pkg/replacer.

log [NAMES...] [FORMAT] {
    class all|success|denial|error ...
}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from shardns.corefile import Directive, Token
from shardns.errors import ConfigError
from shardns.plugins import api
from shardns.querylog import CLASSES, COMMON, LABELS, Rule, expanded

NAME = "log"
FACETS: frozenset[api.Facet] = frozenset()

_BRACED = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class Config:
    """Rules in the order of the file; for a query the first whose zone matches decides."""

    rules: tuple[Rule, ...]


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The rules of all log lines of a block."""
    return Config(tuple(chain.from_iterable(api.each(directives, lambda line: _rules(line, scope)))))


def _rules(directive: Directive, scope: api.Scope) -> list[Rule]:
    """The rules of one line: one per name.

    DIFFERS: a lone argument with a brace is a format (CoreDNS takes it for a name, and logs nothing).
    """
    args = directive.args
    form = COMMON
    if args and "{" in args[-1].text:
        form = _format(args[-1], scope)
        args = args[:-1]
    for token in args:
        if "{" in token.text:
            hint = "put all of it in quotes"
            raise ConfigError(token.at, "log: the format is one word, and the last", got=token.text, hint=hint)
    none: tuple[str, ...] = ()
    classes = api.options(NAME, none, directive, scope, {"class": _class}, repeatable={"class"})
    zones = api.zones(NAME, args) or (".",)
    return [Rule(zone, form, classes or ("all",)) for zone in zones]


def _format(token: Token, scope: api.Scope) -> str:
    """The format with its short forms replaced. Placeholders that mean nothing get a warning."""
    form = expanded(token.text)
    for found in _BRACED.findall(form):
        if found.startswith("{/"):
            scope.warn(ConfigError(token.at, f"log: {found} prints as -", hint="there is no metadata plugin"))
        elif found not in LABELS:
            hint = api.did_you_mean(found, LABELS)
            scope.warn(ConfigError(token.at, f"log: {found} is no placeholder and prints as it is", hint=hint))
    return form


def _class(classes: tuple[str, ...], line: Directive, _scope: api.Scope) -> tuple[str, ...]:
    """The classes so far and those of one more line, each once, in a fixed order."""
    wanted = set(classes)
    for token in api.arguments(NAME, line, 1):
        if token.text not in CLASSES:
            hint = api.did_you_mean(token.text, CLASSES)
            raise ConfigError(token.at, "log: unknown class", got=token.text, hint=hint)
        wanted.add(token.text)
    return tuple(name for name in CLASSES if name in wanted)
