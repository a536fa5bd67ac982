"""The metrics page: CoreDNS's families to the letter, and our own under `shardns_`.

families    what prometheus_client does for us
sources     what the page is made from; the upstream process fills it once
counters    the C counters of all processes, read out of the segments and summed
coredns     families that CoreDNS has
own         families that only shardns has
processes   process_* of the whole group
page        all of them as text
"""

from shardns.metrics.counters import Reader, Totals
from shardns.metrics.page import CONTENT_TYPE, Page
from shardns.metrics.sources import CacheCounts, CacheView, Control, LocalCounts, Memory, PluginView, Sources, TableUse

__all__ = [
    "CONTENT_TYPE",
    "CacheCounts",
    "CacheView",
    "Control",
    "LocalCounts",
    "Memory",
    "Page",
    "PluginView",
    "Reader",
    "Sources",
    "TableUse",
    "Totals",
]
