"""Judges the interface, its addresses, the rules, and whether packets skip conntrack. Pure."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from supervisor.doctor.facts import AddressSeen, NodeSeen, RulesSeen, Tracked
from supervisor.doctor.findings import Finding, fail, ok, skip, warn
from supervisor.doctor.known import Known
from supervisor.network.desired import Rule
from supervisor.network.nftables import NAME as NFTABLES

IPVS_LINK: Final = "kube-ipvs0"
_LOG: Final = "its log says why (setup.failed)"
_LEFT: Final = "start shardns, or clean up with `shardns teardown`"
_SHOWN: Final = 3  # rules that are named in one line


def interface(known: Known, seen: NodeSeen) -> Iterator[Finding]:
    """The interface exists and is of a kind that we make."""
    name, wanted = known.wishes.interface, known.desired.interface
    if known.source == "nothing" or (not known.is_running and wanted):
        if seen.link is not None and seen.link.is_ours:
            yield warn("interface", f"{name} is left behind by a shardns or node-cache that is gone", _LEFT)
        else:
            yield skip("interface", f"there is no {name}, as nothing runs that would need it")
    elif not wanted:
        why = "-setupinterface=false" if not known.wishes.sets_interface else "every address of -localip is loopback's"
        yield skip("interface", f"none is wanted: {why if known.wishes.local_ips else 'there is no -localip'}")
    elif seen.link is None:
        yield fail("interface", f"there is no {name}", f"{_LOG}; it is made again at -syncinterval")
    elif not seen.link.is_ours:
        kind = f"of kind {seen.link.kind}" if seen.link.kind else "hardware"
        yield fail("interface", f"{name} is another's link ({kind})", "choose another name with -interfacename")
    elif seen.link.kind == "bridge":
        yield ok("interface", f"{name}: a bridge without ports, as the kernel has no dummy links")
    else:
        yield ok("interface", f"{name}: {seen.link.kind} link")


def addresses(known: Known, seen: NodeSeen) -> Iterator[Finding]:
    """Each address of -localip is on the interface, as /32 or /128, and nowhere else."""
    if not known.wishes.local_ips:
        yield skip("addresses", "no -localip is known")
    elif not known.is_running:
        yield skip("addresses", "nothing runs that would need them")
    else:
        for address in known.wishes.local_ips:
            if ipaddress.ip_address(address).is_loopback:
                yield ok("addresses", f"{address} is loopback's")
            else:
                yield _address(known, address, [one for one in seen.addresses if one.address == address])


def _address(known: Known, address: str, found: Sequence[AddressSeen]) -> Finding:
    """One address, and where it is."""
    wanted, links = known.desired.interface, [one.link for one in found]
    if IPVS_LINK in links:
        remedy = "take it out of -localip and bind, keep a link-local address, and give that one to the kubelets"
        return fail("addresses", f"{address} is on {IPVS_LINK}: kube-proxy answers there, in IPVS mode", remedy)
    if not found:
        remedy = f"{_LOG}; it is added again at -syncinterval" if wanted else "add it to an interface of this node"
        return fail("addresses", f"no interface has {address}", remedy)
    others = [link for link in links if link != wanted]
    if wanted and others:
        missing = "" if wanted in links else f", not on {wanted}"
        judge = warn if wanted in links else fail
        return judge("addresses", f"{address} is on {others[0]}{missing}", f"remove it there, {wanted} is to have it")
    full = 128 if ":" in address else 32
    if found[0].prefix != full:
        text = f"{address}/{found[0].prefix} on {found[0].link}: its whole range goes nowhere else"
        return warn("addresses", text, f"make it /{full}")
    return ok("addresses", f"{address}/{full} on {found[0].link}")


def rules(known: Known, seen: RulesSeen) -> Iterator[Finding]:
    """Every rule of each address is there, once, where this node keeps its rules."""
    if seen.unreadable:
        yield skip("rules", seen.unreadable, "run it as root, in the network of the node")
        return
    for problem in seen.problems:
        yield warn("rules", f"{problem.what}: {problem.reason}", problem.hint)
    found = {backend: there for backend, there in seen.rules.items() if there}
    if not known.is_running:
        yield from _left_behind(found)
    elif not known.wishes.local_ips:
        yield skip("rules", "none are wanted: there is no -localip")
    elif not known.desired.rules:
        yield skip("rules", "none are wanted: " + _why_none(known))
    elif not seen.problems:
        for address in known.wishes.local_ips:
            yield _rules_of(address, known, seen)
        yield from _elsewhere(known, seen)
    for text in seen.firewalls if known.is_running else ():
        yield warn("rules", *text.split("; ", 1))


def _why_none(known: Known) -> str:
    """In the words of the flags."""
    return "-setupiptables=false" if not known.wishes.sets_rules else "--netfilter none"


def _left_behind(found: dict[str, tuple[Rule, ...]]) -> Iterator[Finding]:
    """Rules of a shardns that is gone: packets skip the Service and reach nobody."""
    for backend, there in found.items():
        places = ", ".join(sorted({rule.address for rule in there}))
        yield warn("rules", f"{len(there)} rules for {places} are left behind in {backend}", _LEFT)
    if not found:
        yield skip("rules", "there are none, as nothing runs that would need them")


def _rules_of(address: str, known: Known, seen: RulesSeen) -> Finding:
    """The rules of one address in the best backend."""
    assert seen.choice is not None
    every = [rule for rule in known.desired.rules if rule.address == address]
    best = _best(every, seen)
    # In nftables an accept in our own table would do nothing, so those are not made there.
    wanted = [rule for rule in every if best != NFTABLES or rule.table == "raw"]
    there = Counter(rule for rule in seen.rules[best] if rule in every)
    missing = [rule for rule in wanted if rule not in there]
    where = f"{address}: {len(wanted) - len(missing)} of {len(wanted)} rules in {best}"
    if missing:
        remedy = "it is put back at -syncinterval; if it goes again, another program removes it"
        return fail("rules", f"{where}; missing: {_named(missing)}", remedy)
    twice = [rule for rule, count in there.items() if count > 1]
    if twice:
        remedy = "remove them with `shardns teardown`, then restart shardns"
        return warn("rules", f"{where}; more than once: {_named(twice)}", remedy)
    return ok("rules", f"{where} ({seen.choice.why})" if best == seen.choice.backend else where)


def _best(every: Sequence[Rule], seen: RulesSeen) -> str:
    """The backend that has most of them; where they belong if none is ahead."""
    choice = seen.choice.backend if seen.choice else ""
    return max(seen.rules, key=lambda name: (len({*every} & {*seen.rules[name]}), name == choice))


def _elsewhere(known: Known, seen: RulesSeen) -> Iterator[Finding]:
    """Rules of ours that are not where they belong, or belong to nobody."""
    assert seen.choice is not None
    used = [backend for backend, there in seen.rules.items() if there]
    others = [backend for backend in used if backend != seen.choice.backend]
    if seen.choice.backend in used:
        for backend in others:
            yield warn("rules", f"there are some in {backend} too", "`shardns teardown`, then restart shardns")
    elif others:
        text = f"they are in {others[0]}, but belong to {seen.choice.backend}: {seen.choice.why}"
        yield warn("rules", text, "restart shardns, so that it chooses again")
    strangers = {rule.address for there in seen.rules.values() for rule in there} - set(known.wishes.local_ips)
    if strangers:
        text = f"there are rules for {', '.join(sorted(strangers))}, which are not in -localip"
        yield warn("rules", text, f"`shardns teardown -localip {','.join(sorted(strangers))} -setupinterface=false`")


def _named(rules: Sequence[Rule]) -> str:
    """A few rules as iptables shows them."""
    texts = [f"{rule.table} {rule.chain} -p {' '.join(rule.arguments()[1:6])}" for rule in rules[:_SHOWN]]
    return ", ".join(texts) + (f" and {len(rules) - _SHOWN} more" if len(rules) > _SHOWN else "")


def conntrack(known: Known, seen: Sequence[Tracked]) -> Iterator[Finding]:
    """A query from this host to each address leaves no entry in conntrack."""
    if not known.is_running:
        yield skip("conntrack", "nothing runs that could be asked")
    elif not known.desired.rules:
        yield skip("conntrack", "no rules are wanted that would keep packets out of it")
    for one in seen:
        if one.is_tracked is None:
            yield skip("conntrack", f"{one.address}: {one.reason}")
        elif one.is_tracked:
            text = f"{one.address}: a query from this host has an entry, so a full table drops DNS"
            yield fail("conntrack", text, "see the rules above: the table raw, chain OUTPUT")
        elif one.tracks_others:
            yield ok("conntrack", f"{one.address}: a query from this host has no entry, other packets have")
        else:
            yield ok("conntrack", f"{one.address}: no entry, and nothing in this network is tracked at all")
