"""Plans from a template and the ConfigMap kube-dns."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.sources import same
from tests.fakes.configmap import ConfigMap
from tests.unit.supervisor.sources.node import Node, targets, warnings


def test_stub_domains(tmp_path: Path):
    """Each stub domain is a server block of its own behind the template's, also in the file."""
    node = Node(tmp_path, dns_port=1053)
    node.coredns.update({"Corefile.base": ". {\n    bind __PILLAR__LOCAL__DNS__\n    forward . 192.0.2.1\n}\n"})
    ConfigMap(node.kube_dns, {"stubDomains": '{"b.example.org": ["192.0.2.3:5353"], "a.example.org": ["192.0.2.2"]}'})
    plan = node.load()
    assert targets(plan) == {
        ".": ["192.0.2.1:53"],
        "a.example.org.": ["192.0.2.2:53"],
        "b.example.org.": ["192.0.2.3:5353"],
    }
    assert {listener.label for listener in plan.listeners} == {"dns://169.254.20.10:1053", "dns://10.96.0.10:1053"}
    assert "\nb.example.org.:1053 {\n" in node.conf.read_text()


def test_stub_domain_that_the_template_serves(tmp_path: Path, lines):
    """The template's server block wins, with a warning, once; node-cache's reload would fail."""
    node = Node(tmp_path)
    ConfigMap(node.kube_dns, {"stubDomains": '{"Cluster.LOCAL": ["192.0.2.2"], "a.example.org": ["192.0.2.3"]}'})
    plan = node.load()
    node.load()
    assert targets(plan)["cluster.local."] == ["tcp", "10.96.0.11:53"]
    assert targets(plan)["a.example.org."] == ["192.0.2.3:53"]
    (warning,) = warnings(lines())
    assert "stub domain cluster.local. of" in warning
    assert "is not used" in warning


def test_stub_domain_on_another_port(tmp_path: Path):
    """The same zone on another port is another server block."""
    node = Node(tmp_path)
    node.coredns.update({"Corefile.base": "a.example.org:5353 {\n    forward . 192.0.2.1\n}\n"})
    ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["192.0.2.2"]}'})
    assert len(node.load().blocks) == 2


TCP = ". {\n  bind __PILLAR__LOCAL__DNS__\n  forward . __PILLAR__UPSTREAM__SERVERS__ {\n   force_tcp\n  }\n}\n"


@pytest.mark.parametrize(
    "text, wanted, warned",
    [
        (TCP, ["192.0.2.2:53", "192.0.2.3:5353"], 0),
        (TCP.replace("force_tcp", "force_tcp\n   expire 5s"), ["tcp", "192.0.2.2:53", "192.0.2.3:5353"], 1),
        (TCP.replace("force_tcp", "expire 5s"), ["192.0.2.2:53", "192.0.2.3:5353"], 0),
    ],
)
def test_upstream_nameservers(tmp_path: Path, lines, text, wanted, warned):
    """They stand in place of resolv.conf; a block that only forces TCP is made one by UDP."""
    node = Node(tmp_path)
    node.coredns.update({"Corefile.base": text})
    ConfigMap(node.kube_dns, {"upstreamNameservers": '["192.0.2.2", "192.0.2.3:5353"]'})
    plan = node.load()
    assert targets(plan) == {".": wanted}
    assert len(warnings(lines())) == warned


@pytest.mark.parametrize(
    "keys",
    [
        {"stubDomains": "{"},
        {"stubDomains": '{"a.example.org": ["ns.example.org"]}'},
        {"stubDomains": '{"a.example.org": ["192.0.2.3"]}', "upstreamNameservers": '["1", "2", "3", "4"]'},
        {"stubDomains": '{"a.example.org": ["10.96.0.10"]}'},
    ],
)
def test_wrong_configmap(tmp_path: Path, lines, keys):
    """What the ConfigMap said before stays, in part and in whole; the errors are logged and counted once a change."""
    node = Node(tmp_path)
    made = ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["192.0.2.2"]}'})
    before = node.load()
    made.update(keys)
    for _ in range(3):
        assert same(node.load(), before)
    assert node.source.configmap_errors == 1
    refused = [event for event in lines() if event["event"] == "configmap.refused"]
    assert refused
    assert all(event["level"] == "error" for event in refused)
    made.update({"stubDomains": '{"a.example.org": ["192.0.2.4"]}'})
    assert targets(node.load())["a.example.org."] == ["192.0.2.4:53"]
    made.update(keys)
    node.load()
    assert node.source.configmap_errors == 2


def test_wrong_configmap_at_the_start(tmp_path: Path):
    """It costs the template nothing."""
    node = Node(tmp_path)
    ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["10.96.0.10"]}'})
    assert len(node.load().blocks) == 4
    assert node.source.configmap_errors == 1
    assert "a.example.org" not in node.conf.read_text()


def test_binary_configmap(tmp_path: Path):
    """A file that is no text is wrong as well."""
    node = Node(tmp_path)
    node.kube_dns.mkdir()
    (node.kube_dns / "stubDomains").write_bytes(b"\xff")
    node.load()
    assert node.source.configmap_errors == 1


def test_configmap_goes(tmp_path: Path):
    """When its keys are gone, so is what they said."""
    node = Node(tmp_path)
    made = ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["192.0.2.2"]}'})
    assert len(node.load().blocks) == 5
    made.update({})
    assert len(node.load().blocks) == 4


def test_wrong_template_and_configmap(tmp_path: Path):
    """A template that is wrong by itself is refused with a ConfigMap as without; its errors are told."""
    node = Node(tmp_path)
    ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["192.0.2.2"]}'})
    node.coredns.update({"Corefile.base": ". {\n    nonsense\n}\n"})
    assert "Corefile:2:5: Unknown directive 'nonsense'" in node.errors()[0]
    assert node.source.configmap_errors == 0


@pytest.mark.parametrize("is_default", [True, False])
def test_missing_configmap_is_told(tmp_path: Path, lines, monkeypatch, is_default):
    """-kubednscm that names no directory is warned of once; the official place may be missing."""
    node = Node(tmp_path)
    if is_default:
        monkeypatch.setattr("supervisor.sources.corefile.KUBE_DNS", str(node.kube_dns))
    node.load()
    node.load()
    assert [event["event"] for event in lines()] == ["config.warned"] * (not is_default) + ["corefile.filled"]
