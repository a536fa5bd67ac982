"""What the supervisor asks of a Plan, and of the errors of one that could not be made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from shardns.errors import ConfigError, ConfigErrors
from shardns.plan import Plan
from supervisor.options import Options

Address = tuple[str, int]


def listen_addresses(plan: Plan) -> Mapping[int, Address]:
    """Host and port of every listener, by its index."""
    return {listener.index: (listener.host, listener.port) for listener in plan.listeners}


def http_keys(plan: Plan, options: Options) -> frozenset[str]:
    """Every address of health, ready and metrics, and the second one of metrics."""
    keys = {str(address) for address in plan.http()}
    if options.metrics_address:
        keys.add(options.metrics_address)
    return frozenset(keys)


def same(one: Plan, other: Plan) -> bool:
    """Whether both mean the same service: places of warnings in the file do not count."""
    return dataclasses.replace(one, warnings=()) == dataclasses.replace(other, warnings=())


def each(errors: ConfigError | ConfigErrors) -> tuple[ConfigError, ...]:
    """One or several errors as several."""
    return errors.errors if isinstance(errors, ConfigErrors) else (errors,)
