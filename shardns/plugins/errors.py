"""errors: failed queries are logged, and alike ones counted. CoreDNS 1.13.2 plugin/errors/setup.go.

errors [stdout] {
    stacktrace
    consolidate DURATION REGEX [LEVEL] [show_first]     (show_first: CoreDNS 1.14)
}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardns.corefile import Directive, Token
from shardns.errors import ConfigError
from shardns.plugins import api
from shardns.querylog import Pattern

NAME = "errors"
FACETS: frozenset[api.Facet] = frozenset()
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Config:
    """What to do with the errors of a block's queries."""

    stacktrace: bool = False  # print the stack of a plugin that fails; a process that breaks leaves its own in any case
    consolidate: tuple[Pattern, ...] = ()  # the first rule that matches counts


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only errors directive of a block."""
    directive = api.once(NAME, directives)
    for arg in api.arguments(NAME, directive, 0, 1):
        if arg.text != "stdout":
            raise ConfigError(arg.at, "errors: can log to stdout only", got=arg.text)
    return api.options(NAME, Config(), directive, scope, _OPTIONS, repeatable={"consolidate"})


def _stacktrace(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """stacktrace."""
    api.arguments(NAME, line, 0, 0)
    return replace(config, stacktrace=True)


def _consolidate(config: Config, line: Directive, scope: api.Scope) -> Config:
    """consolidate DURATION REGEX [LEVEL] [show_first]."""
    period, pattern, *rest = api.arguments(NAME, line, 2, 4)
    api.expression(NAME, pattern, scope)
    level, show_first = _tail(rest)
    period_s = api.duration_s(NAME, "consolidate period", period, least_s=0.001)
    rule = Pattern(period_s, pattern.text, level, show_first)
    return replace(config, consolidate=(*config.consolidate, rule))


def _tail(tokens: Sequence[Token]) -> tuple[str, bool]:
    """The level and show_first at the end of a consolidate line, in this order."""
    level = ""
    show_first = False
    for token in tokens:
        if token.text == "show_first" and not show_first:
            show_first = True
        elif token.text in LEVELS and not level and not show_first:
            level = token.text
        else:
            hint = api.did_you_mean(token.text, (*LEVELS, "show_first"))
            raise ConfigError(token.at, "errors: consolidate ends in [LEVEL] [show_first]", got=token.text, hint=hint)
    return level or "error", show_first


_OPTIONS = {"stacktrace": _stacktrace, "consolidate": _consolidate}
