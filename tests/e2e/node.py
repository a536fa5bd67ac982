"""A Kubernetes node of namespaces: a host, pods on veth links, and kube-dns behind Service addresses.

    pod 1  10.244.1.2 --+
    pod 2  10.244.2.2 --+-- host: forwards, keeps connection track, drops what it does not know
    kube-dns 10.244.3.2-+   10.96.0.10 (kube-dns) and 10.96.0.11 (kube-dns-upstream) become 10.244.3.2 by DNAT

All of it over IPv6, too. The host's firewall accepts new and established connections only: what skips connection
tracking is dropped unless a rule allows it, in both directions. kube-proxy's and kubelet's marks say which tool
Kubernetes uses on this node.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e import shardns as program
from tests.e2e.shardns import Shardns
from tests.peers import dig, nameservers, netns
from tests.peers.nameservers import Nameserver
from tests.peers.netns import Namespace
from tests.peers.process import wait_until

INTERFACE = "nodelocaldns"
NAME = "kubernetes.default.svc.cluster.local"
ADDRESS = "10.96.0.1"  # of NAME


@dataclass(frozen=True)
class Family:
    """The addresses of one address family."""

    name: str  # as conntrack calls it
    local: str
    service: str
    upstream: str
    server: str
    length: int  # of a host's prefix

    def pod(self, number: int) -> str:
        """The address of a pod; kube-dns is number 3."""
        return f"10.244.{number}.2" if self.length == 32 else f"fd00:244:{number}::2"


IPV4 = Family("ipv4", "169.254.20.10", "10.96.0.10", "10.96.0.11", "10.244.3.2", 32)
IPV6 = Family("ipv6", "fd00:169::10", "fd00:96::10", "fd00:96::11", "fd00:244:3::2", 128)
FAMILIES = (IPV4, IPV6)
LOCAL_IPS = [address for family in FAMILIES for address in (family.local, family.service)]

COREFILE = f"""
cluster.local:53 {{
    errors
    cache {{
        success 9984 30
        denial 9984 5
    }}
    bind {" ".join(LOCAL_IPS)}
    forward . UPSTREAM {{
        force_tcp
    }}
    prometheus METRICS
    health {IPV4.local}:8080
    ready READY
}}
.:53 {{
    errors
    cache 30
    bind {" ".join(LOCAL_IPS)}
    forward . UPSTREAM
}}
"""


class NoSuchNodeError(Exception):
    """This kernel cannot be such a node; the text says what it lacks."""


@dataclass
class Node:
    """A node without shardns."""

    backend: str  # "iptables-nft", "iptables-legacy" or "nftables"
    host: Namespace
    pods: tuple[Namespace, ...]
    kube_dns: Nameserver
    directory: Path

    @contextlib.contextmanager
    def shardns(self, family: Family = IPV4, *flags: str) -> Iterator[Shardns]:
        """Shardns on the host, as node-cache's manifest starts it; upstream is the other Service, of one family."""
        upstream = f"[{family.upstream}]:53" if family is IPV6 else family.upstream
        setup = ["-localip", ",".join(LOCAL_IPS), "-setupinterface=true", "-setupiptables=true", *flags]
        with program.shardns(self.directory, COREFILE, upstream=upstream, port=53, flags=setup) as made:
            yield made

    def ask(self, family: Family, *args: str, pod: int = 1, host: str = "") -> dig.Answer:
        """What a pod is answered when it asks the kube-dns Service, as its resolv.conf says. Raises NoAnswerError."""
        return dig.dig(*(args or (NAME,)), host=host or family.service, port=53, prefix=self.pods[pod - 1].command())

    def flows(self, family: Family, *filters: str) -> list[str]:
        """The entries of connection tracking for port 53."""
        text = self.host.run("conntrack", "-L", "-f", family.name, *filters, check=False).stdout
        return [line for line in text.splitlines() if "dport=53" in line]

    def forget_flows(self) -> None:
        """Nothing; connection tracking is empty."""
        self.host.run("conntrack", "-F")

    def rules(self) -> int:
        """How many rules with our comments there are, in everything that has rules."""
        tools = ("iptables-legacy-save", "iptables-nft-save", "ip6tables-legacy-save", "ip6tables-nft-save")
        saved = [self.host.run(tool, check=False).stdout for tool in tools]
        table = self.host.run("nft", "list", "table", "inet", "shardns", check=False).stdout
        return sum(text.count('"NodeLocal DNS Cache: ') for text in [*saved, table])

    @property
    def rules_wanted(self) -> int:
        """How many there are when all is set up: nftables has no use for accepts."""
        return len(LOCAL_IPS) * (8 if self.backend == "nftables" else 12)

    def addresses(self) -> int:
        """How many of our addresses the interface has."""
        text = self.host.run("ip", "address", "show", "dev", INTERFACE, check=False).stdout
        return sum(f" {address}/" in text for address in LOCAL_IPS)

    def is_whole(self) -> bool:
        """Whether interface and rules are all there."""
        return self.addresses() == len(LOCAL_IPS) and self.rules() == self.rules_wanted

    def is_bare(self) -> bool:
        """Whether nothing of shardns is left."""
        return self.rules() == 0 and INTERFACE not in self.host.run("ip", "link").stdout

    def queries(self) -> float:
        """How many queries kube-dns has had."""
        return nameservers.unbound_counts(self.kube_dns)["total.num.queries"]

    def allow_as_told(self, shardns: Shardns) -> None:
        """Nothing; the firewall has what shardns told its operator to add."""
        shardns.wait_event("rules.chosen")
        if self.backend == "nftables":
            wait_until(lambda: len(_told(shardns)) == 2, what="commands for input and output")
            for commands in _told(shardns):
                self.host.run("sh", "-c", commands)


@contextlib.contextmanager
def node(backend: str, cluster: str, directory: Path) -> Iterator[Node]:
    """The node; the calling thread is on its host meanwhile. Raises NoSuchNodeError where the kernel lacks a part."""
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(netns.namespace("host"))
        pods = [stack.enter_context(netns.namespace(f"pod{number}")) for number in (1, 2)]
        server = stack.enter_context(netns.namespace("kube-dns"))
        for made in (host, *pods, server):  # links are usable at once
            made.run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
        for number, made in enumerate([*pods, server], 1):
            _attach(host, made, number)
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for words in _probes(backend):
            done = host.run(*words, check=False)
            if done.returncode:
                raise NoSuchNodeError(f"{' '.join(words)}: {done.stderr.strip()}")
        for words in _nftables() if backend == "nftables" else _iptables(backend):
            host.run(*words)
        home = directory / "kube-dns"
        home.mkdir()
        with netns.entered(server):
            extra = f"server:\n  interface: {IPV6.server}"
            kube_dns = stack.enter_context(nameservers.unbound(cluster, home, host=IPV4.server, port=53, extra=extra))
        stack.enter_context(netns.entered(host))
        yield Node(backend, host, tuple(pods), kube_dns, directory)


def _attach(host: Namespace, made: Namespace, number: int) -> None:
    """A veth pair; everything that is not on it is behind the host. Services are reached by way of kube-dns."""
    link, ours = netns.join(made, f"10.244.{number}.2/24", host, f"10.244.{number}.1/24")
    made.add_address(f"fd00:244:{number}::2/64", link)
    host.add_address(f"fd00:244:{number}::1/64", ours)
    made.run("ip", "route", "add", "default", "via", f"10.244.{number}.1")
    made.run("ip", "-6", "route", "add", "default", "via", f"fd00:244:{number}::1")
    if number == 3:
        host.run("ip", "route", "add", "10.96.0.0/16", "dev", ours)
        host.run("ip", "-6", "route", "add", "fd00:96::/64", "dev", ours)


def _probes(backend: str) -> Iterator[tuple[str, ...]]:
    """Commands that succeed where the kernel has what such a node is made of."""
    if backend == "nftables":
        yield (
            "nft",
            "add table inet probe { chain nat { type nat hook output priority -100; }; }; delete table inet probe",
        )
        return
    for tool in (backend, backend.replace("ip", "ip6", 1)):
        for table in ("raw", "filter", "nat", "mangle"):
            yield (tool, "-t", table, "-S")


def _iptables(variant: str) -> Iterator[tuple[str, ...]]:
    """The commands that make firewall, Services and kubelet's hint with iptables."""
    for family in FAMILIES:
        tool = variant if family is IPV4 else variant.replace("ip", "ip6", 1)
        icmp = "icmp" if family is IPV4 else "icmpv6"
        for chain in ("INPUT", "OUTPUT", "FORWARD"):
            yield (tool, "-P", chain, "DROP")
            states = "ESTABLISHED,RELATED" if chain == "INPUT" else "NEW,ESTABLISHED,RELATED"
            yield (tool, "-A", chain, "-m", "conntrack", "--ctstate", states, "-j", "ACCEPT")
            yield (tool, "-A", chain, "-p", icmp, "-j", "ACCEPT")
        yield (tool, "-A", "INPUT", "-i", "lo", "-j", "ACCEPT")
        yield (tool, "-A", "OUTPUT", "-o", "lo", "-j", "ACCEPT")
        target = f"[{family.server}]:53" if family is IPV6 else f"{family.server}:53"
        for chain in ("PREROUTING", "OUTPUT"):
            for service in (family.service, family.upstream):
                for protocol in ("udp", "tcp"):
                    match = ("-p", protocol, "-d", service, "--dport", "53")
                    yield (tool, "-t", "nat", "-A", chain, *match, "-j", "DNAT", "--to-destination", target)
        yield (tool, "-t", "mangle", "-N", "KUBE-IPTABLES-HINT")


def _nftables() -> Iterator[tuple[str, ...]]:
    """The same with nft, and Services in the tables that kube-proxy has in its nftables mode."""
    states = {"input": "established, related", "output": "new, established, related"}
    states["forward"] = states["output"]
    lines = ["table inet firewall {"]
    for hook, known in states.items():
        lines.append(f"chain {hook} {{ type filter hook {hook} priority filter; policy drop; ct state {known} accept;")
        lines.append("meta l4proto { icmp, icmpv6 } accept;")
        lines.append({"input": "iif lo accept;", "output": "oif lo accept;"}.get(hook, "") + "}")
    lines.append("}")
    for family, table in ((IPV4, "ip"), (IPV6, "ip6")):
        target = f"[{family.server}]:53" if family is IPV6 else f"{family.server}:53"
        lines.append(f"table {table} kube-proxy {{")
        for hook in ("prerouting", "output"):
            lines.append(f"chain nat-{hook} {{ type nat hook {hook} priority -100;")
            match = f"{table} daddr {{ {family.service}, {family.upstream} }} meta l4proto {{ tcp, udp }} th dport 53"
            lines.append(f"{match} dnat to {target}; }}")
        lines.append("}")
    yield ("nft", "\n".join(lines))


def _told(shardns: Shardns) -> list[str]:
    """The commands in what the operator was told."""
    notes = [str(event["note"]).partition("allow it: ") for event in shardns.events("setup.warned")]
    return [commands for _, found, commands in notes if found]


def why_not() -> str:
    """Why no node can be built here; empty when one can."""
    if why := netns.can_make():
        return why
    missing = [tool for tool in ("iptables-nft", "nft", "conntrack") if not _is_here(tool)]
    return f"needs {', '.join(missing)}" if missing else ""


def _is_here(tool: str) -> bool:
    return any(Path(folder, tool).exists() for folder in os.environ["PATH"].split(":"))
