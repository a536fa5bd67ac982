"""The command line: flags, check, the cache's operator, and what is refused."""

import json
import os
import re
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.e2e import shardns as program
from tests.peers import fake, netns, ports, wire
from tests.peers.client import answers, ask
from tests.peers.dig import dig
from tests.peers.process import running

BASE = ("-localip", "127.0.0.1", "-setupinterface=false", "-setupiptables=false")
STOCK = "tests/corefiles/node-local-dns.Corefile"


def test_version_help_plugins():
    """--version, --help and -plugins print what they should, and nothing else happens."""
    code, out, _ = program.run("--version")
    assert (code, out.splitlines()[0][:8]) == (0, "shardns-")
    code, out, _ = program.run("-help")
    assert code == 0
    for flag in ("-localip", "-conf", "-dns.port", "-pidfile", "--workers", "--log-format", "-skipteardown"):
        assert flag in out
    assert max(map(len, out.splitlines())) <= 120
    code, out, _ = program.run("-plugins")
    assert code == 0
    assert re.findall(r"dns\.(cache|forward|loop)$", out, re.MULTILINE) == ["cache", "loop", "forward"]


def test_check_stock():
    """The stock Corefile of NodeLocal DNSCache is good, and what it means is printed."""
    code, out, err = program.run("check", STOCK)
    assert (code, err) == (0, "")
    assert out.count("server block ") == 4
    for text in ("169.254.20.10:53", "success.ttl       30s", "denial.ttl        5s", "force_tcp", "every 30s"):
        assert text in out


def test_check_reports_everything(tmp_path):
    """All errors of a file are reported at once, each with file, line, column and a hint where there is one."""
    path = tmp_path / "Corefile"
    path.write_text(". {\n    cache -1\n    forward .\n    erors\n    kubernetes cluster.local\n}\n")
    code, _, err = program.run("check", str(path))
    assert code == 1
    for text in (f"{path}:2:11: cache", f"{path}:3:5: forward", f"{path}:4:5:", f"{path}:5:5:"):
        assert text in err
    assert "errors" in err.split(f"{path}:4:5:")[1].splitlines()[0]
    assert "kubernetes" in err.split(f"{path}:5:5:")[1].splitlines()[0]
    assert err.rstrip().endswith("4 errors")


def test_check_standard_input():
    """check reads standard input as node-cache's -conf does."""
    code, out, _ = program.run("check", "stdin", text=". {\n forward . 192.0.2.53\n}\n")
    assert code == 0
    assert "192.0.2.53:53" in out


@pytest.mark.parametrize("plugin", ["kubernetes", "acl", "autopath", "dns64", "rewrite", "loadbalance", "tls"])
def test_known_plugins_are_refused_by_name(tmp_path, plugin):
    """A plugin that CoreDNS knows and this version has not is named, with its line, at start as in check."""
    path = tmp_path / "Corefile"
    path.write_text(f". {{\n    forward . 192.0.2.53\n    {plugin} x\n}}\n")
    code, _, err = program.run("check", str(path))
    assert code == 1
    assert f"{path}:3:5: plugin {plugin} is not in this version" in err
    with ports.reserved() as port:
        code, out, err = program.run(*BASE, "-conf", str(path), "-dns.port", str(port))
    assert code == 1
    assert f"{path}:3:5: plugin {plugin} is not in this version" in out + err


@pytest.mark.parametrize(
    "flags, wanted",
    [
        (["-nonsense"], "nonsense"),
        (["-localip", "127.0.0.1,127.0.0.2 "], 'invalid localip specified - "127.0.0.2 "'),
        (["-localip", "x"], "invalid localip"),
        (["-workers", "0"], "workers"),
        (["-workers=many"], "workers"),
        (["-dns.port", "99999"], "dns.port"),
        (["-quiet=perhaps"], "quiet"),
        (["-conf"], "conf"),
        (["-conf", "x", "extra"], "extra command line arguments: [extra]"),
        (["-localip", "127.0.0.1", "-conf", "x", "-syncinterval", "0"], "syncinterval"),
        (["-localip", "127.0.0.1", "-conf", "x", "-interfacename", "much-too-long-a-name"], "interfacename"),
        (["-localip", "127.0.0.1", "-conf", "x", "--netfilter", "ipfw"], "netfilter"),
        (["-watch-interval", "0"], "watch-interval"),
        (["-cluster-domain", "a b"], "cluster-domain"),
        (["-cache-size", "1k"], "cache-size"),
        (["-log-format", "xml"], "log-format"),
    ],
)
def test_wrong_flags(flags, wanted):
    """A flag that is wrong, or that this version cannot obey, ends it with node-cache's form of words and code 1."""
    code, out, err = program.run(*flags)
    assert (code, out) == (1, "")
    assert err.startswith("[FATAL] Error parsing flags - ")
    assert wanted in err
    assert err.rstrip().endswith(", Exiting")


def test_missing_file_and_port_in_use(tmp_path, standin_port):
    """A Corefile that is not there, and an address that is taken, end the start with code 1 and say why."""
    code, out, err = program.run(*BASE, "-conf", str(tmp_path / "none"), "-dns.port", "1")
    assert code == 1
    assert f"{tmp_path}/none" in out + err
    path = tmp_path / "Corefile"
    path.write_text(". {\n bind 127.0.0.1\n forward . 192.0.2.53\n}\n")
    code, out, err = program.run(*BASE, "-conf", str(path), "-dns.port", str(standin_port))
    assert code == 1
    assert f"127.0.0.1:{standin_port}" in out + err


def test_environment_in_a_corefile(launch, kube_dns):
    """{$VAR} and {%VAR%} stand for the environment's."""
    text = program.STOCK.replace("UPSTREAM", "{$KUBE_DNS_HOST}:{%KUBE_DNS_PORT%}")
    env = {"KUBE_DNS_HOST": "127.0.0.1", "KUBE_DNS_PORT": str(kube_dns.port)}
    made = launch(text, env=env)
    assert dig("web.default.svc.cluster.local", port=made.port).data() == ["10.96.10.1"]


def test_stock_corefile_serves(launch, kube_dns, tmp_path):
    """The stock Corefile, its addresses those of this machine, runs unchanged."""
    text = Path(STOCK).read_text()
    for old, new in (
        ("169.254.20.10 10.96.0.10", "127.0.0.1 127.0.0.2"),
        ("169.254.20.10:8080", "HEALTH"),
        (":9253", "METRICS"),
        (":53 {", " {"),
        ("10.96.0.11", "UPSTREAM"),
        ("/etc/resolv.conf", "UPSTREAM"),
    ):
        assert old in text
        text = text.replace(old, new)
    made = launch(text, upstream=f"127.0.0.1:{kube_dns.port}")
    for host in ("127.0.0.1", "127.0.0.2"):
        assert dig("web.default.svc.cluster.local", port=made.port, host=host).data() == ["10.96.10.1"]
        assert dig("-x", "10.96.10.1", port=made.port, host=host).status == "NOERROR"
        assert dig("www.example.org", port=made.port, host=host).data() == ["192.0.2.80"]
    assert made.http("HEALTH", "/health") == (200, "OK")


def test_cache_operator(launch):
    """`shardns cache` looks up, dumps and flushes; `shardns status` tells numbers."""
    with fake.nameserver() as server:
        made = launch(upstream=f"127.0.0.1:{server.port}")
        for name in ("a.example.org", "b.example.org", "nx.example.org", "a.example.net"):
            ask(name, port=made.port)
        control = ("--control", made.control)
        code, out, _ = program.run("cache", "lookup", "a.example.org", "A", *control)
        assert code == 0
        assert fake.address_text("a.example.org") in out
        code, out, _ = program.run("cache", "dump", "--json", *control)
        names = sorted(json.loads(line)["name"] for line in out.splitlines())
        assert names == ["a.example.net.", "a.example.org.", "b.example.org.", "nx.example.org."]
        assert program.run("cache", "flush", "a.example.org", *control)[0] == 0
        ask("a.example.org", port=made.port)
        assert server.names[wire.name("a.example.org")] == 2
        assert program.run("cache", "flush", "--zone", "example.org", *control)[0] == 0
        for name in ("b.example.org", "a.example.net"):
            ask(name, port=made.port)
        assert (server.names[wire.name("b.example.org")], server.names[wire.name("a.example.net")]) == (2, 1)
        assert program.run("cache", "flush", "--all", *control)[0] == 0
        assert program.run("cache", "dump", *control)[1].count("example") == 0
        code, out, _ = program.run("status", "--json", *control)
        assert code == 0
        assert json.loads(out)
        assert program.run("cache", "nonsense", *control)[0] == 1


def test_operator_socket_is_for_root(launch):
    """Another user than root and the supervisor's own is refused."""
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    made = launch()
    assert program.run("status", "--control", made.control)[0] == 0
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresuid(65534, 65534, 65534)
            with socket.socket(socket.AF_UNIX) as operator:
                operator.connect("\0" + made.control[1:])
                operator.settimeout(5)
                operator.recv(100)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    made.wait_event("operator.refused")


@pytest.mark.netns
def test_forwarder(new_namespace, tmp_path):
    """Without -conf and -localip it forwards, on 127.0.0.1:1053, to the nameservers of /etc/resolv.conf."""
    pod = new_namespace("forwarder")
    pod.write_etc("resolv.conf", "nameserver 127.0.0.2\n")
    name = f"shardns-test-{os.getpid()}-forwarder"
    command = [*pod.command(program.PROGRAM), "--workers", "1", "-shm-name", name]

    def ready() -> bool:
        return answers(1053, "example.org")

    try:
        with (
            netns.entered(pod),
            fake.nameserver("127.0.0.2", 53),
            running("forwarder", command, directory=tmp_path, ready=ready, within_s=15),
        ):
            assert ask("b.example.org", port=1053).answer[0][0].to_text() == fake.address_text("b.example.org")
            with urllib.request.urlopen("http://127.0.0.1:9253/metrics", timeout=3) as page:
                assert b"coredns_cache_requests_total" in page.read()
    finally:
        program.SHM.joinpath(name).unlink(missing_ok=True)
