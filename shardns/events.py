"""The names of log events: `noun.verb`, the verb in the past tense, one line per thing that happened.

A name is added here first; mypy then accepts it in a log call, and a test holds that every call in the tree uses one of
these as a literal. So a name found in a log can be searched for in the source, and changes on purpose only.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Event = Literal[
    # supervisor: itself
    "supervisor.started",
    "supervisor.stopped",
    "supervisor.failed",
    "signal.received",
    # supervisor: configuration
    "plan.refused",
    "plan.unchanged",
    "config.warned",
    "template.missed",
    "corefile.filled",
    "corefile.write_failed",
    "configmap.refused",
    "reload.started",
    "reload.finished",
    "reload.failed",
    # supervisor: what it holds
    "listener.opened",
    "listener.closed",
    "listener.failed",
    "segment.created",
    "segment.adopted",
    "segment.copied",
    "segment.refused",
    "setup.failed",
    "setup.recovered",
    "setup.warned",
    "setup.added",
    "setup.removed",
    "rules.chosen",
    "teardown.skipped",
    # supervisor: children
    "child.started",
    "child.exited",
    "child.stuck",
    "child.drained",
    "child.failed",
    "generation.serving",
    "generation.drained",
    "lameduck.entered",
    # worker
    "worker.stopped",
    "tcp.failed",
    "serve.failed",
    # upstream process
    "table.recovered",
    "table.confined",
    "hosts.loaded",
    "hosts.failed",
    "loop.probe_failed",
    "loop.detected",
    "http.failed",
    "health.failed",
    "health.recovered",
    "health.slow",
    "operator.refused",
    "table.flushed",
    "table.lent",
]

EVENTS: Final[frozenset[str]] = frozenset(get_args(Event))
