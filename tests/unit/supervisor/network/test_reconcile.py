"""Rules on a real kernel, in every backend that it has: made, found, put back, removed; those of others stay."""

from __future__ import annotations

import fcntl
import shlex

import pytest

from supervisor.network import choice, commands, reconcile
from supervisor.network.desired import Wishes, desired
from supervisor.network.iptables import legacy_tables
from supervisor.network.report import GRANT_RAW, NO_RAW_SOCKET
from tests.unit.supervisor.network.test_desired import NODE_CACHE

pytestmark = [pytest.mark.netns, pytest.mark.slow]
WISHES = Wishes(("169.254.20.10", "fd00::a"), sets_interface=False)
WANTED = desired(WISHES)
COMMENT = "NodeLocal DNS Cache: "
HINT = "KUBE-IPTABLES-HINT"


@pytest.fixture(params=["legacy", "nft"])
def variant(request, node):
    """A variant of iptables that works here, which Kubernetes uses on this node."""
    tool = f"iptables-{request.param}"
    done = node.run(tool, "-t", "raw", "-A", "OUTPUT", "-p", "udp", "-j", "NOTRACK", "-m", "comment", "--comment", "x",
                    check=False)  # fmt: skip
    if done.returncode:
        pytest.skip(f"{tool} does not work here: {done.stderr.strip()}")
    node.run(tool, "-t", "raw", "-F", "OUTPUT")
    node.run(tool, "-t", "mangle", "-N", HINT)
    return request.param


@pytest.fixture
def nftables(node):
    """Skips where nft does not work."""
    done = node.run("nft", "add table inet probe; delete table inet probe", check=False)
    if done.returncode:
        pytest.skip(f"nft does not work here: {done.stderr.strip()}")


def saved(node, variant, family=""):
    """The lines of iptables-save that are rules."""
    lines = node.run(f"ip{family}tables-{variant}-save").stdout.splitlines()
    return [line for line in lines if line.startswith("-A")]


def ours(node, variant):
    """How many rules with our comments there are, by family."""
    return [sum(COMMENT in line for line in saved(node, variant, family)) for family in ("", "6")]


def table(node):
    """The nftables table; empty when there is none."""
    return node.run("nft", "list", "table", "inet", "shardns", check=False).stdout


def test_iptables(node, variant):
    """auto takes the variant that has the hint; node-cache's own commands find every rule; a second look adds none."""
    report = reconcile.ensure(WANTED, "auto")
    assert (report.backend, report.problems) == (f"iptables-{variant}", [])
    assert HINT in report.why
    assert ours(node, variant) == [12, 12]
    for line in NODE_CACHE.strip().splitlines():
        where, chain, *arguments = shlex.split(line)
        node.run(f"iptables-{variant}", "-w", "5", "-t", where, "-C", chain, *arguments)
    again = reconcile.ensure(WANTED, "auto", report.backend)
    assert (again.added, again.problems) == ([], [])


def test_rules_of_node_cache_are_found(node, variant):
    """What node-cache has left is taken over, not doubled, and removed at the end."""
    for line in NODE_CACHE.strip().splitlines():
        where, chain, *arguments = shlex.split(line)
        node.run(f"iptables-{variant}", "-t", where, "-I", chain, *arguments)
    report = reconcile.ensure(desired(Wishes(("169.254.20.10",), sets_interface=False)), "auto")
    # What a predecessor has left in the other variant is cleared; this one's are found.
    assert report.added == []
    assert ours(node, variant) == [12, 0]
    reconcile.remove_rules(WANTED, report.backend)
    assert ours(node, variant) == [0, 0]


def test_iptables_put_back_and_removed(node, variant):
    """Missing rules come back; removal takes duplicates too, leaves what others have, and can be done again."""
    foreign = ["-p", "udp", "-d", "169.254.20.10", "--dport", "53", "-j", "ACCEPT"]
    node.run(f"iptables-{variant}", "-A", "INPUT", *foreign)
    other = desired(Wishes(("10.96.0.10",))).rules[3].arguments()
    node.run(f"iptables-{variant}", "-A", "INPUT", *other)
    backend = reconcile.ensure(WANTED, "auto").backend
    node.run(f"iptables-{variant}", "-t", "raw", "-F")
    report = reconcile.ensure(WANTED, "auto", backend)
    assert report.added == [f"iptables-{variant}: 8 rules for 169.254.20.10"]
    for rule in WANTED.rules[:12]:
        node.run(f"iptables-{variant}", "-t", rule.table, "-I", rule.chain, *rule.arguments())
    assert ours(node, variant) == [25, 12]
    report = reconcile.remove_rules(WANTED, backend)
    assert report.removed == [
        f"iptables-{variant}: 24 rules for 169.254.20.10",
        f"ip6tables-{variant}: 12 rules for fd00::a",
    ]
    assert [line for line in saved(node, variant) if " 10.96.0.10/32" in line or COMMENT not in line] == saved(
        node, variant
    )
    assert len(saved(node, variant)) == 2
    again = reconcile.remove_rules(WANTED, backend)
    assert (again.removed, again.problems) == ([], [])


def test_nftables(node, nftables):
    """The table appears with all rules, is put back when something of it is gone, and goes without a trace."""
    report = reconcile.ensure(WANTED, "nftables")
    assert (report.backend, report.problems) == ("nftables", [])
    assert table(node).count("notrack") == 16
    assert reconcile.ensure(WANTED, "nftables", "nftables").added == []
    node.run("nft", "flush", "chain", "inet", "shardns", "output")
    assert reconcile.ensure(WANTED, "nftables", "nftables").added
    assert table(node).count("notrack") == 16
    node.run("nft", "delete", "table", "inet", "shardns")
    assert reconcile.ensure(WANTED, "nftables", "nftables").added
    assert reconcile.remove_rules(WANTED, "nftables").removed == ["nft table inet shardns"]
    assert table(node) == ""
    again = reconcile.remove_rules(WANTED, "nftables")
    assert (again.removed, again.problems) == ([], [])


def test_kube_proxy_in_nftables_mode(node, nftables):
    """auto follows kube-proxy's own table."""
    node.run("nft", "add table ip kube-proxy; add chain ip kube-proxy services")
    report = reconcile.ensure(WANTED, "auto")
    assert (report.backend, report.why) == ("nftables", "kube-proxy runs in nftables mode")


def test_two_instances_share_the_nftables_table(node, nftables):
    """Each adds what is its own and removes nothing else."""
    other = desired(Wishes(("169.254.20.11",)))
    reconcile.ensure(WANTED, "nftables")
    reconcile.ensure(other, "nftables")
    assert table(node).count("notrack") == 24
    assert reconcile.ensure(WANTED, "nftables", "nftables").added == []
    reconcile.remove_rules(WANTED, "nftables")
    assert table(node).count("notrack") == 8
    assert table(node).count("169.254.20.11") == 8
    reconcile.remove_rules(other, "nftables")
    assert table(node) == ""


def test_a_firewall_that_drops_is_named(node, nftables):
    """The command that the log gives is understood by nft and lets DNS in."""
    node.run("nft", "add table inet fw; add chain inet fw in { type filter hook input priority 0; policy drop; }")
    notes = reconcile.ensure(WANTED, "nftables").notes
    (note,) = [note for note in notes if "inet fw in" in note]
    for command in note.partition("allow it: ")[2].split(" && "):
        node.run(*shlex.split(command))
    assert (
        "ip daddr 169.254.20.10 meta l4proto { tcp, udp } th dport 53 accept"
        in node.run("nft", "list", "ruleset").stdout
    )


def test_a_firewall_beside_iptables_is_named(node, variant, nftables):
    """The accepts of iptables end its own chains only: a firewall in another table is told about as well."""
    node.run("nft", "add table inet fw; add chain inet fw in { type filter hook input priority 10; }; "
             "add rule inet fw in ct state established accept; add rule inet fw in reject")  # fmt: skip
    node.run(f"iptables-{variant}", "-P", "INPUT", "DROP")
    report = reconcile.ensure(WANTED, "auto")
    assert report.backend == f"iptables-{variant}"
    notes = [note for note in report.notes if "may drop DNS" in note]
    assert [note.split()[2:5] for note in notes] == [["inet", "fw", "in"]], "not the chain that our accepts are in"
    for command in notes[0].partition("allow it: ")[2].split(" && "):
        node.run(*shlex.split(command))
    assert not [note for note in reconcile.ensure(WANTED, "auto").notes if "may drop DNS" in note]


def test_what_a_predecessor_left_elsewhere_goes(node, nftables):
    """A change of backend between two runs leaves no rules in the old one."""
    reconcile.ensure(WANTED, "nftables")
    backend = reconcile.ensure(WANTED, "iptables").backend
    assert table(node) == ""
    reconcile.ensure(WANTED, "nftables")
    assert ours(node, backend.removeprefix("iptables-")) == [0, 0]
    assert table(node).count("notrack") == 16


def test_clean_removes_everything_of_ours(node, variant, nftables):
    """After a kill: interface, rules in every backend, for all addresses or for those given; twice is no error."""
    wanted = desired(Wishes(("169.254.20.10", "fd00::a")))
    backend = reconcile.ensure(wanted, "auto").backend
    reconcile.ensure(desired(Wishes(("10.96.0.10",), sets_interface=False)), "auto", backend)
    reconcile.ensure(wanted, "nftables", "nftables")
    report = reconcile.clean(wanted, every_rule=False)
    assert report.problems == []
    assert ours(node, variant) == [12, 0]
    assert table(node) == ""
    assert "nodelocaldns" not in node.run("ip", "link").stdout
    report = reconcile.clean(wanted, every_rule=True)
    assert report.removed == [f"iptables-{variant}: 12 rules for 10.96.0.10"]
    again = reconcile.clean(wanted, every_rule=True)
    assert (again.removed, again.problems) == ([], [])


def test_looking_makes_no_table(node):
    """To read a table of legacy iptables is to make it, and every packet would go through it: so it is not read."""
    reconcile.clean(WANTED, every_rule=True)
    if node.run("nft", "list", "tables", check=False).returncode == 0:
        assert node.run("nft", "list", "tables").stdout == ""
    assert legacy_tables(is_ipv6=False) == legacy_tables(is_ipv6=True) == frozenset()


def test_addresses_of_ipvs_get_no_rules(node, variant):
    """Packets to an address that IPVS answers on must not be taken out of conntrack."""
    node.run("ip", "link", "add", "kube-ipvs0", "type", "bridge")
    node.add_address("10.96.0.10/32", "kube-ipvs0")
    report = reconcile.ensure(desired(Wishes(("169.254.20.10", "10.96.0.10"))), "auto")
    assert [problem.error_type for problem in report.problems] == ["interface_check"]
    assert ours(node, variant) == [12, 0]
    assert not any("10.96.0.10" in line for line in saved(node, variant))


def test_a_held_lock(node, tmp_path, monkeypatch):
    """The wait for the xtables lock ends; it is counted by its own name, and nothing is half done."""
    if node.run("iptables-legacy", "-t", "raw", "-S", check=False).returncode:
        pytest.skip("legacy iptables does not work here")
    lock = tmp_path / "xtables.lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    monkeypatch.setattr("supervisor.network.iptables.LOCK_S", 1)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        problems = reconcile.ensure(WANTED, "iptables", "iptables-legacy").problems
    assert {problem.error_type for problem in problems} == {"iptables_lock"}
    assert "xtables lock" in problems[0].reason
    assert ours(node, "legacy") == [0, 0]
    assert reconcile.ensure(WANTED, "iptables", "iptables-legacy").problems == []


@pytest.mark.parametrize("capabilities, wanted", [("0000000000001000", True), ("0000000000000400", False)])
def test_can_set_up(tmp_path, capabilities, wanted):
    """It is CAP_NET_ADMIN that decides."""
    (tmp_path / "status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
    assert reconcile.can_set_up(tmp_path / "status") is wanted


def test_can_open_raw(tmp_path):
    """It is CAP_NET_RAW that decides; legacy iptables alone wants it."""
    (tmp_path / "status").write_text("CapEff:\t0000000000001000\n")
    assert not reconcile.can_open_raw(tmp_path / "status")
    (tmp_path / "status").write_text("CapEff:\t0000000000003000\n")
    assert reconcile.can_open_raw(tmp_path / "status")


@pytest.mark.parametrize("hint", [True, False])
def test_legacy_without_raw_socket(node, monkeypatch, hint):
    """Legacy tables that may not be read are taken for in use, unless Kubernetes has its chain elsewhere."""
    if node.run("iptables-legacy", "-t", "raw", "-S", check=False).returncode:
        pytest.skip("legacy iptables does not work here")
    if hint and node.run("iptables-nft", "-t", "mangle", "-N", HINT, check=False).returncode:
        pytest.skip("iptables-nft does not work here")
    real = commands.run

    def denied(words, text=""):
        denial = commands.Result(1, err="Cannot initialize: Permission denied (you must be root)")
        return denial if "legacy" in words[0] else real(words, text)

    monkeypatch.setattr(reconcile, "can_open_raw", lambda: False)
    monkeypatch.setattr(choice.look, "__defaults__", (denied,))
    report = reconcile.ensure(WANTED, "auto")
    if hint:
        assert (report.backend, report.problems) == ("iptables-nft", [])
        assert ours(node, "nft") == [12, 12]
        assert any("we may not read" in note for note in report.notes)
    else:
        (problem,) = report.problems
        assert (report.backend, problem.reason, problem.hint) == ("iptables-legacy", NO_RAW_SOCKET, GRANT_RAW)
        assert reconcile.remove_rules(WANTED, report.backend).problems == [problem]
    assert ours(node, "legacy") == [0, 0]


def test_without_capability(monkeypatch):
    """Nothing is tried; each part is one problem of its own kind with the remedy."""
    monkeypatch.setattr("supervisor.network.reconcile.can_set_up", lambda: False)
    report = reconcile.ensure(desired(Wishes(("169.254.20.10",))), "auto")
    assert [(p.error_type, p.reason) for p in report.problems] == [
        ("interface_add", "we have no CAP_NET_ADMIN"),
        ("iptables", "we have no CAP_NET_ADMIN"),
    ]
    assert all("NET_ADMIN" in problem.hint for problem in report.problems)
