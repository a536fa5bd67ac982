"""What we take from prometheus_client: the families and their text form. The only importer of it.

The library brings an HTTP server, a WSGI server and an HTTP client along, for uses that are not ours: upstream/http.py
serves the page. It needs them for the bases of classes only; they are 3 MB of memory, and a tenth of the start.
"""

from __future__ import annotations

from shardns.imports import hollow

with hollow("gzip", "http.server", "socketserver", "ssl", "urllib.error", "urllib.request", "wsgiref.simple_server"):
    from prometheus_client.exposition import generate_latest
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )

__all__ = [
    "CounterMetricFamily",
    "GaugeMetricFamily",
    "HistogramMetricFamily",
    "Metric",
    "generate_latest",
]
