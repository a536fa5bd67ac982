"""prometheus: /metrics. CoreDNS 1.13.2 plugin/metrics/setup.go.

prometheus [ADDRESS]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardns.corefile import Directive
from shardns.plugins import api

NAME = "prometheus"
FACETS: frozenset[api.Facet] = frozenset()
DEFAULT = api.Address("localhost", 9153)
_REFUSED = ("runtime_metrics", "tls")  # of CoreDNS 1.14


@dataclass(frozen=True, slots=True)
class Config:
    """Where /metrics is. A block without the directive is not counted."""

    address: api.Address = DEFAULT


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only prometheus directive of a block."""
    directive = api.once(NAME, directives)
    args = api.arguments(NAME, directive, 0, 1)
    config = Config(api.address(NAME, args[0])) if args else Config()
    return api.options(NAME, config, directive, scope, {}, refused=_REFUSED)
