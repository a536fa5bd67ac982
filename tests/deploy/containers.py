"""Real containers, started by podman and runc as a kubelet would from a manifest under deploy/."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.deploy import kustomize
from tests.peers.netns import Namespace

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "build/image"
TOOLS = ("buildah", "mmdebstrap", "podman", "runc")
BUILD_S = 400
_numbers = itertools.count()


def cannot_run() -> str:
    """Why no image can be built and run here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root to build and run an image"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    return f"needs {', '.join(missing)}" if missing else ""


def build() -> str:
    """The name of the image of this tree; it is built unless it is there. Raises RuntimeError with what was printed."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [ROOT / "deploy/image/build"],
            capture_output=True,
            text=True,
            timeout=BUILD_S,
            check=False,
            env={**os.environ, "IMAGE_PYTHON": sys.executable},
        )
    if done.returncode:
        raise RuntimeError(f"the image could not be built:\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
    return "localhost/shardns:latest"


def podman(*args: str, check: bool = True, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """The finished command, on the images that build() makes and with nothing of the machine's own podman."""
    places = ["--root", str(IMAGES / "storage"), "--runroot", str(IMAGES / "run"), "--storage-driver", _driver()]
    runc = shutil.which("runc") or "/usr/sbin/runc"
    engine = ["--runtime", runc, "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
    words = ["podman", *places, *engine, *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode:
        raise RuntimeError(f"podman {' '.join(args)}: {done.stderr[-3000:]}")
    return done


def _driver() -> str:
    """How images are kept there."""
    return "overlay" if (IMAGES / "storage/overlay").is_dir() else "vfs"


def limits() -> list[str]:
    """Limits that we may give: where those of the session cannot be raised, the engine's own would be refused."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    return ["--ulimit", f"nofile={files}:{files}", "--ulimit", "nproc=8192:8192"]


@dataclass
class Container:
    """A container with its volumes, which live as long as its pod would."""

    name: str
    namespace: Namespace
    volumes: Mapping[str, Path]
    log: list[str] = field(default_factory=list)

    @property
    def pid(self) -> int:
        """Of its first process, as the host sees it; 0 when it has ended."""
        return int(podman("inspect", "-f", "{{.State.Pid}}", self.name).stdout)

    @property
    def exit_code(self) -> int:
        """What it ended with."""
        return int(podman("inspect", "-f", "{{.State.ExitCode}}", self.name).stdout)

    def output(self) -> str:
        """Everything that it has written, over all its starts."""
        done = podman("logs", self.name)
        return done.stdout + done.stderr

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        found = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [event for event in found if event["event"] == name]

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command in the container, as `kubectl exec` and preStop have it."""
        return podman("exec", self.name, *words, check=False)

    def end(self, signal: str = "TERM", within_s: int = 20) -> int:
        """Its exit code, after that signal from outside."""
        podman("kill", "-s", signal, self.name)
        podman("wait", self.name, timeout_s=within_s)
        return self.exit_code

    def start(self) -> None:
        """Nothing; it runs again, on the same volumes."""
        podman("start", self.name)


@contextlib.contextmanager
def container(
    image: str,
    objects: Sequence[kustomize.Object],
    namespace: Namespace,
    *,
    env: Mapping[str, str],
    resolv_conf: str = "",
    replace: Mapping[str, str] | None = None,
) -> Iterator[Container]:
    """The DaemonSet's container in a namespace that stands for the node (or for a pod's own network).

    env       as a kubelet gives it; it fills in $(NAME) in the arguments as well
    replace   words of the ConfigMap to put others in the place of
    """
    (daemon_set,) = (one for one in objects if one["kind"] == "DaemonSet")
    (config,) = (one for one in objects if one["kind"] == "ConfigMap")
    pod = daemon_set["spec"]["template"]["spec"]
    (spec,) = pod["containers"]
    name = f"shardns-test-{os.getpid()}-{next(_numbers)}"
    home = Path(tempfile.mkdtemp(prefix=name, dir="/dev/shm"))
    text = config["data"]["Corefile"]
    for old, new in (replace or {}).items():
        text = text.replace(old, new)
    volumes = {volume["name"]: _volume(volume, home, text) for volume in pod["volumes"]}
    (home / "resolv.conf").write_text(resolv_conf)
    words = ["run", "-d", "--name", name, "--network", f"ns:/run/netns/{namespace.name}", *limits()]
    words += ["--no-hosts", "-v", f"{home}/resolv.conf:/etc/resolv.conf:ro"]
    words += [word for key, value in env.items() for word in ("--env", f"{key}={value}")]
    words += security(pod.get("securityContext", {}), spec.get("securityContext", {}))
    for mount in spec["volumeMounts"]:
        words += ["-v", f"{volumes[mount['name']]}:{mount['mountPath']}"]
    arguments = list(spec["args"])
    for key, value in env.items():
        arguments = [word.replace(f"$({key})", value) for word in arguments]
    try:
        podman(*words, image, *arguments)
        yield Container(name, namespace, volumes)
    finally:
        podman("rm", "-f", "-t", "3", name, check=False)
        shutil.rmtree(home, ignore_errors=True)


def security(pod: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The security contexts of a pod and its container as flags of podman."""
    capabilities = own.get("capabilities", {})
    words = [word for name in capabilities.get("drop", ()) for word in ("--cap-drop", name.lower())]
    words += [word for name in capabilities.get("add", ()) for word in ("--cap-add", name)]
    user, group = (own.get(field, pod.get(field)) for field in ("runAsUser", "runAsGroup"))
    if user is not None:
        words += ["--user", f"{user}:{group if group is not None else 0}"]
    if own.get("readOnlyRootFilesystem"):
        words += ["--read-only", "--read-only-tmpfs=false"]
    if own.get("allowPrivilegeEscalation") is False:
        words += ["--security-opt", "no-new-privileges"]
    return words


def _volume(volume: Mapping[str, Any], home: Path, corefile: str) -> Path:
    """The folder or file of this machine that stands for a volume."""
    path = home / str(volume["name"])
    if "hostPath" in volume and volume["hostPath"]["type"] == "FileOrCreate":
        path.touch()
        return path
    path.mkdir()
    path.chmod(0o777 if "emptyDir" in volume else 0o755)  # as the kubelet makes them
    for item in volume.get("configMap", {}).get("items", ()):
        (path / item["path"]).write_text(corefile)
    return path
