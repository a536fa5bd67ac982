"""What the flags say about the Corefile: which file it is, and what a template is filled in with. Pure."""

from __future__ import annotations

import re
from dataclasses import replace

from shardns.dns import names
from supervisor.cli import corefiles
from supervisor.cli.gosyntax import Flag, FlagError, Given
from supervisor.options import BASE_COREFILE, CLUSTER_DOMAIN, KUBE_DNS, PROMETHEUS_ENDPOINT, Options
from supervisor.sources import service

WATCH_MIN_S = 0.1
_DOMAIN = re.compile(r"[A-Za-z0-9_.-]+")

TEMPLATES = (
    Flag("basecorefile", BASE_COREFILE, "template of the Corefile; -conf takes the result", "FILE"),
    Flag("upstreamsvc", service.DEFAULT, "Service to forward to, looked up in the environment", "NAME"),
    Flag("kubednscm", "", f"where the ConfigMap kube-dns is; {KUBE_DNS} if that exists", "DIRECTORY"),
    Flag("cluster-domain", CLUSTER_DOMAIN, "the cluster's domain, for the built-in Corefile", "DOMAIN"),
    Flag("prometheus-listen-address", PROMETHEUS_ENDPOINT, "metrics address of templates", "HOST:PORT"),
    Flag("watch-interval", "10s", "how often template, ConfigMap and resolv.conf are looked at", "DURATION"),
    Flag("reloadwithsignal", "false", "look after the file of -conf as well, without the plugin reload"),
    Flag("corefile", "/etc/Corefile", "ignored, as node-cache does: -conf is what counts", "FILE"),
)


def is_forwarder(given: Given) -> bool:
    """Whether nothing says what to serve: then it is a forwarder for trying things out."""
    return not given.has("localip") and not given.text("conf") and not given.has("basecorefile")


def applied(given: Given, options: Options) -> Options:
    """The options, with what is said about the Corefile. Raises FlagError."""
    watch_s = given.seconds("watch-interval", WATCH_MIN_S)
    domain = _domain(given.text("cluster-domain")) if given.has("cluster-domain") else ""
    if is_forwarder(given):
        return replace(options, corefile=corefiles.forwarder(), watch_s=watch_s)
    return replace(
        options,
        conf=given.text("conf"),
        corefile=corefiles.node(options.node.health_port),
        base_corefile=given.text("basecorefile"),
        kube_dns=given.text("kubednscm") or KUBE_DNS,
        upstream_service=given.text("upstreamsvc") if given.has("upstreamsvc") else "",
        cluster_domain=domain,
        prometheus_endpoint=given.text("prometheus-listen-address"),
        reload_with_signal=given.truth("reloadwithsignal"),
        watch_s=watch_s,
    )


def _domain(text: str) -> str:
    """A domain without its last dot."""
    try:
        if _DOMAIN.fullmatch(text):
            return names.normalize(text).rstrip(".") or "."
    except ValueError:
        pass
    raise FlagError(f'-cluster-domain must be a domain name, such as {CLUSTER_DOMAIN}, got "{text}"')
