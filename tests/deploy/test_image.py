"""The image, built and run as a container with a manifest's own arguments, volumes and security context."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy import containers, kustomize
from tests.deploy.containers import Container
from tests.e2e import shardns as program
from tests.peers import client, dig, nameservers, netns
from tests.peers.process import wait_until

DEPLOY = containers.ROOT / "deploy"
NODE_IP, SERVICE_IP, UPSTREAM_IP = "169.254.20.10", "192.0.2.10", "198.51.100.53"
NODE_IP6, SERVICE_IP6, SECOND_IP6, UPSTREAM_IP6 = "fd00:169:254::10", "2001:db8::a", "fd00:10:96::a", "2001:db8::53"
ENV = {"KUBE_DNS_SERVICE_HOST": SERVICE_IP, "KUBE_DNS_UPSTREAM_SERVICE_HOST": UPSTREAM_IP}
ENV6 = {"KUBE_DNS_SERVICE_HOST": SERVICE_IP6, "KUBE_DNS_UPSTREAM_SERVICE_HOST": UPSTREAM_IP6}
NAME = "kubernetes.default.svc.cluster.local"
ENOUGH = 60 << 20  # octets; what it takes unpacked is in README.md

pytestmark = [
    pytest.mark.slow,
    pytest.mark.netns,
    pytest.mark.timeout(containers.BUILD_S + 60),
    pytest.mark.skipif(bool(containers.cannot_run()), reason=containers.cannot_run() or "it can be built"),
]


@pytest.fixture(scope="session")
def image():
    """The image of this tree."""
    return containers.build()


@contextlib.contextmanager
def a_node(cluster, folder):
    """A node's namespace with kube-dns at the addresses of the Service kube-dns-upstream."""
    with contextlib.ExitStack() as stack:
        made = stack.enter_context(netns.namespace("image"))
        made.add_address(f"{UPSTREAM_IP}/32")
        made.add_address(f"{UPSTREAM_IP6}/128")
        extra = f"server:\n  interface: {UPSTREAM_IP6}"
        with netns.entered(made):
            stack.enter_context(nameservers.unbound(cluster, folder, host=UPSTREAM_IP, port=53, extra=extra))
        yield made


@pytest.fixture(scope="module")
def node(cluster, tmp_path_factory):
    """The node of `base`."""
    with a_node(cluster, tmp_path_factory.mktemp("kube-dns")) as made:
        yield made


@pytest.fixture
def other(cluster, tmp_path):
    """A node of the test's own."""
    with a_node(cluster, tmp_path) as made:
        yield made


@contextlib.contextmanager
def running(image, node, objects, env=ENV, host=NODE_IP, **ways):
    """The container of the objects' DaemonSet, once it answers."""
    resolv_conf = f"nameserver {env['KUBE_DNS_UPSTREAM_SERVICE_HOST']}\n"
    with containers.container(image, objects, node, env=env, resolv_conf=resolv_conf, **ways) as made:
        wait_for(made, lambda: answers(node, host))
        yield made


def wait_for(container: Container, true: Callable[[], bool]) -> None:
    """Nothing, once the container does what it should. Raises TimeoutError with what it has written."""
    try:
        wait_until(true, within_s=20, what="the container to answer")
    except TimeoutError as error:
        error.add_note(container.output()[-6000:])
        raise


@pytest.fixture(scope="module")
def base(image, node):
    """The container of the iptables overlay."""
    with running(image, node, kustomize.render(DEPLOY / "overlays/iptables")) as made:
        yield made


def answers(node, host=NODE_IP) -> bool:
    """Whether somebody answers in the node's namespace."""
    with netns.entered(node):
        return client.answers(53, NAME, host)


def roles(container: Container) -> dict[str, int]:
    """The container's processes by title, as the host sees them."""
    pids = [container.pid, *program.children(container.pid)]
    return {program.command_line(pid).removeprefix("shardns: "): pid for pid in pids}


def scrape(node) -> program.Page:
    """The metrics page."""
    return program.Page(node.run("curl", "-sf", f"http://{NODE_IP}:9253/metrics").stdout)


def rules(node, variant="nft") -> int:
    """How many rules of ours iptables has, for both families."""
    tools = (f"iptables-{variant}-save", f"ip6tables-{variant}-save")
    return sum(node.run(tool, check=False).stdout.count('"NodeLocal DNS Cache: ') for tool in tools)


def test_contents(image):
    """No compiler, no package manager and no source of the core is in the image; sh and sleep are.

    Every module is there compiled: a root that cannot be written would have it compiled at each start.
    """
    with contextlib.ExitStack() as stack:
        root = Path(containers.podman("image", "mount", image).stdout.strip())
        stack.callback(containers.podman, "image", "unmount", image)
        names = {path.name for path in root.rglob("*")}
        size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        assert not names & {"gcc", "cc1", "dpkg", "apt", "apt-get", "pip", "bash", "perl", "Python.h", "table.c"}
        assert {"node-cache", "shardns", "sh", "sleep", "nft", "iptables", "ip6tables-legacy-save"} <= names
        assert not [path for path in root.rglob("*") if path.lstat().st_mode & 0o6000 and not path.is_symlink()]
        sources = [path for path in root.rglob("*.py") if path.stat().st_size]
        assert {path.name for path in sources} >= {"loop.py", "flights.py"}
        assert [path for path in sources if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))] == []
    assert size < ENOUGH


def test_archive(image):
    """The OCI archive that `make image` leaves carries the name and tag that the manifests ask for."""
    asked = (DEPLOY / "base/daemonset.yaml").read_text().partition("image: ")[2].split()[0]
    (archive,) = containers.IMAGES.glob("*.tar")
    with tarfile.open(archive) as files:
        index = files.extractfile("index.json")
        assert index is not None
        (manifest,) = json.load(index)["manifests"]
    assert manifest["annotations"]["org.opencontainers.image.ref.name"] == asked
    assert archive.name == f"{asked.replace(':', '-')}.tar"
    assert containers.podman("image", "exists", f"localhost/{asked}", check=False).returncode == 0


def test_size(image):
    """The sizes that README.md states are those that `make image` prints, a MiB more or less."""
    said = [int(number) for number in re.findall(r"(\d+) MiB", (containers.IMAGES / "said").read_text())]
    page = (containers.ROOT / "README.md").read_text()
    stated = re.search(r"The image is (\d+) MiB compressed and (\d+) MiB unpacked", page)
    assert stated
    assert [abs(int(number) - built) <= 1 for number, built in zip(stated.groups(), said, strict=True)] == [True, True]


def test_serves(base, node):
    """With the manifest's arguments it answers on the node's address and on the kube-dns Service's, and is ready."""
    for host in (NODE_IP, SERVICE_IP):
        with netns.entered(node):
            for way in ("+notcp", "+tcp"):
                said = dig.dig(NAME, way, host=host, port=53)
                assert (said.status, [record.data for record in said.answer]) == ("NOERROR", ["10.96.0.1"])
    assert node.run("curl", "-sf", f"http://{NODE_IP}:8181/ready").stdout == "OK"
    assert node.run("curl", "-sf", f"http://{NODE_IP}:8080/health").stdout == "OK"
    assert scrape(node).total("coredns_dns_requests_total", server=f"dns://{SERVICE_IP}:53") >= 1
    assert scrape(node).total("coredns_nodecache_setup_errors_total") == 0


def test_privileges(base):
    """The supervisor has the manifest's capabilities and no other; the rest are nobody without any, in any set."""
    asked = kustomize.render(DEPLOY / "overlays/iptables")
    (spec,) = (one for one in asked if one["kind"] == "DaemonSet")
    granted = spec["spec"]["template"]["spec"]["containers"][0]["securityContext"]["capabilities"]["add"]
    found = {title: program.status(pid) for title, pid in roles(base).items()}
    assert int(found["supervisor"]["CapBnd"], 16).bit_count() == len(granted)
    assert {"upstream", "worker 0"} < found.keys()
    for title, status in found.items():
        assert status["NoNewPrivs"] == "1"
        if title != "supervisor":
            assert status["Uid"].split() == ["65534"] * 4
            assert status["CapEff"] == status["CapPrm"] == status["CapInh"] == status["CapAmb"] == "0" * 16
    assert not base.events("setup.failed")


def test_operator(base):
    """`kubectl exec -- shardns status` works: the command is on PATH and finds the supervisor."""
    done = base.execute("shardns", "status", "--json")
    assert done.returncode == 0, done.stderr
    assert '"workers"' in done.stdout


def test_doctor(base):
    """`shardns doctor` finds all it needs in the image, and nothing wrong with the node."""
    done = base.execute("shardns", "doctor", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert not [line for line in found if line["state"] == "fail"], done.stderr
    assert {"interface", "addresses", "rules", "workers", "upstreams", "http"} <= {
        line["check"] for line in found if line["state"] == "ok"
    }
    assert done.returncode == 0


def test_worker_killed(base, node):
    """A worker that is killed takes no query with it."""
    before = roles(base)
    os.kill(before["worker 0"], signal.SIGKILL)
    with netns.entered(node):
        assert client.rcode(client.ask(NAME, port=53, host=NODE_IP, timeout_s=10)) == "NOERROR"
    wait_until(lambda: roles(base).get("worker 0", before["worker 0"]) != before["worker 0"], what="another worker")
    assert roles(base)["supervisor"] == before["supervisor"]


@pytest.mark.parametrize("overlay", ["iptables", "nftables"])
def test_restart(image, other, overlay):
    """A preStop of `sleep 1 && kill -9 1`, then the runtime's own SIGKILL: the next start is warm, and ends cleanly."""
    with running(image, other, kustomize.render(DEPLOY / "overlays" / overlay)) as made:
        with netns.entered(other):
            client.ask(NAME, port=53, host=NODE_IP)
        begun = time.monotonic()
        made.execute("sh", "-c", "sleep 1 && kill -9 1")
        assert time.monotonic() - begun >= 1
        if made.pid:  # the kernel lets nobody inside kill the first process of a pid namespace
            made.end("KILL")
        made.start()
        wait_until(lambda: answers(other), within_s=20, what="the second start to answer")
        assert made.events("segment.adopted")
        with netns.entered(other):
            client.ask(NAME, port=53, host=NODE_IP)
        assert scrape(other).total("coredns_cache_hits_total", type="success") >= 1
        assert made.end() == 0
    assert "169.254.20.10" not in other.run("ip", "address").stdout
    assert "NodeLocal" not in other.run("iptables-nft-save").stdout


def test_surge(image, other, tmp_path):
    """Upgraded with maxSurge, the new pod beside the old one, not one query is lost, and cache and rules stay."""
    objects = kustomize.render(DEPLOY / "overlays/surge")
    queries = tmp_path / "queries"
    queries.write_text(f"{NAME} A\n{NAME} AAAA\n")
    words = ["dnsperf", "-s", NODE_IP, "-d", str(queries), "-Q", "500", "-l", "8", "-c", "20", "-t", "5"]
    with running(image, other, objects) as old:
        load = subprocess.Popen(other.command(*words), stdout=subprocess.PIPE, text=True)
        with containers.container(image, objects, other, env=ENV, resolv_conf=f"nameserver {UPSTREAM_IP}\n") as new:
            wait_for(new, lambda: bool(new.events("generation.serving")))
            assert new.events("segment.copied")
            assert old.end() == 0
            said, _ = load.communicate(timeout=30)
            assert re.search(r"Queries completed: +4000 \(100", said), said
            assert other.run("iptables-nft-save").stdout.count("NodeLocal DNS Cache") == 24
            assert old.events("teardown.skipped")
            assert new.end() == 0
    assert "NodeLocal" not in other.run("iptables-nft-save").stdout


@pytest.mark.parametrize(
    "overlay, env, hosts",
    [
        ("ipvs", ENV, [NODE_IP]),
        ("dual-stack", ENV, [NODE_IP, SERVICE_IP, NODE_IP6, SECOND_IP6]),
        ("ipv6", ENV6, [NODE_IP6, SERVICE_IP6]),
    ],
)
def test_addresses(image, other, overlay, env, hosts):
    """Each overlay serves its addresses by UDP and TCP, health and readiness at the node's own, and nothing fails."""
    with running(image, other, kustomize.render(DEPLOY / "overlays" / overlay), env, hosts[0]) as made:
        with netns.entered(other):
            for host in hosts:
                for tcp in (False, True):
                    assert client.rcode(client.ask(NAME, port=53, host=host, tcp=tcp)) == "NOERROR"
        own = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
        for page in ("8080/health", "8181/ready"):
            words = ("curl", "-sf", "--retry", "9", "--retry-delay", "1", f"http://{own}:{page}")  # 503 until ready
            assert other.run(*words).stdout == "OK"
        wait_until(lambda: rules(other) == 12 * len(hosts), what="the rules")
        metrics = program.Page(other.run("curl", "-sf", f"http://{own}:9253/metrics").stdout)
        assert metrics.total("coredns_nodecache_setup_errors_total") == 0
        assert made.end() == 0
    assert rules(other) == 0


@pytest.mark.parametrize("component", ["", "legacy-iptables"])
def test_legacy_iptables(image, other, tmp_path, component):
    """On a node of legacy iptables the component is what the rules want; without it the log says so, and DNS works."""
    done = other.run("iptables-legacy", "-t", "mangle", "-N", "KUBE-IPTABLES-HINT", check=False)
    if done.returncode:
        pytest.skip(done.stderr)
    said = {"resources": [str(DEPLOY / "base")]}
    said["components"] = [str(DEPLOY / "components" / component)] if component else []
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(said))
    with running(image, other, kustomize.render(tmp_path)) as made:
        wait_for(made, lambda: bool(made.events("rules.chosen")))
        assert made.events("rules.chosen")[0]["backend"] == "iptables-legacy"
        if component:
            wait_until(lambda: rules(other, "legacy") == 24, what="the rules")
            assert not made.events("setup.failed")
        else:
            (event,) = made.events("setup.failed")
            assert "NET_RAW" in event["hint"]
            assert scrape(other).total("coredns_nodecache_setup_errors_total", errortype="iptables") >= 1
        assert rules(other) == 0, "none in the other variant"
        assert made.end() == 0
    assert rules(other, "legacy") == 0


def test_cilium(image, cluster, tmp_path):
    """The Cilium overlay runs as nobody, without a capability, in a network of its own."""
    objects = kustomize.render(DEPLOY / "overlays/cilium")
    upstream = {"__PILLAR__CLUSTER__DNS__": f"{UPSTREAM_IP}:5353"}
    with contextlib.ExitStack() as stack:
        pod = stack.enter_context(netns.namespace("pod"))
        pod.add_address(f"{UPSTREAM_IP}/32")
        pod.add_address("192.0.2.77/32")
        pod.run("sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=53")
        with netns.entered(pod):
            stack.enter_context(nameservers.unbound(cluster, tmp_path, host=UPSTREAM_IP, port=5353))
        made = stack.enter_context(
            containers.container(image, objects, pod, env=ENV, resolv_conf="nameserver 192.0.2.99\n", replace=upstream)
        )
        wait_for(made, lambda: answers(pod, "192.0.2.77"))
        assert pod.run("curl", "-sf", "http://192.0.2.77:8181/ready").stdout == "OK"
        for status in map(program.status, roles(made).values()):
            assert (status["Uid"].split()[0], int(status["CapBnd"], 16)) == ("65534", 0)
        assert made.end() == 0


def test_stock_manifest(image, other):
    """node-cache's manifest and Corefile with another image: its arguments, a root to write, default capabilities."""
    objects = copy.deepcopy(kustomize.render(DEPLOY / "base"))
    (daemon_set,) = (one for one in objects if one["kind"] == "DaemonSet")
    (config,) = (one for one in objects if one["kind"] == "ConfigMap")
    template = (containers.ROOT / "tests/corefiles/node-local-dns.base").read_text()
    for word, value in (("LOCAL__DNS", NODE_IP), ("DNS__SERVER", SERVICE_IP), ("DNS__DOMAIN", "cluster.local")):
        template = template.replace(f"__PILLAR__{word}__", value)  # as the official instructions have it done by sed
    config["data"]["Corefile"] = template
    pod = daemon_set["spec"]["template"]["spec"]
    pod.pop("securityContext")
    (spec,) = pod["containers"]
    spec["args"] = ["-localip", f"{NODE_IP},{SERVICE_IP}", "-conf", "/etc/Corefile"]
    spec["args"] += ["-upstreamsvc", "kube-dns-upstream", "-pidfile", "/tmp/node-cache.pid"]
    spec["securityContext"] = {"capabilities": {"add": ["NET_ADMIN"]}}
    spec["volumeMounts"] = [mount for mount in spec["volumeMounts"] if mount["name"] not in ("run", "shm")]
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] not in ("run", "shm")]
    with running(image, other, objects) as made:
        with netns.entered(other):
            for name, rtype in ((NAME, "A"), ("1.0.96.10.in-addr.arpa", "PTR"), ("www.example.org", "A")):
                for tcp in (False, True):
                    answer = client.ask(name, rtype, port=53, host=SERVICE_IP, tcp=tcp)
                    assert (client.rcode(answer), len(answer.answer)) == ("NOERROR", 1)
        wait_until(lambda: rules(other) == 24, what="the rules")
        assert other.run("curl", "-sf", f"http://{NODE_IP}:8080/health").stdout == "OK"
        assert other.run("curl", "-sf", f"http://{NODE_IP}:9353/metrics").stdout.startswith("# ")
        for event in ("setup.failed", "config.warned", "listener.failed"):
            assert not made.events(event)
        assert made.end() == 0
    assert rules(other) == 0
