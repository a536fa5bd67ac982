"""reload: the Corefile is read again now and then. CoreDNS 1.13.2 plugin/reload/setup.go.

reload [INTERVAL [JITTER]]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardns.corefile import Directive
from shardns.errors import ConfigError
from shardns.plugins import api

NAME = "reload"
FACETS: frozenset[api.Facet] = frozenset()
MIN_INTERVAL_S = 2.0
MIN_JITTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Config:
    """The check comes every interval, moved by up to half the jitter to either side."""

    interval_s: float = 30.0
    jitter_s: float = 15.0  # never more than half the interval


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The first reload directive of a block, as in CoreDNS; more of them get a warning."""
    directive, *others = directives
    for other in others:
        scope.warn(ConfigError(other.at, "reload: is given again", hint="the first one counts"))
    api.no_body(NAME, directive)
    args = api.arguments(NAME, directive, 0, 2)
    defaults = Config()
    interval_s, jitter_s = defaults.interval_s, defaults.jitter_s
    if args:
        interval_s = api.duration_s(NAME, "interval", args[0], least_s=MIN_INTERVAL_S)
    if len(args) > 1:
        jitter_s = api.duration_s(NAME, "jitter", args[1], least_s=MIN_JITTER_S)
    return Config(interval_s, min(jitter_s, interval_s / 2))
