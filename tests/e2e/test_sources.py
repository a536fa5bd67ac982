"""The Corefile's template, the ConfigMap kube-dns and resolv.conf: node-cache's own command lines, on a node's files.

Every test has a network namespace of its own, where the cluster's DNS is 127.0.0.13, on port 53 as a Service is.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import shardns as program
from tests.e2e.shardns import Shardns
from tests.fakes.configmap import ConfigMap
from tests.peers import fake, load, nameservers, netns
from tests.peers.client import ask, rcode, texts
from tests.peers.netns import Namespace
from tests.peers.process import running, wait_until
from tests.peers.script import SOA, Say, Script

pytestmark = pytest.mark.netns

STOCK = Path("tests/corefiles/node-local-dns.base").read_text()
UPSTREAM = "127.0.0.13"
SERVICE = {"KUBE_DNS_UPSTREAM_SERVICE_HOST": UPSTREAM}
INTERVAL_S = 0.2
REVERSE6 = """\
ip6.arpa. 30 IN SOA ns.example.net. hostmaster.example.net. 1 7200 1800 86400 30
1.0.ip6.arpa. 30 IN PTR six.example.org.
"""


def rendered(text: str, first: str = "127.0.0.11", second: str = "127.0.0.12") -> str:
    """The template as the official instructions have it replaced in the manifest."""
    words = {"LOCAL__DNS": first, "DNS__DOMAIN": "cluster.local", "DNS__SERVER": second}
    for word, value in words.items():
        text = text.replace(f"__PILLAR__{word}__", value)
    return text


@dataclass
class Node:
    """A namespace with the files that the kubelet mounts into node-cache's container."""

    namespace: Namespace
    home: Path
    coredns: ConfigMap
    kube_dns: ConfigMap
    conf: Path

    @contextlib.contextmanager
    def run(
        self,
        *flags: str,
        host: str = "127.0.0.11",
        env: Mapping[str, str] | None = None,
        is_set_up: bool = False,
        before: Sequence[str] = (),
    ) -> Iterator[Shardns]:
        """A shardns from the moment it serves.

        is_set_up   with interface and rules
        before      words to put before the command
        """
        name = f"shardns-test-{os.getpid()}-{self.namespace.name}"
        own = ["-shm-name", name, "-control", f"@{name}"]
        own += [] if is_set_up else ["-setupinterface=false", "-setupiptables=false"]
        own += ["-watch-interval", f"{INTERVAL_S}s", "--workers", "2"]
        pid_file = self.home / "node-cache.pid"
        command = [*self.namespace.command(*before, program.PROGRAM), *flags, "-pidfile", str(pid_file), *own]
        try:
            with running(
                "shardns",
                command,
                directory=self.home,
                ready=pid_file.exists,
                within_s=20,
                env={**SERVICE, **(env or {})},
            ) as process:
                places = {"METRICS": "127.0.0.1:9253", "HEALTH": f"{host}:8080"}
                made = Shardns(process, host, 53, self.conf, places, name, f"@{name}", pid_file)
                yield made
                if not made.ended:
                    made.stop()
        finally:
            program.SHM.joinpath(name).unlink(missing_ok=True)

    def official(self, local: str = "127.0.0.11,127.0.0.12") -> list[str]:
        """The official manifest's argument list, on this node's files."""
        base, where = str(self.coredns.path / "Corefile.base"), str(self.kube_dns.path)
        arguments = ["-localip", local, "-conf", str(self.conf), "-upstreamsvc", "kube-dns-upstream"]
        return [*arguments, "-basecorefile", base, "-kubednscm", where]


@pytest.fixture
def node(new_namespace, tmp_path) -> Iterator[Node]:
    """A node whose resolv.conf names the cluster's DNS too; the test's sockets are inside."""
    made = new_namespace("node")
    made.write_etc("resolv.conf", f"nameserver {UPSTREAM}\n")
    coredns = ConfigMap(tmp_path / "coredns", {"Corefile.base": rendered(STOCK)})
    kube_dns = ConfigMap(tmp_path / "kube-dns", {})
    with netns.entered(made):
        yield Node(made, tmp_path, coredns, kube_dns, tmp_path / "Corefile")


@pytest.fixture
def cluster_dns(node, cluster, tmp_path):
    """Unbound with the small cluster, and with a zone below ip6.arpa."""
    with nameservers.unbound(cluster + REVERSE6, tmp_path, host=UPSTREAM, port=53) as server:
        yield server


def four_blocks(host: str) -> None:
    """Every server block of the stock Corefile answers, by UDP and by TCP."""
    wanted = {
        ("kubernetes.default.svc.cluster.local", "A"): "10.96.0.1",
        ("1.0.96.10.in-addr.arpa", "PTR"): "kubernetes.default.svc.cluster.local.",
        ("1.0.ip6.arpa", "PTR"): "six.example.org.",
        ("www.example.org", "A"): "192.0.2.80",
    }
    for (name, rtype), data in wanted.items():
        for tcp in (False, True):
            answer = ask(name, rtype, host=host, port=53, tcp=tcp)
            assert [text.rpartition(" ")[2] for text in texts(answer)] == [data], (name, rcode(answer))


def test_stock(node, cluster_dns):
    """The official arguments and the official ConfigMap, as they are: all four blocks answer on both addresses."""
    with node.run(*node.official()) as made:
        for host in ("127.0.0.11", "127.0.0.12"):
            four_blocks(host)
        text = node.conf.read_text()
        assert f"forward . {UPSTREAM} {{" in text
        assert "forward . /etc/resolv.conf" in text
        assert "__PILLAR__" not in text
        assert made.http("HEALTH", "/health") == (200, "OK")
        asked = [labels["zone"] for labels in made.scrape().labels("coredns_dns_requests_total")]
        assert {"cluster.local.", "in-addr.arpa.", "ip6.arpa.", "."} <= set(asked)
        (filled,) = made.events("corefile.filled")
        assert (filled["cluster_dns"], filled["upstreams"]) == (UPSTREAM, ["/etc/resolv.conf"])
        assert made.events("config.warned") == []
    counts = nameservers.unbound_counts(cluster_dns)
    assert counts["num.query.tcp"] >= 3  # force_tcp of the three zones of the cluster


def test_stock_before_the_manifest_is_rendered(node, cluster_dns):
    """Placeholders that the manifest should have replaced are replaced too, the domain with -cluster-domain."""
    node.coredns.update({"Corefile.base": STOCK})
    with node.run(*node.official(), "-cluster-domain", "cluster.local"):
        four_blocks("127.0.0.12")


def test_addresses_alone(node, cluster_dns):
    """-localip alone, on addresses that nobody has yet, is a complete node cache, for the Service that is not ours."""
    env = {"KUBE_DNS_SERVICE_HOST": "10.96.0.10"}
    flags = ["--workers", "2", "-localip", "169.254.20.10,10.96.0.10"]
    with node.run(*flags, host="169.254.20.10", env=env, is_set_up=True) as made:
        for host in ("169.254.20.10", "10.96.0.10"):
            four_blocks(host)
        assert made.http("HEALTH", "/health") == (200, "OK")
        assert made.scrape().total("coredns_cache_requests_total") > 0
        (filled,) = made.events("corefile.filled")
        assert (filled["template"], filled["cluster_dns"]) == ("built-in Corefile", UPSTREAM)


def test_finished_corefile(node, cluster_dns):
    """A ConfigMap's Corefile without a template is served as it is (Kubespray), and not touched."""
    text = rendered(STOCK).replace("__PILLAR__CLUSTER__DNS__", UPSTREAM)
    text = text.replace("__PILLAR__UPSTREAM__SERVERS__", "/etc/resolv.conf")
    node.coredns.update({"Corefile": text})
    path = node.coredns.path / "Corefile"
    flags = ["-localip", "127.0.0.11,127.0.0.12", "-conf", str(path), "-upstreamsvc", "coredns"]
    with node.run(*flags) as made:
        four_blocks("127.0.0.11")
        (missed,) = made.events("template.missed")
        assert str(missed["reason"]).startswith("Failed to read node-cache coreFile /etc/coredns/Corefile.base - open")
    assert path.is_symlink()
    assert path.read_text() == text


def test_conf_that_cannot_be_written(node, cluster_dns):
    """A -conf on a read-only file system costs a warning."""
    node.conf = node.home / "none" / "Corefile"
    with node.run(*node.official()) as made:
        four_blocks("127.0.0.11")
        assert [event["level"] for event in made.events("corefile.write_failed")] == ["warning"]


@pytest.mark.parametrize(
    "change, wanted",
    [
        (
            {"env": {"KUBE_DNS_UPSTREAM_SERVICE_HOST": ""}},
            "KUBE_DNS_UPSTREAM_SERVICE_HOST of Service kube-dns-upstream",
        ),
        ({"env": {"KUBE_DNS_UPSTREAM_SERVICE_HOST": "127.0.0.12"}}, "127.0.0.12:53 is an address of our own"),
        ({"text": STOCK}, "__PILLAR__DNS__DOMAIN__ is not filled in"),
    ],
)
def test_what_ends_the_start(node, change, wanted):
    """A missing Service, a Service that is ourselves, a placeholder that stays: exit code 1, and each is named."""
    if "text" in change:
        node.coredns.update({"Corefile.base": change["text"]})
    with (
        pytest.raises(RuntimeError, match=r"ended with status 1:") as caught,
        node.run(*node.official(), env=change.get("env")),
    ):
        pass
    said = str(caught.value)
    assert wanted in said
    assert "<nil>" not in said


def stub(*servers: str) -> dict[str, str]:
    """A ConfigMap with a stub domain."""
    return {"stubDomains": f'{{"acme.example.net": [{", ".join(f"{chr(34)}{one}{chr(34)}" for one in servers)}]}}'}


def asks(name: str) -> tuple[str, list[str]]:
    """Response code and addresses."""
    answer = ask(name, host="127.0.0.11", port=53)
    return rcode(answer), [text.rpartition(" ")[2] for text in texts(answer)]


def test_stub_domain_comes_and_goes(node, cluster_dns):
    """It is answered by its own server within the interval; wrong JSON keeps it and is counted; then it goes."""
    private = Script(
        {
            "*": Say(rcode="NXDOMAIN", authority=SOA),
            "db.acme.example.net.": Say("db.acme.example.net. 30 IN A 192.0.2.9"),
        }
    )
    with fake.nameserver("127.0.0.14", 5353, respond=private), node.run(*node.official()) as made:
        assert asks("db.acme.example.net")[0] == "REFUSED"
        node.kube_dns.update(stub("127.0.0.14:5353"))
        made.wait_event("generation.drained", 1)
        assert asks("db.acme.example.net") == ("NOERROR", ["192.0.2.9"])
        assert "acme.example.net.:53 {" in node.conf.read_text()
        pids = made.pids()

        node.kube_dns.update({"stubDomains": "{"})
        made.wait_event("configmap.refused")
        assert "Invalid JSON" in str(made.events("configmap.refused")[0]["error"])
        name = "coredns_nodecache_setup_errors_total"
        wait_until(lambda: made.scrape().total(name, errortype="configmap") == 1, what="the count")
        assert asks("db.acme.example.net") == ("NOERROR", ["192.0.2.9"])
        assert made.pids() == pids

        node.kube_dns.update({})
        made.wait_event("generation.drained", 2)
        assert asks("db.acme.example.net")[0] == "REFUSED"
        assert made.events("reload.failed") == []


def test_upstream_nameservers(node, cluster_dns):
    """They take the place of resolv.conf, by UDP, whatever the indentation of the template's force_tcp block."""
    text = rendered(STOCK).replace(
        "__PILLAR__UPSTREAM__SERVERS__", "__PILLAR__UPSTREAM__SERVERS__ {\n      force_tcp\n    }"
    )
    node.coredns.update({"Corefile.base": text})
    with fake.nameserver("127.0.0.14", 5353) as server:
        node.kube_dns.update({"upstreamNameservers": '["127.0.0.14:5353"]'})
        with node.run(*node.official()):
            assert asks("www.example.org") == ("NOERROR", [fake.address_text("www.example.org")])
            assert server.connections == 0
            assert asks("kubernetes.default.svc.cluster.local") == ("NOERROR", ["10.96.0.1"])


def test_updates_under_load(node):
    """The template and the ConfigMap change by the kubelet's exchange, and no query is lost or answered wrongly."""
    node.coredns.update({"Corefile.base": rendered(STOCK, "127.0.0.1")})
    with fake.nameserver(UPSTREAM, 53), node.run(*node.official("127.0.0.1,127.0.0.12"), host="127.0.0.1") as made:
        loads = [load.start(53, rate=150, seconds=6), load.start(53, rate=400, seconds=6, hot=50, prefix="hot")]
        for turn, (where, keys) in enumerate(
            (
                (node.coredns, {"Corefile.base": rendered(STOCK, "127.0.0.1").replace("cache 30", "cache 31")}),
                (node.kube_dns, stub("127.0.0.14")),
                (node.kube_dns, {}),
            ),
            start=1,
        ):
            where.update(keys)
            made.wait_event("generation.drained", turn)
        for one in loads:
            done = load.result(one)
            assert (done.lost, done.wrong) == (0, 0), done


def test_resolv_conf(node, cluster_dns):
    """A resolv.conf that changes is taken within the interval, without the reload plugin and without a signal."""
    node.coredns.update({"Corefile.base": rendered(STOCK).replace("    reload\n", "")})
    with fake.nameserver("127.0.0.14", 53), node.run(*node.official()) as made:
        assert asks("www.example.org") == ("NOERROR", ["192.0.2.80"])
        node.namespace.write_etc("resolv.conf", "nameserver 127.0.0.14\n")
        made.wait_event("generation.drained")
        assert asks("www.example.org") == ("NOERROR", [fake.address_text("www.example.org")])


def test_resolved(node, cluster_dns):
    """A resolv.conf that names systemd-resolved's stub is followed to the file behind it, which is watched too."""
    node.namespace.write_etc("resolv.conf", "nameserver 127.0.0.53\noptions edns0\n")
    folder = "/run/systemd/resolve"
    script = f"mount -t tmpfs tmpfs /run; mkdir -p {folder}; echo nameserver {UPSTREAM} >{folder}/resolv.conf"
    with node.run(*node.official(), before=["sh", "-c", f'{script}; exec "$@"', "sh"]) as made:
        four_blocks("127.0.0.11")
        (warned,) = made.events("config.warned")
        assert "systemd-resolved's stub 127.0.0.53; /run/systemd/resolve/resolv.conf is used instead" in str(warned)
        Path(f"/proc/{made.process.pid}/root{folder}/resolv.conf").write_text("nameserver 127.0.0.99\n")
        wait_until(lambda: rcode(ask("other.example.org", host="127.0.0.11", port=53)) == "SERVFAIL", within_s=10)


def test_bad_template_and_signal(node, cluster_dns):
    """A template with errors keeps the old one; -reloadwithsignal beside the reload plugin makes no second reload."""
    with node.run(*node.official(), "-reloadwithsignal") as made:
        node.coredns.update({"Corefile.base": "nonsense {\n  nonsense\n}\n"})
        made.wait_event("reload.failed")
        four_blocks("127.0.0.11")
        text = rendered(STOCK).replace("cache 30", "cache 31").replace("    reload\n", "    reload 2s 1s\n")
        node.coredns.update({"Corefile.base": text})
        made.wait_event("generation.drained")
        os.kill(made.process.pid, signal.SIGUSR1)
        made.wait_event("plan.unchanged")
        four_blocks("127.0.0.11")
        assert len(made.events("reload.finished")) == 1
        assert made.scrape().total("coredns_reload_failed_total") == 1
