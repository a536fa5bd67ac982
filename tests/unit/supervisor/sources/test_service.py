"""The cluster's DNS address, from the environment."""

from __future__ import annotations

import pytest

from supervisor.sources import service

KUBE, BESIDE = "KUBE_DNS_SERVICE_HOST", "KUBE_DNS_UPSTREAM_SERVICE_HOST"
LOCAL = ("169.254.20.10", "10.96.0.10")


@pytest.mark.parametrize(
    "name, wanted",
    [("kube-dns", KUBE), ("kube-dns-upstream", BESIDE), ("node-Local", "NODE_LOCAL_SERVICE_HOST")],
)
def test_variable(name, wanted):
    """As the kubelet names it: upper case, dashes are underscores."""
    assert service.variable(name) == wanted


@pytest.mark.parametrize(
    "name, env, wanted",
    [
        ("kube-dns-upstream", {BESIDE: "10.96.0.11", KUBE: "10.96.0.12"}, "10.96.0.11"),
        ("kube-dns", {KUBE: "10.96.0.10", BESIDE: "10.96.0.11"}, "10.96.0.10"),
        ("", {KUBE: "10.96.0.12", BESIDE: "10.96.0.11"}, "10.96.0.12"),
        ("", {KUBE: "10.96.0.10", BESIDE: "10.96.0.11"}, "10.96.0.11"),
        ("", {BESIDE: "10.96.0.11"}, "10.96.0.11"),
        ("", {KUBE: "fd00::a"}, "fd00::a"),
    ],
)
def test_find(name, env, wanted):
    """The named Service; without a name kube-dns, but never what is ours, then kube-dns-upstream."""
    assert service.find(name, env, LOCAL) == service.Found(wanted)


@pytest.mark.parametrize(
    "name, env, words",
    [
        ("kube-dns-upstream", {}, (BESIDE, "Service kube-dns-upstream", "is not set")),
        ("kube-dns-upstream", {BESIDE: ""}, (BESIDE, "is not set")),
        ("kube-dns-upstream", {BESIDE: "None"}, (BESIDE, "'None', which is no IP address")),
        ("", {}, (KUBE, BESIDE, "is not set")),
        ("", {KUBE: "10.96.0.10"}, ("kube-dns has the address 10.96.0.10, which -localip makes ours", BESIDE)),
    ],
)
def test_missing(name, env, words):
    """What is missing is said by variable and Service, with what to do."""
    found = service.find(name, env, LOCAL)
    assert found.address == ""
    assert all(word in found.why for word in words)
    assert "Service" in found.remedy


def test_address_that_is_ours_in_another_spelling():
    """Addresses are compared, not their text."""
    env = {KUBE: "FD00:0::A", BESIDE: "fd00::b"}
    assert service.find("", env, ("fd00::a",)).address == "fd00::b"
