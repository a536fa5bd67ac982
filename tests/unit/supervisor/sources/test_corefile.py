"""Plans from Corefiles and templates."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import pytest

from shardns.errors import ConfigError, ConfigErrors
from supervisor.cli import corefiles
from supervisor.options import STDIN, Options
from supervisor.sources import CorefileSource, listen_addresses, same
from tests.fakes.configmap import ConfigMap
from tests.unit.supervisor.sources.node import ENV, IPS, STOCK, Node, targets, upstream, warnings

TEXT = "example.org {\n bind 127.0.0.1\n forward . 192.0.2.1\n prometheus :9253\n health 127.0.0.1:8080\n}\n"


def source(text: str = "", *, conf: str = "") -> CorefileSource:
    """Of a text, or of what conf names."""
    return CorefileSource(Options(workers=1, conf=conf, corefile=text, dns_port=1053))


def test_listen_addresses_keep_their_numbers(tmp_path: Path):
    """An address that goes and comes back over reloads has the number that it had; no other gets it meanwhile."""
    path = tmp_path / "Corefile"
    plans = source(conf=str(path))
    found = []
    for hosts in ("127.0.0.1 127.0.0.2", "127.0.0.2 127.0.0.3", "127.0.0.1"):
        path.write_text(TEXT.replace("bind 127.0.0.1", f"bind {hosts}"))
        found.append(dict(listen_addresses(plans.load())))
    assert found == [
        {0: ("127.0.0.1", 1053), 1: ("127.0.0.2", 1053)},
        {1: ("127.0.0.2", 1053), 2: ("127.0.0.3", 1053)},
        {0: ("127.0.0.1", 1053)},
    ]


def test_standard_input_is_read_once(monkeypatch):
    """A reload sees what was read at the start."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(TEXT))
    plans = source(conf=STDIN)
    assert plans.load() == plans.load()


def test_imports_are_relative_to_their_file(tmp_path: Path):
    """A Corefile may import files beside it; a change in one is a change of the Plan."""
    (tmp_path / "Corefile").write_text("import parts/*.conf\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.conf").write_text(TEXT)
    plans = source(conf=str(tmp_path / "Corefile"))
    before = plans.load()
    (tmp_path / "parts" / "one.conf").write_text(TEXT.replace("192.0.2.1", "192.0.2.2"))
    assert not same(before, plans.load())


def test_environment_is_put_in(monkeypatch):
    """{$VAR} stands for the environment's."""
    monkeypatch.setenv("ZONE", "example.com")
    plan = source(TEXT.replace("example.org", "{$ZONE}")).load()
    assert plan.blocks[0].zones == ("example.com.",)


def test_bind_to_an_interface():
    """bind takes the name of an interface of this machine."""
    plan = source(TEXT.replace("bind 127.0.0.1", "bind lo")).load()
    assert ("127.0.0.1", 1053) in listen_addresses(plan).values()


@pytest.mark.parametrize(
    "content, words",
    [(None, "No such file or directory"), (b"\xff\xfe", "is not UTF-8"), (b"x" * (17 << 20), "larger than")],
)
def test_unreadable_file(tmp_path: Path, content, words):
    """A file that is not there, is no text or is too large is an error of the configuration."""
    path = tmp_path / "Corefile"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        source(conf=str(path)).load()


# ---------------------------------------------------------------------------------------------------------- templates


def test_stock_template(tmp_path: Path, monkeypatch):
    """The stock template serves its four zones on both addresses, the cluster's by TCP to the Service."""
    monkeypatch.setattr("supervisor.sources.corefile.RESOLV_CONF", upstream(tmp_path, "192.0.2.53"))
    plan = Node(tmp_path).load()
    assert targets(plan) == {
        "cluster.local.": ["tcp", "10.96.0.11:53"],
        "in-addr.arpa.": ["tcp", "10.96.0.11:53"],
        "ip6.arpa.": ["tcp", "10.96.0.11:53"],
        ".": ["192.0.2.53:53"],
    }
    assert {listener.label for listener in plan.listeners} == {"dns://169.254.20.10:53", "dns://10.96.0.10:53"}
    assert [str(address) for address in plan.health] == ["169.254.20.10:8080"]
    assert [str(address) for address in plan.prometheus] == [":9253"]
    assert plan.warnings == ()


def test_built_in_template_is_the_stock_one(tmp_path: Path):
    """Without any file the Plan is that of the stock template."""
    stock = Node(tmp_path).load()
    source = CorefileSource(Options(workers=1, local_ips=IPS, corefile=corefiles.node(8080)), env=ENV)
    assert dataclasses.replace(source.load(), digest="") == dataclasses.replace(stock, digest="")


def test_text_is_written(tmp_path: Path, lines):
    """-conf holds the text that is served, the log says so once, and nothing is written when nothing changes."""
    node = Node(tmp_path)
    node.load()
    text = node.conf.read_text()
    assert "__PILLAR__" not in text
    assert "forward . 10.96.0.11 {" in text
    written = node.conf.stat()
    node.load()
    assert node.conf.stat() == written
    (filled,) = (event for event in lines() if event["event"] == "corefile.filled")
    assert (filled["cluster_dns"], filled["written_to"]) == ("10.96.0.11", str(node.conf))


@pytest.mark.parametrize("place", ["none/Corefile", "coredns", "coredns/Corefile.base"])
def test_text_that_cannot_be_written(tmp_path: Path, lines, place):
    """A -conf that cannot be written, or is the template itself, is warned of once; the text is served all the same."""
    node = Node(tmp_path, conf=str(tmp_path / place))
    assert len(node.load().blocks) == 4
    node.load()
    said = [(event["event"], event["level"]) for event in lines() if event["event"] != "config.warned"]
    assert said == [("corefile.write_failed", "warning"), ("corefile.filled", "info")]
    assert node.base.read_text() == STOCK.read_text()


def test_template_without_conf(tmp_path: Path):
    """Without -conf the template is served, and nothing is written; messages name the template."""
    node = Node(tmp_path, conf="", cluster_domain="")
    assert node.errors()[0].startswith("coredns/Corefile.base:2:1: __PILLAR__DNS__DOMAIN__ is not filled in")
    assert not node.conf.exists()


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"env": {}},
            "Corefile:11:15: __PILLAR__CLUSTER__DNS__ is not filled in (3 places): the variable KUBE_DNS_UPSTREAM_",
        ),
        ({"cluster_domain": ""}, "Corefile:2:1: __PILLAR__DNS__DOMAIN__ is not filled in: node-cache leaves it to the"),
        (
            {"local_ips": ()},
            "Corefile:10:10: __PILLAR__LOCAL__DNS__ is not filled in (5 places): -localip is not given",
        ),
        ({"upstream_service": "kube-dns"}, "forward: 10.96.0.10:53 is an address of our own"),
    ],
)
def test_what_a_template_lacks(tmp_path: Path, options, words):
    """What cannot be put in, and a Service that is ourselves, are errors at their place with what to do."""
    errors = Node(tmp_path, **options).errors()
    assert any(words in error for error in errors), errors
    assert not any("neither an address nor a file" in error for error in errors)


def test_service_that_the_template_does_not_need(tmp_path: Path):
    """Without the placeholder, or with it in a comment only, nobody misses the Service."""
    node = Node(tmp_path, env={})
    node.coredns.update({"Corefile.base": "# __PILLAR__CLUSTER__DNS__\n. {\n    forward . 192.0.2.1\n}\n"})
    assert targets(node.load()) == {".": ["192.0.2.1:53"]}


def test_only_the_template_is_filled_in(tmp_path: Path):
    """As in node-cache, a placeholder in an imported file stays, which is an error."""
    node = Node(tmp_path)
    (tmp_path / "more").write_text("forward . __PILLAR__CLUSTER__DNS__\n")
    node.coredns.update({"Corefile.base": ". {\n    import more\n}\n"})
    why = "it stands in an imported file (only the template itself is filled in)"
    assert node.errors() == [f"more:1:11: __PILLAR__CLUSTER__DNS__ is not filled in: {why}"]


def test_no_template(tmp_path: Path, lines):
    """Without a template the file of -conf is served as it is and never written (Kubespray), and that is said once."""
    node = Node(tmp_path)
    node.coredns.update({"Corefile": TEXT})
    node.source = CorefileSource(
        Options(workers=1, conf=str(node.coredns.path / "Corefile"), base_corefile=str(node.base)), env={}
    )
    assert [block.zones for block in node.load().blocks] == [("example.org.",)]
    node.load()
    assert (node.coredns.path / "Corefile").is_symlink()
    (missed,) = lines()
    assert missed["event"] == "template.missed"
    assert missed["reason"] == (
        f"Failed to read node-cache coreFile {node.base} - open {node.base}: no such file or directory"
    )


@pytest.mark.parametrize("is_default, level", [(True, "info"), (False, "warning")])
def test_how_loud_a_missing_template_is(tmp_path: Path, lines, monkeypatch, is_default, level):
    """The default place may well be empty; one that was named should not."""
    base = str(tmp_path / "none")
    if is_default:
        monkeypatch.setattr("supervisor.sources.corefile.BASE_COREFILE", base)
    node = Node(tmp_path, base_corefile=base)
    node.conf.write_text(TEXT)
    node.load()
    assert [event["level"] for event in lines()] == [level]


def test_placeholders_of_a_file_that_is_no_template(tmp_path: Path):
    """A finished Corefile is not filled in; what looks unfinished is an error that says how to have it filled in."""
    node = Node(tmp_path, base_corefile=str(tmp_path / "none"))
    node.conf.write_text(STOCK.read_text())
    assert "is not filled in: this file is served as it is (name it by -basecorefile" in node.errors()[0]


def test_neither_file(tmp_path: Path):
    """A -conf that is not there is an error where there is no template: it may be misspelt."""
    node = Node(tmp_path, base_corefile=str(tmp_path / "none"))
    (error,) = node.errors()
    assert "cannot read the Corefile Corefile: No such file or directory" in error


def test_template_that_cannot_be_read(tmp_path: Path):
    """A template that is there, and is no text, is an error: -conf may hold anything."""
    node = Node(tmp_path, base_corefile=str(tmp_path / "coredns"))
    (error,) = node.errors()
    assert error == "cannot read the Corefile coredns: not a regular file (see -basecorefile)"
    (tmp_path / "binary").write_bytes(b"\xff")
    assert "is not UTF-8" in Node(tmp_path / "x", base_corefile=str(tmp_path / "binary")).errors()[0]


def test_template_that_comes(tmp_path: Path):
    """The built-in template gives way to the file when it comes, and takes over when it goes."""
    node = Node(tmp_path, conf="")
    text = ". {\n    forward . 192.0.2.1\n}\n"
    node.coredns.update({})
    assert len(node.load().blocks) == 4
    node.coredns.update({"Corefile.base": text})
    assert node.source.has_changed()
    assert len(node.load().blocks) == 1
    node.coredns.update({})
    assert node.source.has_changed()
    assert len(node.load().blocks) == 4


def test_trial(tmp_path: Path, lines):
    """A trial writes nothing and logs nothing: what it has to say are warnings of the Plan and errors."""
    node = Node(tmp_path)
    trial = CorefileSource(node.options, env=ENV, is_trial=True)
    assert len(trial.load().blocks) == 4
    made = ConfigMap(node.kube_dns, {"stubDomains": '{"cluster.local": ["192.0.2.2"]}'})
    assert "stub domain cluster.local. of" in str(trial.load().warnings[0])
    made.update({"stubDomains": "{"})
    with pytest.raises(ConfigErrors, match="Invalid JSON"):
        trial.load()
    assert not node.conf.exists()
    assert lines() == []


# ---------------------------------------------------------------------------------------------------------- the watch


def test_nothing_changes(tmp_path: Path):
    """What a load reads and writes by itself is no change."""
    node = Node(tmp_path)
    ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["192.0.2.2"]}'})
    node.load()
    assert not node.source.has_changed()


def test_conf_beside_the_template(tmp_path: Path):
    """Writing -conf into the template's directory is no change either."""
    node = Node(tmp_path, conf=str(tmp_path / "coredns" / "Corefile"))
    node.load()
    assert (tmp_path / "coredns" / "Corefile").exists()
    assert not node.source.has_changed()


@pytest.mark.parametrize("what", ["template", "beside", "configmap", "resolv.conf", "resolv.conf gone"])
def test_changes(tmp_path: Path, monkeypatch, what):
    """Template, files beside it, the ConfigMap and resolv.conf are looked at; each change is taken by the next load."""
    resolv_conf = upstream(tmp_path, "192.0.2.53")
    monkeypatch.setattr("supervisor.sources.corefile.RESOLV_CONF", resolv_conf)
    node = Node(tmp_path)
    made = ConfigMap(node.kube_dns, {"stubDomains": '{"a.example.org": ["192.0.2.2"]}'})
    before = node.load()
    if what == "template":
        node.coredns.update({"Corefile.base": STOCK.read_text().replace("cache 30", "cache 31")})
    elif what == "beside":
        (node.coredns.path / "more").write_text("x")
    elif what == "configmap":
        made.update({"stubDomains": '{"a.example.org": ["192.0.2.3"]}'})
    elif what == "resolv.conf":
        upstream(tmp_path, "192.0.2.54", "192.0.2.55")
    else:
        Path(resolv_conf).unlink()
    assert node.source.has_changed()
    if what == "resolv.conf gone":
        assert "neither an address nor a file" in node.errors()[0]
        upstream(tmp_path, "192.0.2.56")
        assert node.source.has_changed()
    assert same(node.load(), before) is (what == "beside")
    assert not node.source.has_changed()


@pytest.mark.parametrize("reload_with_signal", [False, True])
def test_reload_with_signal(tmp_path: Path, reload_with_signal):
    """A finished Corefile is the reload plugin's to look at, or ours with -reloadwithsignal."""
    node = Node(tmp_path, base_corefile=str(tmp_path / "none"), reload_with_signal=reload_with_signal)
    node.conf.write_text(TEXT)
    node.load()
    assert not node.source.has_changed()
    node.conf.write_text(TEXT + "# more\n")
    assert node.source.has_changed() is reload_with_signal


def test_stub_of_systemd_resolved(tmp_path: Path, monkeypatch, lines):
    """resolv.conf that names only the stub stands for the real one, with a warning."""
    monkeypatch.setattr("supervisor.sources.corefile.RESOLV_CONF", upstream(tmp_path, "127.0.0.53"))
    (tmp_path / "real").write_text("nameserver 192.0.2.53\n")
    monkeypatch.setattr("supervisor.sources.resolv.RESOLVED_FILE", str(tmp_path / "real"))
    node = Node(tmp_path)
    plan = node.load()
    assert targets(plan)["."] == ["192.0.2.53:53"]
    assert [said for said in warnings(lines()) if "names systemd-resolved's stub 127.0.0.53" in said]
    (tmp_path / "real").write_text("nameserver 192.0.2.54\n")
    assert node.source.has_changed()
