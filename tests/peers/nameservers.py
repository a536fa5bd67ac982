"""unbound, knot, bind and dnsmasq on loopback, each given the same zone text, each run in the foreground by us.

A nameserver here is a context manager; it has answered a query by the time the block begins. Configurations say only
what a test needs: no daemon, no chroot, no system log, no port but the one given.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers import client, ports
from tests.peers.process import Process, running


@dataclass(frozen=True)
class Nameserver:
    """Where it listens by UDP and TCP, and its process; directory holds its configuration, zones and log."""

    host: str
    port: int
    process: Process
    directory: Path


def zones(text: str) -> dict[str, list[str]]:
    """The records of each zone by its apex: every owner of an SOA begins one, and takes the names below it."""
    lines = [line for line in text.splitlines() if line.strip()]
    apexes = [line.split()[0] for line in lines if line.split()[3] == "SOA"]
    found: dict[str, list[str]] = {apex: [] for apex in apexes}
    for line in lines:
        owner = line.split()[0]
        apex = max((apex for apex in apexes if f".{owner}".endswith(f".{apex.lstrip('.')}")), key=len)
        found[apex].append(line)
    return found


@contextlib.contextmanager
def unbound(
    text: str, directory: Path, *, host: str = "127.0.0.1", port: int = 0, extra: str = ""
) -> Iterator[Nameserver]:
    """Unbound answering from zone text as kube-dns does: AA, NXDOMAIN and NODATA with the SOA, all else REFUSED."""
    local = [f'  local-zone: "{apex}" static' for apex in zones(text)]
    local += [f"  local-data: '{line}'" for line in text.splitlines() if line.strip()]
    with _placed(directory, "unbound", host, port) as (home, free):
        config = f"""
server:
  interface: {host}
  port: {free}
  access-control: 0.0.0.0/0 allow
  access-control: ::0/0 allow
  chroot: ""
  username: ""
  directory: "{home}"
  pidfile: ""
  use-syslog: no
  log-queries: yes
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  edns-buffer-size: 1232
  max-udp-size: 1232
  incoming-num-tcp: 256
  extended-statistics: yes
  minimal-responses: no
  local-zone: "." refuse
  local-zone: "10.in-addr.arpa." nodefault
{chr(10).join(local)}
{extra}
remote-control:
  control-enable: yes
  control-use-cert: no
  control-interface: {home}/control
"""
        (home / "unbound.conf").write_text(config)
        command = ["unbound", "-d", "-d", "-p", "-c", str(home / "unbound.conf")]
        with _serving("unbound", command, home, host, free, text) as server:
            yield server


def unbound_counts(server: Nameserver) -> dict[str, float]:
    """The statistics of an unbound since its start: total.num.queries, num.query.tcp, num.query.type.A ..."""
    command = ["unbound-control", "-c", str(server.directory / "unbound.conf"), "stats_noreset"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return {name: float(value) for name, value in re.findall(r"^([\w.]+)=([\d.]+)$", done.stdout, re.MULTILINE)}


@contextlib.contextmanager
def knot(
    text: str, directory: Path, *, host: str = "127.0.0.1", port: int = 0, is_signed: bool = False
) -> Iterator[Nameserver]:
    """Knot DNS, strictly authoritative for each zone in text; is_signed: with keys of its own (RFC 4035)."""
    with _placed(directory, "knot", host, port) as (home, free):
        config = f"""
server:
  rundir: "{home}"
  listen: {host}@{free}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: info
database:
  storage: "{home}"
template:
  - id: default
    storage: "{home}"
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
    dnssec-signing: {"on" if is_signed else "off"}
zone:
{chr(10).join(f'  - domain: {apex}{chr(10)}    file: "{_zone_file(apex)}"' for apex in zones(text))}
"""
        (home / "knot.conf").write_text(config)
        _write_zones(home, text)
        with _serving("knot", ["knotd", "-c", str(home / "knot.conf")], home, host, free, text) as server:
            yield server


@contextlib.contextmanager
def bind(text: str, directory: Path, *, host: str = "127.0.0.1", port: int = 0) -> Iterator[Nameserver]:
    """BIND's named, authoritative for each zone in text, without recursion."""
    family, other = ("listen-on-v6", "listen-on") if ":" in host else ("listen-on", "listen-on-v6")
    with _placed(directory, "named", host, port) as (home, free):
        blocks = [f'zone "{apex}" {{ type primary; file "{_zone_file(apex)}"; }};' for apex in zones(text)]
        config = f"""
options {{
  directory "{home}";
  pid-file none;
  session-keyfile none;
  {family} port {free} {{ {host}; }};
  {other} {{ none; }};
  recursion no;
  empty-zones-enable no;
  minimal-responses no;
  notify no;
}};
controls {{ }};
{chr(10).join(blocks)}
"""
        (home / "named.conf").write_text(config)
        _write_zones(home, text)
        with _serving(
            "named", ["named", "-g", "-n", "1", "-c", str(home / "named.conf")], home, host, free, text
        ) as server:
            yield server


@contextlib.contextmanager
def dnsmasq(
    upstream: Nameserver, directory: Path, probe: str, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Nameserver]:
    """Dnsmasq as a caching forwarder to upstream; probe is a name that upstream answers."""
    with _placed(directory, "dnsmasq", host, port) as (home, free):
        config = f"""
port={free}
listen-address={host}
bind-interfaces
no-resolv
no-hosts
no-daemon
user=root
pid-file=
log-facility=-
cache-size=10000
server={upstream.host}#{upstream.port}
"""
        (home / "dnsmasq.conf").write_text(config)
        command = ["dnsmasq", "--keep-in-foreground", f"--conf-file={home / 'dnsmasq.conf'}"]
        with running("dnsmasq", command, directory=home, ready=lambda: client.answers(free, probe, host)) as process:
            yield Nameserver(host, free, process, home)


@contextlib.contextmanager
def _placed(directory: Path, name: str, host: str, port: int) -> Iterator[tuple[Path, int]]:
    """A folder of its own for a nameserver, and port, or a reserved one where that is 0."""
    with contextlib.ExitStack() as stack:
        free = port or stack.enter_context(ports.reserved(host))
        home = directory / f"{name}-{free}"
        home.mkdir(parents=True)
        yield home, free


@contextlib.contextmanager
def _serving(name: str, command: list[str], home: Path, host: str, port: int, text: str) -> Iterator[Nameserver]:
    """The nameserver, once it answers for the first zone of text."""
    apex = next(iter(zones(text)))
    with running(name, command, directory=home, ready=lambda: client.answers(port, apex, host)) as process:
        yield Nameserver(host, port, process, home)


def _zone_file(apex: str) -> str:
    """The name of a zone's file."""
    return f"{apex.rstrip('.') or 'root'}.zone"


def _write_zones(home: Path, text: str) -> None:
    """Nothing; each zone of text in a file of its own, with the NS record that a zone must have."""
    for apex, lines in zones(text).items():
        if not any(line.split()[0] == apex and line.split()[3] == "NS" for line in lines):
            lines.append(f"{apex} 300 IN NS ns.example.net.")
        (home / _zone_file(apex)).write_text("\n".join([*lines, ""]))


@contextlib.contextmanager
def unbound_forwarder(directory: Path, to: str, *, host: str = "127.0.0.1") -> Iterator[Nameserver]:
    """Unbound that asks another nameserver ("127.0.0.1@53") for everything, and keeps nothing it says."""
    with _placed(directory, "unbound-forwarder", host, 0) as (home, free):
        config = f"""
server:
  interface: {host}
  port: {free}
  access-control: 0.0.0.0/0 allow
  chroot: ""
  username: ""
  directory: "{home}"
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
forward-zone:
  name: "."
  forward-addr: {to}
"""
        (home / "unbound.conf").write_text(config)
        command = ["unbound", "-d", "-d", "-p", "-c", str(home / "unbound.conf")]
        # Unbound knows localhost by itself (RFC 6761 s.6.3): it is ready without the other one.
        ready = lambda: client.answers(free, "localhost", host)  # noqa: E731
        with running("unbound-forwarder", command, directory=home, ready=ready) as process:
            yield Nameserver(host, free, process, home)
