"""Rules through nft: what it lists, what it is told, and what its operator is told."""

from __future__ import annotations

import json

import pytest

from supervisor.network.commands import Result
from supervisor.network.desired import Wishes, desired
from supervisor.network.nftables import Base, Nftables, bases, expression, parse
from tests.unit.supervisor.network.fakes import Programs

RULES = desired(Wishes(("169.254.20.10", "fd00::a"))).rules
RAW = [rule for rule in RULES if rule.table == "raw"]
ABSENT = Result(1, err="Error: No such file or directory\nlist table inet shardns")
ACCEPTS = [rule for rule in RULES if rule.chain == "INPUT"]


def item(rule, handle=7):
    """How nft lists it."""
    place = {"family": "inet", "table": "shardns", "chain": rule.chain.lower(), "handle": handle}
    return {**place, "comment": rule.comment, "expr": expression(rule)}


def listed(*items):
    """What nft -j prints."""
    return Result(0, json.dumps({"nftables": [{"metainfo": {}}, *items]}))


def chain(family="inet", table="fw", name="in", hook="input", policy="accept", kind="filter"):
    """A base chain."""
    place = {"family": family, "table": table, "name": name, "hook": hook}
    return {"chain": {**place, "policy": policy, "type": kind, "prio": 0}}


@pytest.mark.parametrize("rule", RAW, ids=str)
def test_a_rule_there_and_back(rule):
    """What we write is what we read."""
    assert parse(item(rule)) == rule


@pytest.mark.parametrize(
    "change",
    [
        {"comment": "mine"},
        {"comment": None},
        {"chain": "forward"},
        {"expr": []},
        {"expr": [{"counter": {}}, *expression(RAW[0])[1:]]},
        {"expr": [*expression(RAW[0])[:2], {"drop": None}]},
        {"expr": [*expression(RAW[0])[:2], {"counter": {}}, {"notrack": None}]},
    ],
)
def test_a_rule_of_others(change):
    """A rule that differs is not taken for ours."""
    assert parse(item(RAW[0]) | change) is None


def test_a_new_table_is_one_transaction():
    """Table, chains and rules that skip conntrack go in with one command; accepts would do nothing there."""
    programs = Programs({"nft -j list table": ABSENT})
    report = Nftables(programs).ensure(RULES)
    (text,) = [text for line, text in programs.asked if line == "nft -j -f -"]
    commands = [next(iter(command["add"].items())) for command in json.loads(text)["nftables"]]
    assert [kind for kind, _ in commands] == ["table", "chain", "chain", *["rule"] * 16]
    assert all("notrack" in json.dumps(what["expr"]) for kind, what in commands if kind == "rule")
    assert {what["prio"] for kind, what in commands if kind == "chain"} == {-300}
    assert report.added == ["nft table inet shardns: 16 rules for 169.254.20.10, fd00::a"]


def test_only_what_is_missing_is_added():
    """Rules of other instances in the table stay, and so do ours that are there."""
    programs = Programs({"nft -j list table": listed(*({"rule": item(rule)} for rule in RAW[1:]))})
    Nftables(programs).ensure(RULES)
    (text,) = [text for line, text in programs.asked if line == "nft -j -f -"]
    assert text.count('"rule"') == 1
    programs = Programs({"nft -j list table": listed(*({"rule": item(rule)} for rule in RAW))})
    Nftables(programs).ensure(RULES)
    assert [line for line, _ in programs.asked] == ["nft -j list table inet shardns"]


def test_removal():
    """The table goes when nothing is left in it; else only our rules go. Where none is, nothing is told."""
    all_there = listed(*({"rule": item(rule, n)} for n, rule in enumerate(RAW)))
    programs = Programs({"nft -j list table": all_there})
    assert Nftables(programs).remove(set(RULES).__contains__).removed == ["nft table inet shardns"]
    assert json.loads(programs.asked[-1][1])["nftables"][-1] == {
        "delete": {"table": {"family": "inet", "name": "shardns"}}
    }
    programs = Programs({"nft -j list table": all_there})
    assert Nftables(programs).remove({RAW[3]}.__contains__).removed == ["nft table inet shardns: 1 rules"]
    assert '"handle": 3' in programs.asked[-1][1]
    programs = Programs({"nft -j list table": ABSENT})
    assert Nftables(programs).remove(lambda _: True).removed == []
    assert len(programs.asked) == 1


@pytest.mark.parametrize(
    "words, hint",
    [
        ("netlink: Error: cache initialization failed: Operation not permitted", "NET_ADMIN"),
        ("there is no program nft here", "install nftables"),
        ("Error: Could not process rule: Operation not supported", "nft_ct"),
        ("something new", ""),
    ],
)
def test_problems(words, hint):
    """nft's words come with a remedy, under node-cache's one errortype for rules."""
    (problem,) = Nftables(Programs({"nft": Result(1, err=words)})).ensure(RULES).problems
    assert (problem.error_type, problem.reason) == ("iptables", words)
    assert hint in problem.hint


@pytest.mark.parametrize(
    "base, contents, is_named",
    [
        (chain(policy="drop"), [], True),
        (chain(), [], False),
        (chain(), [[{"match": {}}, {"drop": None}]], False),
        (chain(), [[{"match": {}}, {"accept": None}], [{"counter": {}}, {"drop": None}]], True),
        (chain(), [[{"reject": {"type": "icmpx"}}]], True),
        (chain(policy="drop", kind="nat"), [], False),
        (chain(policy="drop", hook="forward"), [], False),
        (chain(policy="drop", family="bridge"), [], False),
        (chain(policy="drop", table="shardns"), [], False),
    ],
)
def test_firewalls_that_may_drop_are_named(base, contents, is_named):
    """A chain that drops what reaches its end, by policy or by its last word, is named with what to add."""
    rules = [{"rule": {"expr": parts}} for parts in contents]
    answers = {"nft -j list table": ABSENT, "nft -j list chains": listed(base), "nft -j list chain ": listed(*rules)}
    notes = list(Nftables(Programs(answers)).warnings(RULES))
    assert bool(notes) is is_named
    for note in notes:
        assert (
            "nft insert rule inet fw in 'ip daddr { 169.254.20.10 } meta l4proto { tcp, udp } th dport 53 accept'"
            in note
        )
        assert "ip6 daddr { fd00::a }" in note


def test_what_a_firewall_accepts_is_not_named():
    """An operator who has done what the log said is told no more; the other address still is named."""
    accept = [{"match": {"right": {"set": ["169.254.20.10"]}}}, {"accept": None}]
    answers = {
        "nft -j list chains": listed(chain(policy="drop")),
        "nft -j list chain ": listed({"rule": {"expr": accept}}),
    }
    (note,) = Nftables(Programs(answers)).warnings(RULES)
    assert "169.254.20.10" not in note
    assert "fd00::a" in note


def test_chains_of_iptables_get_commands_of_iptables():
    """A rule of nft's own in a chain of iptables-nft would make iptables refuse the table."""
    (base,) = bases([chain("ip", "filter", "INPUT")])
    assert base == Base("ip", "filter", "INPUT", "input", drops_by_policy=False)
    few = [rule for rule in ACCEPTS if base.sees(rule)]
    assert [line.split(" -m ")[0] for line in base.allowances(few)] == [
        "iptables -I INPUT -p tcp -d 169.254.20.10 --dport 53 -j ACCEPT",
        "iptables -I INPUT -p udp -d 169.254.20.10 --dport 53 -j ACCEPT",
    ]
