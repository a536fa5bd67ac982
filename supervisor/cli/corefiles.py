"""The Corefiles that come with the program: what is served when none is given, and what `shardns demo` serves."""

from __future__ import annotations

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


def demo(upstream: str, *, metrics: str, health: str, ready: str) -> str:
    """The stock Corefile of NodeLocal DNSCache on loopback, in front of upstream ("127.0.0.1:5300")."""
    reverse = "\n".join(
        f"""\
{zone} {{
    errors
    cache 30
    reload
    loop
    bind 127.0.0.1
    forward . {upstream} {{
        force_tcp
    }}
    prometheus {metrics}
}}"""
        for zone in ("in-addr.arpa", "ip6.arpa")
    )
    return f"""\
cluster.local {{
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    reload
    loop
    bind 127.0.0.1
    forward . {upstream} {{
        force_tcp
    }}
    prometheus {metrics}
    health {health}
    ready {ready}
}}
{reverse}
. {{
    errors
    cache 30
    reload
    loop
    bind 127.0.0.1
    forward . {upstream}
    prometheus {metrics}
}}
"""
