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


def node(health_port: int) -> str:
    """The template of NodeLocal DNSCache's official manifest, for a node that has none of its own.

    It says the same, but names no port of DNS (-dns.port does), and -health-port and -prometheus-listen-address are
    heeded.
    """
    reverse = "".join(
        f"""\
{zone} {{
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__
    forward . __PILLAR__CLUSTER__DNS__ {{
        force_tcp
    }}
    prometheus __PROMETHEUS__ENDPOINT__
}}
"""
        for zone in ("in-addr.arpa", "ip6.arpa")
    )
    return f"""\
__PILLAR__DNS__DOMAIN__ {{
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    reload
    loop
    bind __PILLAR__LOCAL__DNS__
    forward . __PILLAR__CLUSTER__DNS__ {{
        force_tcp
    }}
    prometheus __PROMETHEUS__ENDPOINT__
    health __PILLAR__LOCAL__DNS__:{health_port}
}}
{reverse}. {{
    errors
    cache 30
    reload
    loop
    bind __PILLAR__LOCAL__DNS__
    forward . __PILLAR__UPSTREAM__SERVERS__
    prometheus __PROMETHEUS__ENDPOINT__
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
