"""Zones as a Corefile writes them: "cluster.local:53", "dns://.:1053", "10.0.0.0/8", "2001:db8::/33".

As CoreDNS 1.13.2 plugin/normalize.go and plugin/pkg/cidr: an address range stands for the reverse zones that hold it,
several where its length is no multiple of 8 (IPv4) or 4 (IPv6) bits.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from shardns import units
from shardns.corefile.model import Token
from shardns.dns import names
from shardns.errors import ConfigError

DNS = "dns"
OTHER_SCHEMES = ("tls", "https", "https3", "quic", "grpc", "unix")
MAX_TEXT = 255
_LIKE_RANGE = re.compile(r"[0-9.]+/")


@dataclass(frozen=True, slots=True)
class ZoneKey:
    """A zone to serve, normalised; port 0 when the key names none. at is the key's place."""

    zone: str
    port: int
    token: Token


def zone_keys(token: Token) -> tuple[ZoneKey, ...]:
    """The zones that a key stands for; more than one only for an address range. Raises ConfigError."""
    text = _without_scheme(token)
    text, port = _split_port(text, token)
    return tuple(ZoneKey(zone, port, token) for zone in _zones(text, token))


def zones_of(token: Token) -> tuple[str, ...]:
    """The zones that an argument of a directive stands for; scheme and port are refused. Raises ConfigError."""
    text = token.text
    if "://" in text:
        raise ConfigError(token.at, "a zone is expected here, without scheme", got=text)
    return _zones(text, token)


def doubts_of(token: Token) -> list[ConfigError]:
    """What is strange about a key that CoreDNS takes as it is. The key must be one that zone_keys() takes."""
    text, _ = _split_port(_without_scheme(token), token)
    if text.startswith("*."):
        hint = f"a zone holds every name below it: write {text[2:]}"
        return [ConfigError(token.at, "no name matches the asterisk", got=token.text, hint=hint)]
    # A reverse zone may have a slash (RFC 2317).
    if _LIKE_RANGE.match(text) and not text.rstrip(".").endswith(".arpa") and _network(text) is None:
        message = "not an address range, so it is taken for a name"
        return [ConfigError(token.at, message, got=token.text, hint="such as 10.0.0.0/24")]
    return []


def reverse_zones(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> tuple[str, ...]:
    """The reverse zones, on label borders, that together hold the network."""
    bits = 8 if network.version == 4 else 4
    length = -(-network.prefixlen // bits) * bits
    return tuple(_reverse_zone(part, length // bits) for part in network.subnets(new_prefix=length))


def _reverse_zone(network: ipaddress.IPv4Network | ipaddress.IPv6Network, kept: int) -> str:
    """The reverse name of the network's first `kept` labels."""
    if isinstance(network, ipaddress.IPv4Network):
        digits, suffix = str(network.network_address).split("."), "in-addr.arpa."
    else:
        digits, suffix = list(network.network_address.exploded.replace(":", "")), "ip6.arpa."
    return ".".join([*reversed(digits[:kept]), suffix])


def _without_scheme(token: Token) -> str:
    """The key's text behind "dns://". Raises ConfigError for schemes that are not served."""
    scheme, mark, rest = token.text.partition("://")
    if not mark:
        return token.text
    if scheme != DNS:
        known = scheme in OTHER_SCHEMES
        message = f"{scheme}:// is not served" if known else f"unknown scheme {scheme}://"
        raise ConfigError(token.at, message, hint="only dns:// (UDP and TCP) is")
    return rest


def _split_port(text: str, token: Token) -> tuple[str, int]:
    """The text before its port, and the port (0 without one)."""
    head, colon, tail = text.rpartition(":")
    if not colon:
        return text, 0
    if not tail:
        raise ConfigError(token.at, "a port is expected after the last colon", got=token.text)
    if not tail.isascii() or not tail.isdigit():
        return text, 0
    try:
        return head, units.port(tail)
    except ValueError as error:
        raise ConfigError(token.at, str(error)) from error


def _zones(text: str, token: Token) -> tuple[str, ...]:
    """The zones behind a text without scheme and port."""
    network = _network(text)
    if network is not None:
        return reverse_zones(network)
    if ":" in text:
        raise ConfigError(token.at, "not a zone", got=token.text, hint="an IPv6 range needs a length: 2001:db8::/32")
    if not text.isascii():
        raise ConfigError(token.at, "a zone must be ASCII", got=token.text, hint=_ascii_hint(text))
    if "{" in text or "}" in text:
        # DIFFERS: for CoreDNS it is a zone, and what follows it the rest of a file without braces.
        raise ConfigError(token.at, "a zone has no braces", got=token.text, hint="put a space before the brace")
    if len(text) > MAX_TEXT:
        raise ConfigError(token.at, f"zone is too long: {len(text)} characters, {MAX_TEXT} is the limit")
    try:
        return (names.normalize(text),)
    except ValueError as error:
        raise ConfigError(token.at, f"not a zone: {error}", got=token.text) from error


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The address range that the text is; None if it is none. Bits behind the length are ignored, as CoreDNS does."""
    address, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit() or "%" in address:
        return None
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _ascii_hint(text: str) -> str:
    """How the name looks in queries (RFC 3490), if it can be said."""
    try:
        return f"queries carry {text.encode('idna').decode('ascii')}"
    except UnicodeError:
        return ""
