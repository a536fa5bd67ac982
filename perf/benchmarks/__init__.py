"""The benchmarks, by name; each is one row of the table or a few that one load gives."""

from __future__ import annotations

from perf.benchmarks import cost, cpu, latency, life, quota, scaling, table
from perf.figures import Benchmark

ALL: dict[str, Benchmark] = {
    "hits": cpu.hits,
    "misses": cpu.misses,
    "tcp": cpu.tcp,
    "latency": latency.hits,
    "latency-under-misses": latency.under_misses,
    "scaling": scaling.workers,
    "table": table.find,
    "memory": life.memory,
    "idle": life.idle,
    "start": life.start,
    "reload": life.reload,
    "quota": quota.limits,
    "cost": cost.rates,
}
