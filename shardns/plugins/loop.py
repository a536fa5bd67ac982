"""loop: forwarding that comes back to us is found at start. CoreDNS 1.13.2 plugin/loop/setup.go.

loop
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardns.corefile import Directive
from shardns.plugins import api

NAME = "loop"
FACETS: frozenset[api.Facet] = frozenset()


@dataclass(frozen=True, slots=True)
class Config:
    """The zone that the probe's name lies in: the block's first."""

    zone: str = "."


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only loop directive of a block."""
    directive = api.once(NAME, directives)
    api.arguments(NAME, directive, 0, 0)
    api.no_body(NAME, directive)
    return Config(scope.zones[0])
