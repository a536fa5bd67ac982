"""Faults that only the whole file shows, and the words for them."""

from __future__ import annotations

from collections.abc import Sequence

from shardns.corefile import Directive, Token, ZoneKey
from shardns.errors import ConfigError, Problems, shown
from shardns.plugins import api, order


def check_overlaps(endpoints: Sequence[tuple[ZoneKey, str]], problems: Problems) -> None:
    """Refuse a zone that two blocks serve on one address, or one on all addresses and another on some.

    As CoreDNS 1.13.2 core/dnsserver/address.go, and in its words. Different ports are different addresses.
    """
    taken: dict[tuple[str, int], dict[str, Token]] = {}
    for key, host in endpoints:
        others = taken.setdefault((key.zone, key.port), {})
        if host in others:
            what = "it is already defined"
            problems.add(_overlap(key, host, what, others[host]))
            continue
        if others and (host == "" or "" in others):
            other = next(iter(others)) if host == "" else ""
            what = f"zone overlap listener capacity with {_named(key, other)}"
            problems.add(_overlap(key, host, what, others[other]))
            continue
        others[host] = key.token


def _overlap(key: ZoneKey, host: str, what: str, other: Token) -> ConfigError:
    """The error, with the place of the other key as its hint."""
    return ConfigError(key.token.at, f"cannot serve {_named(key, host)} - {what}", hint=f"see {other.at}")


def _named(key: ZoneKey, host: str) -> str:
    """The zone and address as CoreDNS writes them."""
    return f"dns://{key.zone}:{key.port}" + (f" on {host}" if host else "")


def unknown(directive: Directive) -> ConfigError:
    """The error for a directive that is no plugin of ours."""
    name = directive.name
    if order.is_known(name):
        hint = "remove it; docs/plugins lists those that are"
        return ConfigError(directive.at, f"plugin {name} is not in this version", hint=hint)
    if directive.body and any(mark in name for mark in ".:/"):
        hint = "a Corefile with several server blocks needs braces around each"
    else:
        hint = api.did_you_mean(name, order.BUILT_NAMES)
    return ConfigError(directive.at, f"Unknown directive '{shown(name)[1:-1]}'", hint=hint)
