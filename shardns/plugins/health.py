"""health: /health, and how long to go on serving after the order to stop. CoreDNS 1.13.2 plugin/health/setup.go.

health [ADDRESS] {
    lameduck DURATION
}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardns.corefile import Directive
from shardns.plugins import api

NAME = "health"
FACETS: frozenset[api.Facet] = frozenset()
DEFAULT = api.Address("", 8080)


@dataclass(frozen=True, slots=True)
class Config:
    """Where /health is, and the lame duck time."""

    address: api.Address = DEFAULT
    lameduck_s: float = 0.0


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only health directive of a block.

    DIFFERS: a second one is an error (CoreDNS takes the last of them).
    """
    directive = api.once(NAME, directives)
    config = Config()
    for arg in api.arguments(NAME, directive, 0, 1):
        config = replace(config, address=api.address(NAME, arg))
    return api.options(NAME, config, directive, scope, {"lameduck": _lameduck})


def _lameduck(config: Config, line: Directive, _scope: api.Scope) -> Config:
    """lameduck DURATION."""
    (arg,) = api.arguments(NAME, line, 1, 1)
    return replace(config, lameduck_s=api.duration_s(NAME, "lameduck", arg))
