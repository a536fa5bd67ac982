"""The one list of plugins, in the order in which a query meets them: node-cache's, that is CoreDNS 1.13.2's.

The order in a Corefile does not matter, this one does. `cache` is the border: what stands above it is done for every
query by the C hit path, what stands below runs once per miss in the upstream process.

DIFFERS: CoreDNS moved `rewrite` and `acl` above `cache` in 1.14.7.

To add a plugin: a module here, BUILT on its line, a test file, a page in docs/plugins.
"""

from __future__ import annotations

import importlib
from typing import cast

from shardns.plugins.api import Plugin

BUILT = True

# Name, then whether its module exists. Names that are not built are CoreDNS's own: they are refused as known.
_ORDER: tuple[tuple[str, bool], ...] = (
    ("root", False),
    ("metadata", False),
    ("geoip", False),
    ("cancel", False),
    ("proxyproto", False),
    ("tls", False),
    ("quic", False),
    ("grpc_server", False),
    ("https", False),
    ("https3", False),
    ("timeouts", False),
    ("multisocket", False),
    ("reload", BUILT),
    ("nsid", False),
    ("bufsize", False),
    ("bind", BUILT),
    ("debug", False),
    ("trace", False),
    ("ready", BUILT),
    ("health", BUILT),
    ("pprof", False),
    ("shed", False),
    ("prometheus", BUILT),
    ("errors", BUILT),
    ("log", BUILT),
    ("dnstap", False),
    ("local", False),
    ("dns64", False),
    ("acl", False),
    ("any", False),
    ("chaos", False),
    ("loadbalance", False),
    ("tsig", False),
    ("cache", BUILT),
    ("rewrite", False),
    ("header", False),
    ("dnssec", False),
    ("autopath", False),
    ("minimal", False),
    ("template", BUILT),
    ("transfer", False),
    ("hosts", BUILT),
    ("route53", False),
    ("azure", False),
    ("clouddns", False),
    ("k8s_external", False),
    ("kubernetes", False),
    ("file", False),
    ("auto", False),
    ("secondary", False),
    ("etcd", False),
    ("loop", BUILT),
    ("forward", BUILT),
    ("grpc", False),
    ("erratic", False),
    ("whoami", False),
    ("on", False),
    ("sign", False),
    ("view", False),
    ("nomad", False),
)

# Plugins that others compile into their CoreDNS, and old names of its own.
EXTERNAL = frozenset(
    """
    ads alias alternate amazondns blocker demo denylist dnsredir dump example fanout federation filter firewall
    gathersrv git gslb idetcd ipecho ipset k8s_cache k8s_crd k8s_dns_chaos k8s_event k8s_gateway kubenodes
    lighthouse mdns meship multicluster mysql netbox nomad_services ocspd openstack pdsql policy powerdns proxy
    pureip records recursor redis redisc rrl shutdown startup tailscale unbound warnlist wgsd
    """.split()  # noqa: SIM905 - a page of names reads better without quotes
)

NAMES = tuple(name for name, _ in _ORDER)
BUILT_NAMES = tuple(name for name, built in _ORDER if built)
_PLACE = {name: place for place, name in enumerate(NAMES)}

# Plugins that may write an answer; a block with none of them has nothing to say.
_ANSWERING = frozenset({"template", "hosts", "forward", "whoami"})


def plugin(name: str) -> Plugin:
    """The module of a built plugin."""
    if name not in BUILT_NAMES:
        raise LookupError(f"{name} is not built")
    return cast("Plugin", importlib.import_module(f"shardns.plugins.{name}"))


def is_known(name: str) -> bool:
    """True for a word that means a plugin to CoreDNS or to those who extend it."""
    return name in _PLACE or name in EXTERNAL


def runs_on_a_miss(name: str) -> bool:
    """True for `cache` and what stands below it: what decides the contents of a block's entries."""
    return _PLACE[name] >= _PLACE["cache"]


def answers(name: str) -> bool:
    """True for a plugin that may write an answer itself."""
    return name in _ANSWERING
