"""errors: failed queries are logged, and alike ones counted. CoreDNS 1.13.2 plugin/errors/setup.go.

errors [stdout] {
    stacktrace
    consolidate DURATION REGEX [debug|info|warning|error] [show_first]     (show_first: CoreDNS 1.14)
}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardns import re2
from shardns.corefile import Directive, Token
from shardns.errors import ConfigError
from shardns.plugins import api

NAME = "errors"
FACETS: frozenset[api.Facet] = frozenset()
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Consolidate:
    """One rule: errors that match are counted, and reported once per period."""

    period_s: float
    pattern: str  # RE2; re2.parse(pattern).compiled matches it, unanchored
    level: str = "error"  # of the summary line
    show_first: bool = False  # the first error of a period is printed at once


@dataclass(frozen=True, slots=True)
class Config:
    """What to do with the errors of a block's queries."""

    stacktrace: bool = False  # accepted; a worker that breaks always leaves its trace
    consolidate: tuple[Consolidate, ...] = ()  # the first rule that matches counts


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
    try:
        expression = re2.parse(pattern.text)
    except ValueError as error:
        raise ConfigError(pattern.at, f"errors: {error}", got=pattern.text) from error
    if expression.is_risky:
        hint = "a repeat around a repeat is slow to fail: clients choose the names it is matched with"
        scope.warn(ConfigError(pattern.at, "errors: expression may take very long", got=pattern.text, hint=hint))
    level, show_first = _tail(rest)
    period_s = api.duration_s(NAME, "consolidate period", period, least_s=0.001)
    rule = Consolidate(period_s, pattern.text, level, show_first)
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
