"""The ConfigMap kube-dns: private zones with nameservers of their own, and nameservers for the rest of the world. Pure.

Its keys are files, as the kubelet mounts them: stubDomains, a JSON object of zones and their servers, and
upstreamNameservers, a JSON array of at most three. A server is IP or IP:port. Other keys are not looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shardns import units
from shardns.dns import names
from shardns.errors import ConfigError, ConfigErrors, Problems, shown
from supervisor.sources.placeholders import UPSTREAM

STUBS = "stubDomains"
UPSTREAMS = "upstreamNameservers"
MAX_UPSTREAMS = 3
MAX_STUB_SERVERS = 15  # as many as forward takes
_ZONE = re.compile(r"[A-Za-z0-9_.-]+")
_BLOCK = re.compile(rf"(forward[ \t]+\S+[ \t]+{UPSTREAM}[ \t]*)\{{([^{{}}]*)\}}")
_COMMENT = re.compile(r"#[^\n]*")


@dataclass(frozen=True, slots=True)
class KubeDns:
    """What the ConfigMap says; empty where it says nothing."""

    stubs: tuple[tuple[str, tuple[str, ...]], ...] = ()  # zone, normalised, and its servers; sorted by zone
    upstreams: tuple[str, ...] = ()


def read(values: Mapping[str, str], where: str) -> KubeDns:
    """What the keys say. Raises ConfigErrors, naming where, with all that is wrong: then nothing of it counts."""
    problems = Problems()
    stubs: dict[str, tuple[str, ...]] = {}
    upstreams: tuple[str, ...] = ()
    with problems.caught():
        stubs = _stubs(_json(values, STUBS, where), f"{where}/{STUBS}")
    with problems.caught():
        upstreams = _upstreams(_json(values, UPSTREAMS, where), f"{where}/{UPSTREAMS}")
    problems.check()
    return KubeDns(tuple(sorted(stubs.items())), upstreams)


def blocks(stubs: Iterable[tuple[str, Sequence[str]]], port: int, local_ips: Sequence[str]) -> str:
    """A server block for each zone, in node-cache's form; port is that of -dns.port."""
    bind = f"    bind {' '.join(local_ips)}\n" if local_ips else ""
    return "".join(
        f"\n{zone}:{port} {{\n    errors\n    cache 30\n{bind}    forward . {' '.join(servers)}\n}}\n"
        for zone, servers in stubs
    )


def without_tcp(text: str) -> tuple[str, bool]:
    """The template with the upstream servers asked by the client's transport, for servers that the ConfigMap names.

    A forward block for the placeholder that says force_tcp and nothing else loses its braces; lines keep their numbers.
    True if a block stays that forces TCP, because it says more.

    DIFFERS: node-cache finds the block only where it is indented exactly as in the shipped template.
    """
    stays = False

    def replaced(match: re.Match[str]) -> str:
        nonlocal stays
        words = _COMMENT.sub("", match[2]).split()
        if words == ["force_tcp"]:
            return match[1].rstrip() + "\n" * match[2].count("\n")
        stays = stays or "force_tcp" in words
        return match[0]

    return _BLOCK.sub(replaced, text), stays


def _json(values: Mapping[str, str], key: str, where: str) -> object:
    """The key's value; None where it is missing or blank. Raises ConfigError."""
    text = values.get(key, "")
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except RecursionError:
        reason = "too many brackets inside each other"
    except ValueError as error:
        reason = str(error)
    raise ConfigError(None, f"Invalid JSON in {where}/{key}: {reason}", got=text)


def _stubs(value: object, where: str) -> dict[str, tuple[str, ...]]:
    """Zones and their servers. Raises ConfigErrors."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(None, f"{where}: must be a JSON object", hint='{"example.org": ["192.0.2.53"]}')
    problems = Problems()
    found: dict[str, tuple[str, ...]] = {}
    for name, listed in value.items():
        with problems.caught():
            zone = _zone(name, where)
            if zone in found:
                raise ConfigError(None, f"{where}: zone {zone} is there twice")
            found[zone] = _servers(listed, f"{where}: {zone}", MAX_STUB_SERVERS)
            if not found[zone]:
                raise ConfigError(None, f"{where}: {zone} has no nameserver")
    problems.check()
    return found


def _zone(text: str, where: str) -> str:
    """The zone, normalised. Only letters that need no quotes in a Corefile. Raises ConfigError."""
    try:
        if _ZONE.fullmatch(text):
            return names.normalize(text)
    except ValueError:
        pass
    raise ConfigError(None, f"{where}: not a zone", got=text)


def _upstreams(value: object, where: str) -> tuple[str, ...]:
    """Servers for everything else. Raises ConfigErrors."""
    return () if value is None else _servers(value, where, MAX_UPSTREAMS)


def _servers(value: object, where: str, most: int) -> tuple[str, ...]:
    """A list of servers, each once. Raises ConfigErrors."""
    if not isinstance(value, list):
        raise ConfigError(None, f"{where}: must be a JSON array of addresses", hint='["192.0.2.53", "192.0.2.54:5353"]')
    wrong = [item for item in value if not isinstance(item, str) or not _is_server(item)]
    if wrong:
        hint = "IP or IP:port; host names are not looked up"
        raise ConfigErrors(
            ConfigError(None, f"{where}: not an address: {shown(str(item))}", hint=hint) for item in wrong
        )
    servers = tuple(dict.fromkeys(value))
    if len(servers) > most:
        raise ConfigError(None, f"{where}: {len(servers)} nameservers, {most} is the limit")
    return servers


def _is_server(text: str) -> bool:
    """True for IP, IPv4:port and [IPv6]:port."""
    if names.ip_text(text) is not None:
        return True
    host, colon, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    address = names.ip_text(host[1:-1] if is_bracketed else host)
    try:
        units.port(port)
    except ValueError:
        return False
    return bool(colon) and address is not None and (":" in address) == is_bracketed
