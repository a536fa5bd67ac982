"""The address of the cluster's DNS, as the kubelet puts it into the environment of every container. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from shardns.dns import names

DEFAULT = "kube-dns"  # of node-cache's -upstreamsvc
BESIDE = "kube-dns-upstream"  # the official manifest's second Service, for when the first one's address is ours


@dataclass(frozen=True, slots=True)
class Found:
    """An address, or why there is none and what to do about it."""

    address: str = ""
    why: str = ""
    remedy: str = ""


def variable(service: str) -> str:
    """The environment variable that holds the Service's address."""
    return service.upper().replace("-", "_") + "_SERVICE_HOST"


def find(service: str, env: Mapping[str, str], local_ips: Collection[str]) -> Found:
    """Where the Service is. Empty service: kube-dns, or kube-dns-upstream where kube-dns is missing or is our own.

    DIFFERS: node-cache takes kube-dns then, and forwards to itself where -localip has its address; for a Service that
    is missing it puts the text "<nil>" into the Corefile.
    """
    if service:
        return _named(service, env)
    first, second = _named(DEFAULT, env), _named(BESIDE, env)
    if first.address and names.ip_text(first.address) not in local_ips:
        return first
    if second.address:
        return second
    if first.address:
        return Found(
            why=f"Service {DEFAULT} has the address {first.address}, which -localip makes ours, and {second.why}",
            remedy=f"create a Service {BESIDE} that selects kube-dns's pods, before this pod starts",
        )
    return Found(why=f"{first.why}, and {second.why}", remedy=first.remedy)


def _named(service: str, env: Mapping[str, str]) -> Found:
    """As find, of one Service by its name."""
    name = variable(service)
    address = env.get(name, "")
    if names.ip_text(address) is not None:
        return Found(address)
    remedy = (
        f"Service {service} must be in this pod's namespace, have a ClusterIP and be older than the pod; "
        "create it and restart the pod, or name another one by -upstreamsvc"
    )
    state = f"holds {address!r}, which is no IP address" if address else "is not set"
    return Found(why=f"the variable {name} of Service {service} {state}", remedy=remedy)
