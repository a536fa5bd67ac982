"""The manifests under deploy/: what `kubectl apply -k` sends, held against the schemas and what must be so."""

from __future__ import annotations

import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from supervisor.cli import flags
from supervisor.cli.gosyntax import parse
from tests.deploy import kustomize
from tests.e2e import shardns as program

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in DEPLOY.glob("components/*/kustomization.yaml"))
OLDEST, NEWEST = "1.25", "1.37"  # of the schemas that kubernetes-validate brings
ON_HOST = [name for name in OVERLAYS if name != "cilium"]
CUSTOM = {"CiliumLocalRedirectPolicy", "PodMonitor", "PrometheusRule"}  # their schemas are not Kubernetes' own


def rendered(name: str) -> dict[str, Any]:
    """The objects of an overlay by kind, Services by name."""
    objects = kustomize.render(DEPLOY / "overlays" / name)
    return {one["metadata"]["name"] if one["kind"] == "Service" else one["kind"]: one for one in objects}


def container(name: str) -> dict[str, Any]:
    """The one container of an overlay's DaemonSet."""
    (only,) = rendered(name)["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def arguments(name: str) -> list[str]:
    """An overlay's arguments, as the kubelet fills them in."""
    address = "2001:db8::a" if name == "ipv6" else "192.0.2.10"
    return [word.replace("$(KUBE_DNS_SERVICE_HOST)", address) for word in container(name)["args"]]


def combined(tmp_path: Path, component: str) -> list[kustomize.Object]:
    """The base with a component, as an operator's own kustomization has it."""
    said = {"resources": [str(DEPLOY / "base")], "components": [str(DEPLOY / "components" / component)]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(said))
    return kustomize.render(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", OVERLAYS)
def test_schema(name, version):
    """Every object of every overlay is what that Kubernetes version accepts, without a field that it does not know."""
    for one in kustomize.render(DEPLOY / "overlays" / name):
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize("component", COMPONENTS)
def test_components(tmp_path, component):
    """Every component fits the base, changes it (cpu-25m: not), and leaves what Kubernetes accepts."""
    objects = combined(tmp_path, component)
    assert (objects == kustomize.render(DEPLOY / "base")) is (component == "cpu-25m")
    for one in objects:
        if one["kind"] not in CUSTOM:
            kubernetes_validate.validate(one, NEWEST, strict=True)


def kubectl() -> str:
    """Why kubectl cannot be asked; empty when it can. kustomize knows components since 3.7, kubectl since 1.21."""
    if shutil.which("kubectl") is None:
        return "there is no kubectl"
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"Kustomize Version: v(\d+)", said.stdout)
    return "" if found and int(found[1]) >= 4 else "this kubectl's kustomize is older than 4"


@pytest.mark.slow
@pytest.mark.skipif(bool(kubectl()), reason=kubectl() or "kubectl is there")
@pytest.mark.parametrize("folder", ["base", *(f"overlays/{name}" for name in OVERLAYS)])
def test_kubectl(folder):
    """`kubectl kustomize` renders what the tests' own renderer does."""
    wanted = sorted(kustomize.render(DEPLOY / folder), key=kustomize.identity)
    assert rendered_by_kubectl(DEPLOY / folder) == wanted


def rendered_by_kubectl(folder: Path) -> list[kustomize.Object]:
    """The objects that kubectl makes of a kustomization, without a warning."""
    words = ["kubectl", "kustomize", str(folder)]
    said = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
    assert not said.stderr
    return sorted(yaml.safe_load_all(said.stdout), key=kustomize.identity)


def test_readme(tmp_path):
    """The kustomization that deploy/README.md shows works, with kubectl too, and names every folder that there is."""
    page = (DEPLOY / "README.md").read_text()
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    (tmp_path / "shardns").mkdir()
    shutil.copytree(DEPLOY, tmp_path / "shardns/deploy")
    (tmp_path / "kustomization.yaml").write_text(textwrap.dedent(shown[1]))
    objects = kustomize.render(tmp_path)
    (daemon_set,) = (one for one in objects if one["kind"] == "DaemonSet")
    assert daemon_set["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.org/shardns:0.1.0"
    assert daemon_set["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"] == 1
    if not kubectl():
        assert rendered_by_kubectl(tmp_path) == sorted(objects, key=kustomize.identity)
    for folder in (*(f"overlays/{name}" for name in OVERLAYS), *(f"components/{name}" for name in COMPONENTS)):
        assert f"`{folder}`" in page


@pytest.mark.parametrize("name", OVERLAYS)
def test_shape(name):
    """What other people's tools know the official manifest by is the same in every overlay."""
    found = rendered(name)
    assert {"ServiceAccount", "ConfigMap", "DaemonSet", "kube-dns-upstream", "node-local-dns"} <= found.keys()
    daemon_set = found["DaemonSet"]
    pod = daemon_set["spec"]["template"]
    labels = {"k8s-app": "node-local-dns"}
    assert (daemon_set["metadata"]["namespace"], daemon_set["metadata"]["name"]) == ("kube-system", "node-local-dns")
    assert daemon_set["spec"]["selector"]["matchLabels"] == labels == pod["metadata"]["labels"]
    assert pod["metadata"]["annotations"] == {"prometheus.io/port": "9253", "prometheus.io/scrape": "true"}
    assert pod["spec"]["priorityClassName"] == "system-node-critical"
    assert pod["spec"]["dnsPolicy"] == "Default"
    assert {entry.get("effect", entry.get("key")) for entry in pod["spec"]["tolerations"]} == {
        "CriticalAddonsOnly",
        "NoExecute",
        "NoSchedule",
    }
    assert found["kube-dns-upstream"]["spec"]["selector"] == {"k8s-app": "kube-dns"}
    assert found["node-local-dns"]["spec"]["clusterIP"] == "None"
    assert container(name)["resources"]["requests"]["cpu"] == "25m"


@pytest.mark.parametrize("name", ON_HOST)
def test_no_claims(name):
    """On the host's network no port is declared: a second pod of an upgrade with maxSurge finds its place."""
    assert rendered(name)["DaemonSet"]["spec"]["template"]["spec"]["hostNetwork"] is True
    assert "ports" not in container(name)


@pytest.mark.parametrize("name", OVERLAYS)
def test_flags(name):
    """The arguments are flags that shardns has, and it writes only where a volume is."""
    mounts = {mount["mountPath"] for mount in container(name)["volumeMounts"]}
    given = parse(
        [word.replace("$(KUBE_DNS_SERVICE_HOST)", "192.0.2.10") for word in container(name)["args"]], flags.ALL
    )
    for flag in ("conf", "pidfile"):
        assert str(Path(given.text(flag)).parent) in mounts
    assert given.text("upstreamsvc") == "kube-dns-upstream"
    assert container(name)["securityContext"]["readOnlyRootFilesystem"] is True
    assert "/dev/shm" in mounts


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERLAYS)
def test_corefile(tmp_path, name):
    """The Corefile, filled in as on a node, means something."""
    words = arguments(name)
    fill = {
        "__PILLAR__LOCAL__DNS__": words[words.index("-localip") + 1].replace(",", " "),
        "__PILLAR__CLUSTER__DNS__": "198.51.100.53",
        "__PILLAR__UPSTREAM__SERVERS__": "198.51.100.54",
    }
    text = re.sub("__PILLAR__[A-Z_]+__", lambda found: fill[found[0]], rendered(name)["ConfigMap"]["data"]["Corefile"])
    path = tmp_path / "Corefile"
    path.write_text(text)
    code, _, errors = program.run("check", str(path))
    assert (code, errors) == (0, "")


@pytest.mark.parametrize("name", OVERLAYS)
def test_probes(name):
    """The probes ask the address and port at which the Corefile serves health and ready."""
    corefile = rendered(name)["ConfigMap"]["data"]["Corefile"]
    for probe, plugin in (("livenessProbe", "health"), ("readinessProbe", "ready")):
        asked = container(name)[probe]["httpGet"]
        host = asked.get("host", "")
        place = f"[{host}]:{asked['port']}" if ":" in host else f"{host}:{asked['port']}"
        assert f"    {plugin} {place}\n" in corefile
        assert asked["path"] == f"/{plugin}"


@pytest.mark.parametrize(
    "name, localip",
    [
        ("iptables", "169.254.20.10,$(KUBE_DNS_SERVICE_HOST)"),
        ("surge", "169.254.20.10,$(KUBE_DNS_SERVICE_HOST)"),
        ("nftables", "169.254.20.10,$(KUBE_DNS_SERVICE_HOST)"),
        ("ipvs", "169.254.20.10"),
        ("ipv6", "fd00:169:254::10,$(KUBE_DNS_SERVICE_HOST)"),
        ("dual-stack", "169.254.20.10,$(KUBE_DNS_SERVICE_HOST),fd00:169:254::10,fd00:10:96::a"),
    ],
)
def test_addresses(name, localip):
    """Each mode serves its addresses; with IPVS the Service's own belongs to kube-proxy."""
    words = container(name)["args"]
    assert words[words.index("-localip") + 1] == localip


def test_cilium():
    """With Cilium the pod is nobody, has no capability, and sees nothing of the host but the redirected queries."""
    found = rendered("cilium")
    pod = found["DaemonSet"]["spec"]["template"]["spec"]
    only = container("cilium")
    assert pod["hostNetwork"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert only["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    assert {"-setupinterface=false", "-setupiptables=false"} <= set(only["args"])
    policy = found["CiliumLocalRedirectPolicy"]["spec"]
    assert policy["redirectFrontend"]["serviceMatcher"] == {"serviceName": "kube-dns", "namespace": "kube-system"}
    backend = {(port["name"], int(port["port"]), port["protocol"]) for port in policy["redirectBackend"]["toPorts"]}
    assert backend < {(port["name"], port["containerPort"], port["protocol"]) for port in only["ports"]}
    assert policy["redirectBackend"]["localEndpointSelector"]["matchLabels"] == {"k8s-app": "node-local-dns"}


@pytest.mark.parametrize("name", ON_HOST)
def test_capabilities(name):
    """Interface and rules, port 53, and what it takes to give up being root: nothing else, and nothing is gained."""
    context = container(name)["securityContext"]
    added = context["capabilities"]["add"]
    assert sorted(added) == ["KILL", "NET_ADMIN", "NET_BIND_SERVICE", "SETGID", "SETUID"]
    assert context["capabilities"]["drop"] == ["ALL"]
    assert context["allowPrivilegeEscalation"] is False
    assert "privileged" not in context


def test_legacy_iptables(tmp_path):
    """The component adds the raw socket that legacy iptables wants, and nothing else."""
    (daemon_set,) = (one for one in combined(tmp_path, "legacy-iptables") if one["kind"] == "DaemonSet")
    context = daemon_set["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    plain = container("iptables")["securityContext"]
    assert {*context["capabilities"]["add"]} == {*plain["capabilities"]["add"], "NET_RAW"}
    assert {**context, "capabilities": plain["capabilities"]} == plain


def test_nftables():
    """With nftables nothing of iptables is touched."""
    pod = rendered("nftables")["DaemonSet"]["spec"]["template"]["spec"]
    assert "xtables-lock" not in {volume["name"] for volume in pod["volumes"]}
    assert container("nftables")["args"][-2:] == ["--netfilter", "nftables"]


def test_surge():
    """An upgrade starts the new pod first, and gives it time before it ends the old one."""
    spec = rendered("surge")["DaemonSet"]["spec"]
    assert spec["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["minReadySeconds"] >= 10


@pytest.mark.parametrize("request_text", ["100m", "500m"])
def test_cpu(tmp_path, request_text):
    """A CPU request is one component away."""
    objects = combined(tmp_path, f"cpu-{request_text}")
    (daemon_set,) = (one for one in objects if one["kind"] == "DaemonSet")
    requests = daemon_set["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert requests == {"cpu": request_text, "memory": container("iptables")["resources"]["requests"]["memory"]}
