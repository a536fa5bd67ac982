"""The command line, understood: what the supervisor is asked to do. Pure data; supervisor/cli makes it."""

from __future__ import annotations

from dataclasses import dataclass

from shardns.log import Format, Level

NAMELESS = "none"  # the value of --shm-name for a table that ends with its supervisor
STDIN = "stdin"  # the value of -conf that means standard input, as in CoreDNS


@dataclass(frozen=True, slots=True)
class Options:
    """What a run of the supervisor is given."""

    workers: int  # worker processes, 1 to 64
    local_ips: tuple[str, ...] = ()  # -localip; empty: only what the Corefile binds
    conf: str = ""  # path of the Corefile, "stdin", or empty for `corefile`
    corefile: str = ""  # text to serve when conf is empty
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
    control: str = ""  # operator socket: a path, or @name in the abstract namespace; empty: @shardns/<shm name>
