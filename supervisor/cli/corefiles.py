"""The Corefiles that come with the program: what is served when none is given, and what `shardns demo` serves."""

from __future__ import annotations

from supervisor.sources import placeholders

FORWARDER_PORT = 1053
FORWARDER_METRICS = "127.0.0.1:9253"
FORWARDER_HEALTH = "127.0.0.1:8080"
FORWARDER_READY = "127.0.0.1:8181"


def forwarder() -> str:
    """A cache on loopback in front of the nameservers of /etc/resolv.conf, for trying things out."""
    return f"""\
. {{
    bind 127.0.0.1
    errors
    cache 30
    loop
    forward . /etc/resolv.conf
    prometheus {FORWARDER_METRICS}
    health {FORWARDER_HEALTH}
    ready {FORWARDER_READY}
}}
"""


def node(health_port: int) -> str:
    """The template of NodeLocal DNSCache's official manifest, for a node that has none of its own.

    It says the same, but names no port of DNS (-dns.port does), and -health-port and -prometheus-listen-address are
    heeded.
    """
    return _stock(
        domain=placeholders.DOMAIN,
        bind=placeholders.LOCAL,
        cluster=placeholders.CLUSTER,
        others=placeholders.UPSTREAM,
        metrics=placeholders.ENDPOINT,
        pages=f"    health {placeholders.LOCAL}:{health_port}\n",
    )


def demo(upstream: str, *, metrics: str, health: str, ready: str) -> str:
    """The stock Corefile of NodeLocal DNSCache on loopback, in front of upstream ("127.0.0.1:5300")."""
    return _stock(
        domain="cluster.local",
        bind="127.0.0.1",
        cluster=upstream,
        others=upstream,
        metrics=metrics,
        pages=f"    health {health}\n    ready {ready}\n",
    )


def _stock(*, domain: str, bind: str, cluster: str, others: str, metrics: str, pages: str) -> str:
    """The Corefile of the official manifest: domain and reverse zones are asked of cluster, the rest of others."""
    kept = "cache {\n        success 9984 30\n        denial 9984 5\n    }"
    tcp = f"{cluster} {{\n        force_tcp\n    }}"
    return (
        _block(domain, kept, bind, tcp, metrics, pages)
        + _block("in-addr.arpa", "cache 30", bind, tcp, metrics)
        + _block("ip6.arpa", "cache 30", bind, tcp, metrics)
        + _block(".", "cache 30", bind, others, metrics)
    )


def _block(zone: str, cache: str, bind: str, upstream: str, metrics: str, pages: str = "") -> str:
    """One of its server blocks."""
    return f"""\
{zone} {{
    errors
    {cache}
    reload
    loop
    bind {bind}
    forward . {upstream}
    prometheus {metrics}
{pages}}}
"""
