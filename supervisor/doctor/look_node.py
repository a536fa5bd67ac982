"""Sees the interface, the addresses, the rules and conntrack. Reads only, but for the queries that it sends."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from supervisor.doctor import asking
from supervisor.doctor.facts import AddressSeen, LinkSeen, NodeSeen, RulesSeen, Tracked
from supervisor.doctor.known import Known
from supervisor.network import choice, commands, reconcile
from supervisor.network.choice import BACKENDS, Backend, Seen
from supervisor.network.commands import Result, Run
from supervisor.network.desired import Netfilter, Rule
from supervisor.network.link import Links
from supervisor.network.nftables import Nftables
from supervisor.network.report import NO_CAPABILITY, Report

_TABLE: Final = Path("/proc/net/nf_conntrack")
_DISCARD: Final = 9  # nobody answers there (RFC 863): its entry shows that conntrack looks at this host's packets
_VARIANTS: Final[frozenset[Backend]] = frozenset(["iptables-legacy", "iptables-nft"])


def node(known: Known, _until: float) -> NodeSeen:
    """The interface and every address of this host."""
    with IPRoute() as netlink:
        link = Links(netlink).find(known.wishes.interface)
        found: list[AddressSeen] = []
        for message in netlink.get_addr():
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if text:
                found.append(AddressSeen(str(text), int(message["prefixlen"]), _name(int(message["index"]))))
    seen = LinkSeen(link.name, link.kind, link.is_ours()) if link is not None else None
    return NodeSeen(seen, tuple(found))


def rules(known: Known, until: float) -> RulesSeen:
    """The rules of ours in every backend that is here."""
    if not reconcile.can_set_up():
        return RulesSeen(unreadable=NO_CAPABILITY)
    run = bounded(until)
    seen = choice.look(run)
    asked: Netfilter = known.wishes.netfilter if known.wishes.netfilter != "none" else "auto"
    taken = choice.choose(asked, seen)
    report = Report()
    reconcile.may_use(taken.backend, report)
    found: dict[str, tuple[Rule, ...]] = {
        name: tuple(choice.made(name, run).listed(report)) for name in _present(seen, taken.backend)
    }
    firewalls: list[str] = []
    if any(found.values()):
        firewalls += Nftables(run).warnings(known.desired.rules)
    return RulesSeen("", taken, found, tuple(report.problems), tuple(firewalls))


def _present(seen: Seen, taken: Backend) -> list[Backend]:
    """What is here, and what would be taken."""
    present: list[Backend] = [name for name in BACKENDS if name in seen.programs]
    if _VARIANTS & set(present) and taken != "iptables":
        present = [name for name in present if name != "iptables"]  # it is one of the two
    if seen.is_legacy_hidden:
        present = [name for name in present if name != "iptables-legacy"]
    if "nft" in seen.programs:
        present.append("nftables")
    may_read = taken != "iptables-legacy" or not seen.is_legacy_hidden
    return list(dict.fromkeys([*present, taken] if may_read else present))


def bounded(until: float) -> Run:
    """Runs programs that have to be done by then."""

    def run(words: tuple[str, ...], text: str) -> Result:
        return commands.run(words, text, timeout_s=max(0.01, until - time.monotonic()))

    return run


def conntrack(known: Known, until: float) -> tuple[Tracked, ...]:
    """A query to each address, and whether conntrack has seen it."""
    if not known.is_running or not known.desired.rules:
        return ()
    return tuple(_track(address, known.wishes.dns_port, until) for address in known.wishes.local_ips)


def _track(address: str, port: int, until: float) -> Tracked:
    """One address: a query to it, and beside it a packet that no rule covers."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as control:
            control.connect((address, _DISCARD))
            source, beside = control.getsockname()[:2]
            control.send(b"")
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((address, port))
                own = sock.getsockname()[1]
                sock.settimeout(max(0.01, min(1.0, until - time.monotonic())))
                sock.send(asking.probe())
                _receive(sock)
            is_tracked = _has_entry(source, own, address, port)
            return Tracked(address, is_tracked, _has_entry(source, beside, address, _DISCARD))
    except PermissionError:
        return Tracked(address, reason=f"{NO_CAPABILITY}; run it as root, in the network of the node")
    except OSError as error:
        return Tracked(address, reason=f"conntrack cannot be asked: {error.strerror or error}")


def _receive(sock: socket.socket) -> None:
    """Wait for the answer: then the packet has been everywhere. Without one the time does it."""
    try:
        sock.recv(512)
    except OSError:
        return


def _has_entry(source: str, source_port: int, address: str, port: int) -> bool:
    """Whether conntrack has an entry for this datagram: the kernel is asked for this one, else its list is read.

    Raises OSError.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with NFCTSocket(nfgen_family=family) as netlink:
            asked = NFCTAttrTuple(family, source, address, socket.IPPROTO_UDP, source_port, port)
            return bool(netlink.entry("get", tuple_orig=asked))
    except NetlinkError as error:
        if error.code == errno.ENOENT:
            return False
        if _TABLE.exists():
            words = f"sport={source_port} dport={port} "
            with _TABLE.open() as lines:
                return any(words in line for line in lines)
        if error.code in (errno.EPERM, errno.EACCES):
            raise PermissionError(error.code, str(error)) from error
        raise OSError(error.code, str(error)) from error


def _name(index: int) -> str:
    """A link's."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
