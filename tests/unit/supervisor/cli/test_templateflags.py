"""The flags of the Corefile and its template."""

from __future__ import annotations

import pytest

from supervisor.cli import corefiles
from supervisor.cli.flags import read
from supervisor.cli.gosyntax import FlagError
from supervisor.options import Options


def understood(arguments: str) -> Options:
    """What the command line asks for."""
    return read(arguments.split(), auto_workers=lambda: 1).options


def test_official_arguments():
    """The official manifest's arguments mean the default template, its Service, and nothing given beyond that."""
    options = understood("-localip 127.0.0.11,127.0.0.12 -conf /etc/Corefile -upstreamsvc kube-dns-upstream -pidfile p")
    assert options.conf == "/etc/Corefile"
    assert options.base_corefile == "/etc/coredns/Corefile.base"
    assert options.kube_dns == "/etc/kube-dns"
    assert options.upstream_service == "kube-dns-upstream"
    assert (options.cluster_domain, options.prometheus_endpoint) == ("", ":9253")
    assert (options.reload_with_signal, options.watch_s) == (False, 10.0)


def test_addresses_alone_are_a_node_cache():
    """-localip alone serves the built-in template, or the file where the manifest mounts one."""
    options = understood("-localip 169.254.20.10,10.96.0.10 -health-port 8099")
    assert (options.conf, options.base_corefile) == ("", "/etc/coredns/Corefile.base")
    assert options.corefile == corefiles.node(8099)
    assert (options.dns_port, options.metrics_address) == (53, "0.0.0.0:9353")
    assert options.upstream_service == ""


@pytest.mark.parametrize(
    "arguments, field, value",
    [
        ("-basecorefile b", "base_corefile", "b"),
        ("-conf x -basecorefile=", "base_corefile", ""),
        ("-conf x -kubednscm /k", "kube_dns", "/k"),
        ("-conf x -upstreamsvc kube-dns", "upstream_service", "kube-dns"),
        ("-conf x -cluster-domain Example.ORG.", "cluster_domain", "example.org"),
        ("-conf x -prometheus-listen-address 127.0.0.1:9253", "prometheus_endpoint", "127.0.0.1:9253"),
        ("-conf x -reloadwithsignal", "reload_with_signal", True),
        ("-conf x -watch-interval 500ms", "watch_s", 0.5),
        ("-watch-interval 1m", "watch_s", 60.0),
    ],
)
def test_flags(arguments, field, value):
    """Each flag reaches its option."""
    assert getattr(understood(arguments), field) == value


def test_nothing_given_is_a_forwarder():
    """Without -localip, -conf and -basecorefile no template is looked for, and no ConfigMap."""
    options = understood("-upstreamsvc x")
    assert options.corefile == corefiles.forwarder()
    assert (options.base_corefile, options.kube_dns) == ("", "")


@pytest.mark.parametrize(
    "arguments, words",
    [
        ("-watch-interval 10ms", "-watch-interval must be at least"),
        ("-watch-interval soon", "-watch-interval: "),
        ("-cluster-domain=", "-cluster-domain must be"),
        ("-cluster-domain a..b", "-cluster-domain must be"),
        ("-cluster-domain {$X}", "-cluster-domain must be"),
    ],
)
def test_refused(arguments, words):
    """Values that mean nothing are refused."""
    with pytest.raises(FlagError, match=words):
        understood(f"-conf x {arguments}")
