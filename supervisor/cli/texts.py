"""What the command says to a person: help, version, plugins, and the banner when it serves."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

import shardns
from supervisor.cli import flags
from supervisor.cli.gosyntax import Flag

if TYPE_CHECKING:
    from shardns.plan import Plan

VERSION = shardns.__version__
COREDNS = "1.13.2"  # whose Corefile, metrics and log lines these are: node-cache 1.26.7's
_MARGIN = 34  # columns of a flag and its value

_HEAD = """\
shardns: a node-local DNS cache for Kubernetes, a drop-in for node-cache

  shardns [flags]                 serve
  shardns check FILE [flags]      print what a Corefile means, or everything that is wrong with it
  shardns demo [-p PORT]          serve in front of a stand-in for kube-dns, to try things out
  shardns doctor [flags]          find out what is wrong with DNS of this node, and what to do
  shardns sizing --qps N ...      say what CPU and memory to request for so many queries
  shardns teardown [flags]        remove the interface and the rules that a killed shardns left behind
  shardns reload                  have a running shardns read its Corefile again
  shardns status                  counters of a running shardns, and what is under way
  shardns cache ...               look into the cache of a running shardns (shardns cache help)

With -localip alone it is a node cache with the stock Corefile; without -localip, -conf and -basecorefile it is a
forwarder on 127.0.0.1:1053 for the nameservers of /etc/resolv.conf.
Flags are written as Go's: -x VALUE, -x=VALUE, --x VALUE; switches -x or -x=false.
"""

_TAIL = """\
Signals: SIGTERM and SIGINT serve on for the health plugin's lameduck, finish what is in hand and exit 0 (a second
SIGINT exits 2 at once); SIGQUIT exits 0 at once; SIGUSR1 reads the Corefile again; SIGHUP is ignored."""


def usage() -> str:
    """The text of --help."""
    groups = [
        f"{title}:\n" + "\n".join(_line(flag, "-" if _is_old(flag) else "--") for flag in known)
        for title, known in flags.GROUPS
    ]
    return "\n\n".join([_HEAD.rstrip(), *groups, _TAIL])


def version() -> str:
    """The text of --version."""
    machine = platform.machine()
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    python = ".".join(str(part) for part in sys.version_info[:3])
    return f"shardns-{VERSION}\n{sys.platform}/{arch}, python{python}, CoreDNS-{COREDNS} configuration"


def plugins() -> str:
    """The text of -plugins, in CoreDNS's form and the order in which a query meets them."""
    from shardns.plugins import order

    return "Server types:\n  dns\n\nOther plugins:\n" + "\n".join(f"  dns.{name}" for name in order.BUILT_NAMES)


def announce(plan: Plan) -> None:
    """Print the banner as CoreDNS does, a line for each zone and address; JSON logs have it as an event instead."""
    if not sys.stdout.isatty():
        return
    for row in plan.rows:
        if row.block is not None:
            listener = plan.listener(row.listener)
            where = f" on {listener.host}" if listener.host else ""
            print(f"{row.zone}:{listener.port}{where}")
    print(version(), flush=True)


def _is_old(flag: Flag) -> bool:
    """Whether node-cache has it: those are shown with one dash, as its manifests write them."""
    ours = (*flags.PROCESSES, *flags.LOGS)
    return flag not in ours and flag.name != "netfilter"


def _line(flag: Flag, dash: str) -> str:
    """One flag of --help."""
    names = ", ".join(f"{dash}{name}" for name in (flag.name, *flag.aliases))
    left = f"  {names} {flag.value}" if flag.value else f"  {names}"
    default = f" (default {flag.default})" if flag.default and flag.value else ""
    gap = "\n" + " " * _MARGIN if len(left) >= _MARGIN else " " * (_MARGIN - len(left))
    return f"{left}{gap}{flag.meaning}{default}"
