"""Where Plans come from: a Corefile as it is, or a template with what the cluster says put in.

placeholders.py  the words of the template that the program replaces; pure
service.py       the cluster's DNS address, from the environment; pure
kubedns.py       stubDomains and upstreamNameservers; pure
resolv.py        resolv.conf, and the real one behind systemd-resolved's stub
disk.py          ConfigMaps as the kubelet mounts them, files written whole, and what has changed
corefile.py      CorefileSource, which puts it all together
plans.py         what the supervisor asks of a Plan
"""

from __future__ import annotations

from supervisor.sources.corefile import CorefileSource, Source
from supervisor.sources.plans import Address, each, http_keys, listen_addresses, same

__all__ = ["Address", "CorefileSource", "Source", "each", "http_keys", "listen_addresses", "same"]
