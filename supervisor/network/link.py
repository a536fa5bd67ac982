"""The interface that holds the local addresses, through netlink (pyroute2; imported in short-lived children only).

A dummy link, as node-cache makes it; a bridge without ports where the kernel has no dummy links. Either only owns
addresses: it is never set up and no packet goes through it. The kernel delivers to an address of a link that is down,
over IPv6 too if the address is added without duplicate address detection.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from supervisor.network.report import GRANT, Report

ALIAS = "shardns"  # on the links we make, so that we know them from other people's (ip link shows it)
IPVS_LINK = "kube-ipvs0"
_NODAD = 0x02  # IFA_F_NODAD: an IPv6 address is usable at once
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENODEV)  # how kernels say that they have no such kind of link


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface."""

    index: int
    name: str
    kind: str  # dummy, bridge, ...; empty for hardware
    alias: str
    has_ports: bool

    def is_ours(self) -> bool:
        """Whether we, or node-cache, may have made it: a dummy, or our bridge."""
        return self.kind == "dummy" or (self.kind == "bridge" and self.alias == ALIAS and not self.has_ports)


class Links:
    """The interfaces of this network namespace."""

    def __init__(self, netlink: IPRoute) -> None:
        """netlink: open."""
        self._netlink = netlink

    def find(self, name: str) -> Link | None:
        """The link of that name. Raises NetlinkError."""
        try:
            found = self._netlink.link("get", ifname=name)[0]
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
        index = int(found["index"])
        info = found.get_attr("IFLA_LINKINFO")
        kind = str(info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""
        has_ports = kind == "bridge" and any(True for _ in self._netlink.get_links(master=index))
        return Link(index, name, kind, str(found.get_attr("IFLA_IFALIAS") or ""), has_ports)

    def add(self, name: str) -> Link:
        """A new link of that name. Raises NetlinkError."""
        kind = "dummy"
        try:
            self._netlink.link("add", ifname=name, kind=kind)
        except NetlinkError as error:
            if error.code not in _UNSUPPORTED:
                raise
            kind = "bridge"
            self._netlink.link("add", ifname=name, kind=kind)
        made = self.find(name)
        if made is None:
            raise NetlinkError(errno.ENODEV, "it was removed at once")
        self.mark(made)
        return made

    def mark(self, link: Link) -> None:
        """Say on it that it is ours. The kernel cannot do that in the step that makes a link. Raises NetlinkError."""
        self._netlink.link("set", index=link.index, ifalias=ALIAS)

    def delete(self, link: Link) -> None:
        """Remove it, with its addresses. Raises NetlinkError."""
        self._netlink.link("del", index=link.index)

    def owners(self) -> Mapping[str, list[int]]:
        """The links' indexes by address, for every address of this host. Raises NetlinkError."""
        found: dict[str, list[int]] = {}
        for message in self._netlink.get_addr():
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if text:
                found.setdefault(str(ipaddress.ip_address(text)), []).append(int(message["index"]))
        return found

    def add_address(self, link: Link, address: str) -> None:
        """Give link the address as /32 or /128. Raises NetlinkError."""
        extra = {"prefixlen": 128, "flags": _NODAD} if ":" in address else {"prefixlen": 32}
        self._netlink.addr("add", index=link.index, address=address, **extra)

    def delete_address(self, link: Link, address: str) -> None:
        """Take the address away again. Raises NetlinkError."""
        self._netlink.addr("del", index=link.index, address=address, prefixlen=128 if ":" in address else 32)


def ensure(interface: str, addresses: Sequence[str]) -> Report:
    """The interface is there afterwards with every address; or problems say why not.

    Addresses on which nothing of ours can answer are withheld: packets that are kept from the Service must arrive here.
    """
    report = Report(withheld=list(addresses))
    what = f"interface {interface}"
    with _netlink(report, what) as netlink:
        links = Links(netlink)
        link = links.find(interface)
        if link is None:
            link = _make(links, interface, report)
        elif _is_half_made(links, link, addresses):
            links.mark(link)
        elif not link.is_ours():
            kind = f"a link of kind {link.kind}" if link.kind else "hardware"
            hint = "choose another name with -interfacename, or remove that link"
            report.fail("interface_check", what, f"the name is taken by {kind}", hint)
            return report
        if link is not None:
            _ensure_addresses(links, link, addresses, report)
    return report


def remove(interface: str, addresses: Sequence[str]) -> Report:
    """What is ours of the interface is gone afterwards.

    A link that we did not make and that has addresses of others on it loses only those given here. A link of another
    kind, which only has the name, is left alone.
    """
    report = Report()
    what = f"interface {interface}"
    with _netlink(report, what) as netlink:
        links = Links(netlink)
        link = links.find(interface)
        if link is None or not link.is_ours():
            return report
        own = [text for text, indexes in links.owners().items() if link.index in indexes and not _is_link_local(text)]
        foreign = set(own) - set(addresses) if addresses and link.alias != ALIAS else set()
        if not foreign:
            links.delete(link)
            report.removed.append(what)
            return report
        for address in set(own) & set(addresses):
            links.delete_address(link, address)
            report.removed.append(f"address {address} of {interface}")
        report.notes.append(f"{what} stays: it has {', '.join(sorted(foreign))}, which are not ours")
    return report


def _make(links: Links, interface: str, report: Report) -> Link | None:
    """The interface, new; None if it cannot be made, which report says then."""
    try:
        link = links.add(interface)
    except NetlinkError as error:
        report.fail("interface_add", f"interface {interface}", *_words(error))
        return None
    report.added.append(f"interface {interface}")
    if link.kind != "dummy":
        report.notes.append(f"this kernel has no dummy links: interface {interface} is a bridge without ports instead")
    return link


def _ensure_addresses(links: Links, link: Link, addresses: Sequence[str], report: Report) -> None:
    """Give link every address that no link has; those that answer here are withheld no more."""
    owners = links.owners()
    for address in addresses:
        indexes = owners.get(address, [])
        others = [_name(index) for index in indexes if index != link.index]
        what = f"address {address}"
        if IPVS_LINK in others:
            hint = (
                "kube-proxy runs in IPVS mode and answers there: take it out of -localip and bind, keep a link-local "
                "address, and give that one to the kubelets (clusterDNS)"
            )
            report.fail("interface_check", what, f"{IPVS_LINK} has it; it gets no rules", hint)
            continue
        if link.index in indexes:
            report.withheld.remove(address)
        elif others:
            hint = f"remove it there if {link.name} is to have it, or give -setupinterface=false"
            report.fail("interface_check", what, f"interface {others[0]} has it already", hint)
            report.withheld.remove(address)
        elif _add_address(links, link, address, report):
            report.withheld.remove(address)


def _add_address(links: Links, link: Link, address: str, report: Report) -> bool:
    """Whether link has the address now; report says it if not."""
    try:
        links.add_address(link, address)
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            return True
        report.fail("interface_add", f"address {address}", *_words(error))
        return False
    report.added.append(f"address {address} on {link.name}")
    return True


def _is_half_made(links: Links, link: Link, addresses: Sequence[str]) -> bool:
    """Whether it is a bridge of ours whose maker was killed before it could mark it."""
    if link.kind != "bridge" or link.alias or link.has_ports:
        return False
    own = {text for text, indexes in links.owners().items() if link.index in indexes}
    return own <= set(addresses)


@contextmanager
def _netlink(report: Report, what: str) -> Iterator[IPRoute]:
    """An open socket to the kernel; what the kernel says against us becomes a problem."""
    with IPRoute() as netlink:
        try:
            yield netlink
        except NetlinkError as error:
            report.fail("interface_check", what, *_words(error))


def _words(error: NetlinkError) -> tuple[str, str]:
    """Reason and remedy."""
    hints = {
        errno.EPERM: GRANT,
        errno.EACCES: "IPv6 is off: see the sysctl net.ipv6.conf.all.disable_ipv6",
        errno.EOPNOTSUPP: "the kernel has neither dummy links nor bridges: modprobe dummy",
        errno.EINVAL: "an interface's name has at most 15 characters, none of them / or space",
    }
    code = int(error.code)
    return os.strerror(code), hints.get(code, "")


def _name(index: int) -> str:
    """The name of a link."""
    with suppress(OSError):
        return socket.if_indextoname(index)
    return str(index)


def _is_link_local(address: str) -> bool:
    """Whether the kernel made it by itself (fe80::)."""
    return ":" in address and ipaddress.ip_address(address).is_link_local
