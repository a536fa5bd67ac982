"""What was seen on the node, as plain data: made by look_*.py, judged by check_*.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from supervisor.doctor.known import Beat
from supervisor.network.choice import Choice, Seen
from supervisor.network.desired import Rule
from supervisor.network.report import Problem

Protocol = Literal["udp", "tcp"]


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A network interface."""

    name: str
    kind: str  # dummy, bridge ...; empty for hardware
    is_ours: bool  # shardns or node-cache may have made it


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """An address of this host."""

    address: str
    prefix: int
    link: str


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """The interface (None: there is none of that name) and every address."""

    link: LinkSeen | None = None
    addresses: tuple[AddressSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class RulesSeen:
    """The rules with our comments by backend, each as often as it is there."""

    unreadable: str = ""  # why they cannot be looked at
    choice: Choice | None = None  # where they belong on this node
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    firewalls: tuple[str, ...] = ()  # chains of others that may drop DNS, with the remedy


@dataclass(frozen=True, slots=True)
class Tracked:
    """A query to one address, and whether conntrack has an entry for it."""

    address: str
    is_tracked: bool | None = None  # None: could not be found out
    tracks_others: bool = True  # whether a packet that no rule of ours covers has an entry
    reason: str = ""  # why it could not be found out


@dataclass(frozen=True, slots=True)
class SocketSeen:
    """A socket that is bound (UDP) or listens (TCP). owner: "dnsmasq (pid 12)"; empty: not known."""

    protocol: Protocol
    host: str
    port: int
    is_ours: bool | None  # whether the supervisor holds it; None: not known
    owner: str = ""


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A process of the running shardns. state: as in proc(5), "T" is stopped."""

    pid: int
    title: str  # "worker 1", "upstream"
    state: str


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries to one address by one protocol."""

    host: str
    port: int
    protocol: Protocol
    sent: int
    answered: int
    slowest_s: float = 0.0
    error: str = ""  # of the first that was not answered


@dataclass(frozen=True, slots=True)
class WorkersSeen:
    """The workers after many queries from many ports."""

    asked: tuple[Asked, ...] = ()
    beats: tuple[Beat, ...] = ()  # afterwards; empty: nobody said
    processes: tuple[ProcessSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query. rcode: as text, empty without an answer; error says why then."""

    name: str
    qtype: str
    rcode: str = ""
    took_s: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A GET. status 0: no answer, for the reason in body."""

    status: int
    body: str = ""
    owner: str = ""  # who listens there, if it is not shardns


@dataclass(frozen=True, slots=True)
class ClusterSeen:
    """Signs of kube-proxy and of networks that do its work."""

    rules: Seen | None = None  # None: rules cannot be looked at
    links: frozenset[str] = frozenset()
    proxy_mode: str = ""  # what kube-proxy itself says on its metrics port; empty: no answer
    bpf: frozenset[str] = frozenset()  # names in /sys/fs/bpf and its tc/globals


@dataclass(frozen=True, slots=True)
class ResolvSeen:
    """resolv.conf, and the file behind systemd-resolved's stub. None: cannot be read."""

    nameservers: tuple[str, ...] | None = None
    behind_stub: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ShmSeen:
    """Room for shared memory, in octets."""

    free: int  # in /dev/shm
    table: int  # that our table has taken already


@dataclass(frozen=True, slots=True)
class CgroupSeen:
    """What the supervisor's cgroup allows and has used. None: no limit, or not known."""

    cpu_quota: float | None = None  # cores
    cpu_requested: float | None = None  # cores
    periods: int = 0
    periods_throttled: int = 0
    memory_limit: int | None = None  # octets
    memory_used: int | None = None  # octets that cannot be taken back


@dataclass(frozen=True, slots=True)
class KernelSeen:
    """What the kernel can do. None: it does not say."""

    dummy: bool | None = None
    conntrack: bool | None = None
    ct_target: bool | None = None  # of iptables
    nft_notrack: bool | None = None
    tracked: int | None = None  # connections
    tracked_max: int | None = None
