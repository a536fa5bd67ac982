"""Rules through iptables: what is read from iptables-save, and what is told to iptables-restore."""

from __future__ import annotations

import pytest

from supervisor.network.commands import Result
from supervisor.network.desired import Rule, Wishes, desired
from supervisor.network.iptables import Iptables, legacy_tables, parse
from supervisor.network.report import GRANT_RAW
from tests.unit.supervisor.network.fakes import Programs

SKIP = '-m comment --comment "NodeLocal DNS Cache: skip conntrack"'
ALLOW = '-m comment --comment "NodeLocal DNS Cache: allow DNS traffic"'
RULES = desired(Wishes(("169.254.20.10",))).rules


@pytest.mark.parametrize(
    "line, table, wanted",
    [
        (
            f"-A PREROUTING -d 169.254.20.10/32 -p udp -m udp --dport 53 {SKIP} -j NOTRACK",
            "raw",
            Rule("169.254.20.10", "raw", "PREROUTING", "udp", "d", 53),
        ),
        (
            f"-A OUTPUT -s fd00::a/128 -p tcp -m tcp --sport 8080 {SKIP} -j CT --notrack",
            "raw",
            Rule("fd00::a", "raw", "OUTPUT", "tcp", "s", 8080),
        ),
        (
            f"-A INPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {ALLOW} -j ACCEPT",
            "filter",
            Rule("10.96.0.10", "filter", "INPUT", "tcp", "d", 53),
        ),
    ],
)
def test_a_rule_of_ours(line, table, wanted):
    """iptables-save's form of our rules is read, whichever of us or node-cache wrote it."""
    assert parse(line, table) == wanted


@pytest.mark.parametrize(
    "line, table",
    [
        (":INPUT ACCEPT [0:0]", "filter"),
        ("-A INPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j ACCEPT", "filter"),
        (f"-A INPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {ALLOW} -j DROP", "filter"),
        (f"-A INPUT -d 10.96.0.0/16 -p tcp -m tcp --dport 53 {ALLOW} -j ACCEPT", "filter"),
        (f"-A INPUT -i eth0 -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {ALLOW} -j ACCEPT", "filter"),
        (f"-A INPUT ! -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {ALLOW} -j ACCEPT", "filter"),
        (f"-A INPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53:54 {ALLOW} -j ACCEPT", "filter"),
        (f"-A FORWARD -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {ALLOW} -j ACCEPT", "filter"),
        (f"-A INPUT -d 10.96.0.10/32 -p icmp {ALLOW} -j ACCEPT", "filter"),
        (f"-A OUTPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {SKIP} -j CT --zone 1", "raw"),
        (f"-A OUTPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {SKIP} -j CT --notrack --zone 1", "raw"),
        (f"-A OUTPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 {ALLOW} -j NOTRACK", "raw"),
        ('-A OUTPUT -m comment --comment "NodeLocal DNS Cache: ', "raw"),
        ('-A OUTPUT -p tcp -m comment --comment "NodeLocal DNS Cache: mine" -j ACCEPT', "filter"),
    ],
)
def test_a_rule_of_others(line, table):
    """A rule that differs from ours in any part is somebody else's, also when it has our comment."""
    assert parse(line, table) is None


def saved(rules):
    """How iptables-save lists these."""
    lines = []
    for rule in rules:
        match = f"-{rule.end} {rule.address}/32 -p {rule.protocol} -m {rule.protocol} --{rule.end}port {rule.port}"
        lines.append(f'-A {rule.chain} {match} -m comment --comment "{rule.comment}" -j {rule.target}')
    return Result(0, "\n".join(lines))


def there(rules):
    """Programs on a node that has these rules."""
    raw, accepts = ([rule for rule in rules if rule.table == table] for table in ("raw", "filter"))
    return Programs({"iptables-nft-save -t raw": saved(raw), "iptables-nft-save -t filter": saved(accepts)})


def test_nothing_is_told_when_all_is_there():
    """A look at a node in order runs two programs that only read."""
    programs = there(RULES)
    assert Iptables("nft", programs).ensure(RULES).added == []
    assert [line for line, _ in programs.asked] == ["iptables-nft-save -t raw", "iptables-nft-save -t filter"]


def test_what_is_missing_goes_in_at_once():
    """Missing rules go to the heads of their chains in one iptables-restore that waits for the lock."""
    programs = there([rule for rule in RULES if rule.protocol == "udp"])
    report = Iptables("nft", programs).ensure(RULES)
    line, text = programs.asked[-1]
    assert line == "iptables-nft-restore --noflush -w 5"
    assert text.splitlines()[:3] == [
        "*filter",
        f"-I INPUT -p tcp -d 169.254.20.10 --dport 53 -j ACCEPT {ALLOW}",
        f"-I OUTPUT -p tcp -s 169.254.20.10 --sport 53 -j ACCEPT {ALLOW}",
    ]
    assert text.count("COMMIT") == 2
    assert text.count("-I ") == 7
    assert report.added == ["iptables-nft: 7 rules for 169.254.20.10"]


def test_families_have_their_programs():
    """An IPv6 rule goes to ip6tables."""
    programs = Programs({})
    Iptables("", programs).ensure(desired(Wishes(("fd00::a",))).rules)
    assert {line.split()[0] for line, _ in programs.asked} == {"ip6tables-save", "ip6tables-restore"}


def test_duplicates_are_removed():
    """Every copy of a rule is taken away, in the words in which it is listed."""
    programs = there([*RULES, *RULES])
    report = Iptables("nft", programs).remove(set(RULES).__contains__, families=[False])
    text = programs.asked[-1][1]
    assert text.count("-D ") == 24
    assert f"-D INPUT -d 169.254.20.10/32 -p udp -m udp --dport 53 {ALLOW} -j ACCEPT" in text.splitlines()
    assert report.removed == ["iptables-nft: 24 rules for 169.254.20.10"]


def test_removing_nothing():
    """Where nothing is, nothing is told."""
    programs = there([])
    assert Iptables("nft", programs).remove(lambda _: True).removed == []
    assert not any("restore" in line for line, _ in programs.asked)


@pytest.mark.parametrize(
    "words, error_type, hint",
    [
        ("Another app is currently holding the xtables lock; still 0s ...", "iptables_lock", "tried again soon"),
        ("iptables v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
         "iptables", "NET_ADMIN"),
        ("Fatal: can't open lock file /run/xtables.lock: Read-only file system", "iptables", "/run/xtables.lock"),
        ("iptables v1.8.9 (legacy): can't initialize iptables table `raw'", "iptables", "iptable_raw"),
        ("iptables: No chain/target/match by that name.", "iptables", "xt_CT"),
        ("Warning: Extension CT revision 0 not supported, missing kernel module?", "iptables", "xt_CT"),
        ("iptables-restore: line 3 failed", "iptables", "xt_CT"),
        ("something new", "iptables", ""),
    ],
)  # fmt: skip
def test_problems(words, error_type, hint):
    """What iptables complains of is counted as node-cache does, with its words and a remedy."""
    programs = Programs({"iptables-nft-restore": Result(4, err=f"# Warning: legacy tables present\n{words}\n")})
    report = Iptables("nft", programs).ensure(RULES)
    assert report.added == []
    (problem,) = report.problems
    assert (problem.error_type, problem.reason) == (error_type, words)
    assert hint in problem.hint


def test_reason_over_two_lines():
    """iptables-nft says its name on a line of its own; what went wrong is on the next."""
    said = "iptables-nft-restore v1.8.9 (nf_tables): \nline 2: RULE_INSERT failed (No such file or directory): rule in"
    (problem,) = Iptables("nft", Programs({"iptables-nft-restore": Result(4, err=said)})).ensure(RULES).problems
    assert problem.reason == said.replace(" \n", " ")
    assert "modprobe" in problem.hint


def test_legacy_wants_a_raw_socket(monkeypatch):
    """What legacy iptables calls being root is CAP_NET_RAW: without the other one nobody asks it."""
    monkeypatch.setattr("supervisor.network.iptables.legacy_tables", lambda is_ipv6: frozenset(["raw"]))
    said = "iptables-save v1.8.9 (legacy): Cannot initialize: Permission denied (you must be root)"
    (problem,) = Iptables("legacy", Programs({"iptables-legacy-save": Result(1, err=said)})).ensure(RULES).problems
    assert (problem.error_type, problem.reason, problem.hint) == ("iptables", said, GRANT_RAW)


def test_unreadable_rules_are_left_alone():
    """Nothing is told when what is there cannot be read."""
    programs = Programs({"iptables-nft-save": Result(1, err="broken")})
    assert [p.reason for p in Iptables("nft", programs).ensure(RULES).problems] == ["broken"]
    assert len(programs.asked) == 1


def test_legacy_tables(tmp_path):
    """The kernel lists them; it is asked so that reading them does not make them."""
    assert legacy_tables(is_ipv6=False, proc=tmp_path) == frozenset()
    (tmp_path / "ip_tables_names").write_text("raw\nfilter\n")
    assert legacy_tables(is_ipv6=False, proc=tmp_path) == {"raw", "filter"}
    assert legacy_tables(is_ipv6=True, proc=tmp_path) == frozenset()
