"""The command line, understood: what the supervisor is asked to do. Pure data; supervisor/cli makes it."""

from __future__ import annotations

from dataclasses import dataclass

from shardns.log import Format, Level
from supervisor.network.desired import NOTHING, Wishes

NAMELESS = "none"  # the value of --shm-name for a table that ends with its supervisor
STDIN = "stdin"  # the value of -conf that means standard input, as in CoreDNS
BASE_COREFILE = "/etc/coredns/Corefile.base"  # where the official manifest mounts the template
KUBE_DNS = "/etc/kube-dns"  # where it mounts the ConfigMap kube-dns
CLUSTER_DOMAIN = "cluster.local"
PROMETHEUS_ENDPOINT = ":9253"
WATCH_S = 10.0  # as node-cache


@dataclass(frozen=True, slots=True)
class Options:
    """What a run of the supervisor is given."""

    workers: int  # worker processes, 1 to 64
    local_ips: tuple[str, ...] = ()  # -localip; empty: only what the Corefile binds
    conf: str = ""  # path of the Corefile, "stdin", or empty for `corefile`
    corefile: str = ""  # template to serve when conf is empty and there is no file base_corefile
    base_corefile: str = ""  # path of the template; empty: none
    kube_dns: str = ""  # directory of the ConfigMap kube-dns; empty: none
    upstream_service: str = ""  # -upstreamsvc; empty: kube-dns, or kube-dns-upstream where that cannot be
    cluster_domain: str = ""  # for a template's __PILLAR__DNS__DOMAIN__; empty: left alone, but in the built-in one
    prometheus_endpoint: str = PROMETHEUS_ENDPOINT  # for a template's __PROMETHEUS__ENDPOINT__
    reload_with_signal: bool = False  # look after the file conf as well, without the plugin reload
    watch_s: float = WATCH_S  # between looks at template, ConfigMap and resolv.conf
    dns_port: int = 53  # of server blocks that name none
    metrics_address: str = ""  # host:port of the second metrics listener; empty: none
    pid_file: str = ""
    is_quiet: bool = False  # no banner
    cache_size_bytes: int = 32 * 1024 * 1024
    log_format: Format = "auto"
    log_level: Level = "info"
    user: str = ""  # name or uid of the children; empty: 65534 when started as root, else unchanged
    shm_name: str = ""  # of the table in /dev/shm; empty: made of port and addresses; NAMELESS: none
    heartbeat_timeout_s: float = 10.0
    node: Wishes = NOTHING  # what to set up of interface and rules; by default nothing
    control: str = ""  # operator socket: a path, or @name in the abstract namespace; empty: @shardns/<shm name>
