"""Namespaces of tests.peers.netns: reachable, separate, gone afterwards."""

import subprocess

import pytest

from tests.peers import netns

pytestmark = pytest.mark.netns


def test_joined_namespaces_reach_each_other(new_namespace):
    """Two namespaces joined by a veth pair reach each other, by both families."""
    pod, node = new_namespace("pod"), new_namespace("node")
    link, _ = netns.join(pod, "192.0.2.1/24", node, "192.0.2.2/24")
    pod.add_address("2001:db8::1/64", link)
    assert "192.0.2.2" in pod.run("ip", "route", "get", "192.0.2.2").stdout
    assert "state UP" in pod.run("ip", "link", "show", link).stdout


def test_resolv_conf_of_its_own(new_namespace):
    """What is written under /etc for a namespace is what processes inside read."""
    pod = new_namespace("pod")
    pod.write_etc("resolv.conf", "nameserver 192.0.2.53\n")
    assert pod.run("cat", "/etc/resolv.conf").stdout == "nameserver 192.0.2.53\n"


def test_gone_afterwards():
    """A namespace is removed at the end, with what still runs inside."""
    with netns.namespace("short") as made:
        child = subprocess.Popen(made.command("sleep", "60"))
        assert made.name in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert child.wait(5) == -9
    assert made.name not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
