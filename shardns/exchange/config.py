"""Whom a pool asks, and by which rules: the settings of one `forward` directive, without any of its syntax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PolicyName = Literal["random", "round_robin", "sequential"]


def host_port(host: str, port: int) -> str:
    """An address as Go's net.JoinHostPort writes it: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One nameserver: host is a literal IPv4 or IPv6 address, port 1 to 65535."""

    host: str
    port: int
    label: str
    """How metrics and error texts call it: "10.0.0.1:53", "[2001:db8::1]:53" (CoreDNS's `to`)."""

    @classmethod
    def at(cls, host: str, port: int = 53) -> Upstream:
        """The upstream with the label CoreDNS would give it."""
        return cls(host, port, host_port(host, port))


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """The settings of a pool; the defaults are CoreDNS 1.13.2's (plugin/forward/setup.go) where it has the setting."""

    upstreams: tuple[Upstream, ...]
    """At least one, in the order of the Corefile."""
    force_tcp: bool = False
    """Ask by TCP whatever the client used; wins over prefer_udp."""
    prefer_udp: bool = False
    """Ask by UDP whatever the client used; a truncated answer is asked for again by TCP."""
    policy: PolicyName = "random"
    """Which upstream a query goes to first."""
    expire_s: float = 10.0
    """Seconds after which an idle connection is closed."""
    max_age_s: float = 30.0
    """Seconds after which a connection is replaced, shortened by a random part of up to half, so that the
    connections to a Service spread over its replicas again; 0 is no limit. CoreDNS has none by default: DIFFERS."""
    max_fails: int = 2
    """An upstream is down after more failed health checks in a row than this; 0: it is never down nor checked."""
    health_check_s: float = 0.5
    """Seconds between two health checks of an upstream in trouble."""
    health_check_no_rec: bool = False
    """Ask the health check's question without RD."""
    health_check_domain: str = "."
    """The name whose NS records the health check asks for."""
    max_concurrent: int = 0
    """Queries that may wait for answers at once; more are refused. 0 is no limit."""
    failfast: bool = False
    """With every upstream down fail at once, instead of trying a random one."""
    max_connect_attempts: int = 0
    """Upstreams one query may be sent to before it fails; 0 leaves it to the pool's own limits (see ask.py)."""
