"""Interface and rules over the life of a supervisor, on a real kernel: what is removed is back within a second."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time

import pytest

from shardns import log
from supervisor.network import jobs, reconcile
from supervisor.network.desired import Wishes
from supervisor.network.node import BURST, Node
from supervisor.network.presence import Presence
from supervisor.network.report import Problem, Report

pytestmark = [pytest.mark.netns, pytest.mark.slow]
HALF_S = 0.5
WISHES = Wishes(("169.254.20.10", "fd00::a"), netfilter="nftables")


@pytest.fixture(autouse=True)
def as_json():
    """Events are read from standard output."""
    log.configure("json", "info")


class Life:
    """A Node with the loop that a supervisor has around it."""

    def __init__(self, wishes):
        self.poll = select.poll()
        self.node = Node(wishes, self.poll)
        self.delays = []  # from a notice to the look, in seconds

    def turn(self, true, within_s=10.0):
        """Run until true(); the sync interval is far longer."""
        began = time.monotonic()
        while not true():
            now = time.monotonic()
            assert now < began + within_s, "it never was"
            wake_at = self.node.wake_at()
            wait_s = 0.02 if wake_at is None else min(0.02, max(0.0, wake_at - now))
            for fd, _ in self.poll.poll(wait_s * 1000):
                now = time.monotonic()
                assert self.node.heard(fd, now)
                self.delays += [self.node._next_look - now] if self.node._next_look is not None else []
            self.node.tick(time.monotonic())


@contextlib.contextmanager
def alive(wishes=WISHES):
    """A node that is set up and serves."""
    life = Life(wishes)
    life.node.prepare()
    life.node.serve(time.monotonic())
    try:
        yield life
    finally:
        life.node.tear_down()


def has_link(node):
    """Whether the interface is there, with both addresses."""
    text = node.run("ip", "address", "show", "dev", "nodelocaldns", check=False).stdout
    return "169.254.20.10/32" in text and "fd00::a/128" in text


def rules(node):
    """How many rules are in our table."""
    return node.run("nft", "list", "table", "inet", "shardns", check=False).stdout.count("notrack")


def events(capfd):
    """What was logged since the last look."""
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_the_life(node, capfd):
    """First the interface; rules only when it serves; at the end rules, then interface; nothing is left."""
    life = Life(WISHES)
    life.node.prepare()
    assert has_link(node)
    assert rules(node) == 0
    life.node.serve(time.monotonic())
    life.turn(lambda: rules(node) == 16)
    life.node.withdraw()
    assert has_link(node)
    assert rules(node) == 0
    life.node.tear_down()
    assert not has_link(node)
    life.node.tear_down()
    names = [event["event"] for event in events(capfd) if event["event"] != "setup.warned"]
    assert names == ["setup.added", "rules.chosen", "setup.added", "setup.removed", "setup.removed"]


@pytest.mark.parametrize(
    "removal",
    [
        ("ip", "link", "del", "nodelocaldns"),
        ("ip", "address", "del", "169.254.20.10/32", "dev", "nodelocaldns"),
        ("ip", "address", "del", "fd00::a/128", "dev", "nodelocaldns"),
        ("nft", "delete", "table", "inet", "shardns"),
        ("nft", "flush", "ruleset"),
        ("nft", "flush", "chain", "inet", "shardns", "prerouting"),
    ],
    ids=" ".join,
)
def test_what_is_removed_comes_back(node, removal):
    """Upon the kernel's notice, not at the sync interval."""
    with alive() as life:
        life.turn(lambda: rules(node) == 16)
        life.delays.clear()
        node.run(*removal)
        assert not (has_link(node) and rules(node) == 16)
        life.turn(lambda: has_link(node) and rules(node) == 16)
        assert 0 < min(life.delays) <= HALF_S


def test_iptables_nft_comes_back(node):
    """The nf_tables variant of iptables sends notices as well."""
    if node.run("iptables-nft", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT", check=False).returncode:
        pytest.skip("iptables-nft does not work here")

    def count():
        return node.run("iptables-nft-save").stdout.count("NodeLocal")

    with alive(Wishes(("169.254.20.10",))) as life:
        life.turn(lambda: count() == 12)
        node.run("iptables-nft", "-t", "raw", "-F", "PREROUTING")
        assert count() == 10
        life.turn(lambda: count() == 12)
        assert 0 < min(life.delays) <= HALF_S
    assert count() == 0


def test_legacy_comes_back_at_the_sync_interval(node):
    """Legacy iptables sends none: what is removed is found at the next look."""
    if node.run("iptables-legacy", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT", check=False).returncode:
        pytest.skip("iptables-legacy does not work here")

    def count():
        return node.run("iptables-legacy-save").stdout.count("NodeLocal")

    with alive(Wishes(("169.254.20.10",), sync_s=1.0)) as life:
        life.turn(lambda: count() == 12)
        node.run("iptables-legacy", "-t", "raw", "-F", "PREROUTING")
        life.turn(lambda: count() == 12)
    assert count() == 0


def test_skipteardown(node):
    """Interface and rules stay."""
    with alive(Wishes(("169.254.20.10", "fd00::a"), netfilter="nftables", skips_teardown=True)) as life:
        life.turn(lambda: rules(node) == 16)
    assert has_link(node)
    assert rules(node) == 16


def test_the_last_one_tears_down(node, capfd):
    """An instance that ends while another serves the same interface leaves it all in place."""
    other = Presence("nodelocaldns")
    with alive() as life:
        life.turn(lambda: rules(node) == 16)
    assert has_link(node)
    assert rules(node) == 16
    assert "teardown.skipped" in [event["event"] for event in events(capfd)]
    other.close()
    with alive() as life:
        life.turn(lambda: life.node.wake_at() > time.monotonic() + 5)
    assert not has_link(node)
    assert rules(node) == 0


def test_ends_while_a_look_is_under_way(node):
    """The look is awaited, and what it made is removed."""
    life = Life(WISHES)
    life.node.prepare()
    life.node.serve(time.monotonic())
    life.node.tear_down()
    assert not has_link(node)
    assert rules(node) == 0


def test_nothing_to_do(node):
    """Without addresses nothing is set up and nothing is waited for."""
    life = Life(Wishes())
    life.node.prepare()
    life.node.serve(0.0)
    life.node.tick(0.0)
    assert life.node.wake_at() is None
    life.node.tear_down()


LOCKED = Problem("iptables_lock", "rules", "held")
BROKEN = Problem("iptables", "rules", "broken")


def test_problems_are_said_once_and_counted_each_time(node, monkeypatch, capfd):
    """A problem that stays is one line; when it is gone that is said; a held lock is tried again soon."""
    reports = iter([Report(problems=[BROKEN, LOCKED]), Report(problems=[BROKEN]), Report()])
    monkeypatch.setattr(reconcile, "ensure", lambda *_: next(reports))
    monkeypatch.setattr(jobs, "start", lambda work: Done(work()))
    life = Life(Wishes(("127.0.0.53",)))
    life.node.prepare()
    life.node.serve(100.0)
    for now in (100.0, 105.0, 165.0):
        life.node.tick(now)
        job = life.node._job
        assert job is not None
        life.node.heard(job.fd, now)
    assert life.node.wake_at() == 225.0
    assert life.node.errors == {"iptables": 2, "iptables_lock": 1}
    life.node.tear_down()
    said = [(event["event"], event.get("error")) for event in events(capfd)]
    assert said == [("setup.failed", "broken"), ("setup.failed", "held"), ("setup.recovered", None),
                    ("setup.recovered", None)]  # fmt: skip


class Done:
    """A job that has ended already."""

    deadline = float("inf")

    def __init__(self, report):
        self.report = report
        self.fd = os.eventfd(0)

    def read(self):
        """What it came to."""
        os.close(self.fd)
        return self.report

    wait = read


def test_a_fight_is_not_fought_at_full_speed(node):
    """Somebody who removes what we put back again and again gets a look every few seconds, not every moment."""
    life = Life(WISHES)
    times = [life.node._after_notice(1000.0 + n / 10) - (1000.0 + n / 10) for n in range(BURST + 3)]
    assert max(times[:BURST]) < 0.1
    assert min(times[BURST:]) >= 5.0
    assert life.node._after_notice(1100.0) < 1100.1
