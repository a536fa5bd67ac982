"""The flags of `shardns`: node-cache's and our own, and what each means. docs/cli.md has the table."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shardns import log, units
from supervisor.cli import corefiles, nodeflags, templateflags
from supervisor.cli.gosyntax import Flag, FlagError, Given, parse
from supervisor.options import Options

WORKERS_MAX = 64  # SHD_WORKERS_MAX
CACHE_MIN_BYTES = 4 * 1024 * 1024
CACHE_MAX_BYTES = 64 * 1024**3
HEARTBEAT_MIN_S = 2.0  # workers beat every 0.5 s, the supervisor looks every second

DNS = (
    Flag("localip", "", "addresses to serve on, comma-separated, without spaces", "IPS"),
    Flag("conf", "", 'Corefile to serve; "stdin" reads standard input', "FILE"),
    Flag("dns.port", "53", "port of server blocks that name none", "PORT", ("p",)),
    Flag("pidfile", "", "file to write the supervisor's process id to, once it serves", "FILE"),
    Flag("metrics-listen-address", "0.0.0.0:9353", "a second address of the metrics page", "HOST:PORT"),
    Flag("quiet", "false", "print no banner of zones and version"),
)
PROCESSES = (
    Flag("workers", "auto", "worker processes; auto: what our share of CPU is worth", "N|auto"),
    Flag("cache-size", "32Mi", "memory of the cache, at least 4Mi (Ki, Mi, Gi)", "SIZE"),
    Flag("user", "", "user of the children; when started as root: 65534 (nobody)", "NAME|UID"),
    Flag("shm-name", "", "name of the cache in /dev/shm, where the next start finds it; none: no name", "NAME"),
    Flag("heartbeat-timeout", "10s", "a child without a sign of life for this long is replaced", "DURATION"),
    Flag("control", "", "operator socket: a path, or @NAME in the abstract namespace (@shardns/...)", "PATH"),
)
LOGS = (
    Flag("log-format", "auto", "text, json, or auto: text on a terminal, else json", "FORMAT"),
    Flag("log-level", "info", "debug, info, warning or error", "LEVEL"),
)
INSTEAD = (
    Flag("version", "false", "print the version and exit"),
    Flag("plugins", "false", "print the plugins and exit"),
)
GROUPS: tuple[tuple[str, tuple[Flag, ...]], ...] = (
    ("What is served", DNS),
    ("Processes and memory", PROCESSES),
    ("Logs", LOGS),
    ("Instead of serving", INSTEAD),
    ("The node's interface and rules", nodeflags.NODE),
    ("The Corefile's template, and what is put in", templateflags.TEMPLATES),
)
ALL = tuple(flag for _, flags in GROUPS for flag in flags)

_SIZE = re.compile(r"([0-9]{1,12})(|[KMG]i?)")
_FACTORS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A command line that can be obeyed."""

    options: Options
    warnings: tuple[str, ...] = ()


def read(arguments: Sequence[str], *, auto_workers: Callable[[], int]) -> Asked:
    """What the flags ask for. Raises FlagError at the first thing that is wrong or cannot be had.

    auto_workers  how many workers this machine's share of CPU is worth
    """
    return understand(parse(arguments, ALL), auto_workers=auto_workers)


def understand(given: Given, *, auto_workers: Callable[[], int]) -> Asked:
    """As read, of flags that are parsed."""
    given.no_rest()
    local_ips = nodeflags.local_ips(given)
    is_forwarder = templateflags.is_forwarder(given)
    dns_port = given.port("dns.port")
    if is_forwarder and not given.has("dns.port"):
        dns_port = corefiles.FORWARDER_PORT
    metrics = given.text("metrics-listen-address")
    if is_forwarder and not given.has("metrics-listen-address"):
        metrics = ""
    options = Options(
        workers=_workers(given.text("workers"), auto_workers),
        local_ips=local_ips,
        dns_port=dns_port,
        metrics_address=_metrics(metrics),
        pid_file=given.text("pidfile"),
        is_quiet=given.truth("quiet"),
        cache_size_bytes=cache_size(given.text("cache-size")),
        log_format=given.one_of("log-format", log.FORMATS),
        log_level=given.one_of("log-level", log.LEVELS),
        user=given.text("user"),
        shm_name=_shm_name(given.text("shm-name")),
        heartbeat_timeout_s=given.seconds("heartbeat-timeout", HEARTBEAT_MIN_S),
        node=nodeflags.wishes(given, local_ips, dns_port),
        control=_control(given.text("control")),
    )
    return Asked(templateflags.applied(given, options), _warnings(given))


def _warnings(given: Given) -> tuple[str, ...]:
    """What is accepted and does nothing."""
    if given.has("corefile"):
        return ("-corefile has no effect, in node-cache neither: the Corefile is what -conf names",)
    return ()


def _workers(text: str, auto_workers: Callable[[], int]) -> int:
    """A number of worker processes."""
    if text == "auto":
        return max(1, min(WORKERS_MAX, auto_workers()))
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        raise FlagError(f'-workers must be auto or a number from 1 to {WORKERS_MAX}, got "{text}"')
    return int(text)


def cache_size(text: str) -> int:
    """Octets of a -cache-size. Raises FlagError."""
    match = _SIZE.fullmatch(text)
    size = int(match[1]) * _FACTORS[match[2]] if match else 0
    if not CACHE_MIN_BYTES <= size <= CACHE_MAX_BYTES:
        raise FlagError(f'-cache-size must be a size from 4Mi to 64Gi, such as 32Mi, got "{text}"')
    return size


def _metrics(text: str) -> str:
    """host:port, host given as an address or empty for every address; empty text is none."""
    if not text:
        return ""
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    try:
        units.port(port)
        is_v6 = bool(bare) and isinstance(ipaddress.ip_address(bare), ipaddress.IPv6Address)
        understood = bool(colon) and host == (f"[{bare}]" if is_v6 else bare)
    except ValueError:
        understood = False
    if not understood:
        raise FlagError(f'-metrics-listen-address must be an address and a port, such as 0.0.0.0:9353, got "{text}"')
    return text


def _shm_name(text: str) -> str:
    """A name without slashes; one that leads (as shm_open wants it) is taken off."""
    name = text.removeprefix("/")
    if text and not _NAME.fullmatch(name):
        raise FlagError(f'-shm-name must be letters, digits, dots, dashes and underscores, got "{text}"')
    return name


def _control(text: str) -> str:
    """A path or @name that fits a Unix socket's address (108 octets)."""
    if len(text.encode()) > 107 or "\0" in text:
        raise FlagError("-control must be shorter than 108 octets")
    return text
