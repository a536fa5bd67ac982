"""The files of a node that Plans are made from, and what tests of them read from a Plan and the log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from shardns.errors import ConfigError, ConfigErrors
from shardns.plan import Plan
from shardns.plugins import forward
from supervisor.cli import corefiles
from supervisor.options import Options
from supervisor.sources import CorefileSource
from tests.fakes.configmap import ConfigMap

STOCK = Path(__file__).parents[3] / "corefiles" / "node-local-dns.base"
ENV = {"KUBE_DNS_UPSTREAM_SERVICE_HOST": "10.96.0.11", "KUBE_DNS_SERVICE_HOST": "10.96.0.10"}
IPS = ("169.254.20.10", "10.96.0.10")


class Node:
    """The files of a node, and a source that reads them."""

    def __init__(self, directory: Path, **options: object) -> None:
        """The stock template in a ConfigMap; options change what the command line says."""
        directory.mkdir(exist_ok=True)
        self.conf = directory / "Corefile"
        self.coredns = ConfigMap(directory / "coredns", {"Corefile.base": STOCK.read_text()})
        self.base = self.coredns.path / "Corefile.base"
        self.kube_dns = directory / "kube-dns"
        known: dict[str, object] = {
            "workers": 1,
            "local_ips": IPS,
            "conf": str(self.conf),
            "corefile": corefiles.node(8080),
            "base_corefile": str(self.base),
            "kube_dns": str(self.kube_dns),
            "upstream_service": "kube-dns-upstream",
            "cluster_domain": "cluster.local",
        }
        env = options.pop("env", ENV)
        assert isinstance(env, Mapping)
        self.options = Options(**{**known, **options})  # type: ignore[arg-type]  # a test names its own fields
        self.source = CorefileSource(self.options, env=env)

    def load(self) -> Plan:
        """The Plan now."""
        return self.source.load()

    def errors(self) -> list[str]:
        """Why there is none, with the directory's name left out."""
        with pytest.raises((ConfigError, ConfigErrors)) as caught:
            self.load()
        home = str(self.conf.parent) + os.sep
        return str(caught.value).replace(home, "").splitlines()


def targets(plan: Plan) -> dict[str, list[str]]:
    """The nameservers by the first zone of each block, "tcp" first where TCP is forced."""
    found = {}
    for block in plan.blocks:
        config = block.plugins["forward"]
        assert isinstance(config, forward.Config)
        (stanza,) = config.stanzas
        found[block.zones[0]] = ["tcp"] * stanza.force_tcp + [target.label for target in stanza.targets]
    return found


def upstream(tmp_path: Path, *addresses: str) -> str:
    """The path of a resolv.conf."""
    path = tmp_path / "resolv.conf"
    path.write_text("".join(f"nameserver {address}\n" for address in addresses))
    return str(path)


def warnings(events: list[dict[str, object]]) -> list[str]:
    """The texts of config.warned."""
    return [str(event["warning"]) for event in events if event["event"] == "config.warned"]
