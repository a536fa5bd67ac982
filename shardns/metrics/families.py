"""What we take from prometheus_client: the families and their text form. The only importer of it.

The library brings an HTTP server, a WSGI server and an HTTP client along, for uses that are not ours: upstream/http.py
serves the page. Where nobody has loaded these modules before, it is given empty ones in their place while it loads: it
needs them for the bases of classes only. That is 3 MB of memory, and a tenth of the start.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

_UNUSED = ("http.server", "urllib.request", "wsgiref.simple_server")


class _Hollow(ModuleType):
    """A module in which every name is an empty class."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextlib.contextmanager
def _hollow(names: tuple[str, ...]) -> Iterator[None]:
    """Inside, modules that are not loaded yet are hollow; afterwards they can be had as ever."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update({name: _Hollow(name) for name in absent})
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with _hollow(_UNUSED):
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
