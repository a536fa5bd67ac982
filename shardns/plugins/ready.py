"""ready: /ready. CoreDNS 1.13.2 plugin/ready/setup.go; node-cache has none.

ready [ADDRESS] {
    monitor until-ready|continuously       (CoreDNS 1.14)
}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardns.corefile import Directive
from shardns.errors import ConfigError
from shardns.plugins import api

NAME = "ready"
FACETS: frozenset[api.Facet] = frozenset()
DEFAULT = api.Address("", 8181)
MONITORS = ("until-ready", "continuously")


@dataclass(frozen=True, slots=True)
class Config:
    """Where /ready is. It is always asked continuously."""

    address: api.Address = DEFAULT


def setup(directives: Sequence[Directive], scope: api.Scope) -> Config:
    """The only ready directive of a block."""
    directive = api.once(NAME, directives)
    args = api.arguments(NAME, directive, 0, 1)
    config = Config(api.address(NAME, args[0])) if args else Config()
    return api.options(NAME, config, directive, scope, {"monitor": _monitor})


def _monitor(config: Config, line: Directive, scope: api.Scope) -> Config:
    """monitor until-ready|continuously.

    DIFFERS: readiness is always looked at anew; asking for less gets a warning.
    """
    (arg,) = api.arguments(NAME, line, 1, 1)
    if arg.text not in MONITORS:
        hint = api.did_you_mean(arg.text, MONITORS)
        raise ConfigError(arg.at, "ready: unknown monitor type", got=arg.text, hint=hint)
    if arg.text != "continuously":
        scope.warn(
            ConfigError(arg.at, "ready: monitor until-ready has no effect", hint="/ready always tells the truth")
        )
    return config
