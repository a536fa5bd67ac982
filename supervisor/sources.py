"""Where Plans come from: the Corefile (a file, standard input, or the built-in one) and what it imports."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from typing import Protocol

from shardns import plan as plans
from shardns.corefile import files, parse
from shardns.errors import ConfigError, ConfigErrors
from shardns.plan import Plan
from supervisor import interfaces
from supervisor.options import STDIN, Options

Address = tuple[str, int]


class Source(Protocol):
    """Something that can be asked for the Plan as it should be now."""

    def load(self) -> Plan:
        """The Plan. Raises ConfigError or ConfigErrors."""


class CorefileSource:
    """Plans from a Corefile. Keeps the numbers of listeners and rows the same over all of them."""

    def __init__(self, options: Options) -> None:
        """Read nothing yet."""
        self._options = options
        self._registry = plans.Registry()
        self._stdin: str | None = None

    def load(self) -> Plan:
        """The Plan that the Corefile describes now. Raises ConfigError or ConfigErrors."""
        file, text = self._text()
        notes: list[ConfigError] = []
        blocks = parse(text, file=file, env=os.environ, read=files.read, notes=notes)
        known = interfaces.by_interface()
        options = plans.Options(
            read=files.text,
            interface=known.get,
            port=self._options.dns_port,
            local=[address for addresses in known.values() for address in addresses],
            notes=notes,
        )
        return plans.resolve(blocks, options, self._registry)

    def _text(self) -> tuple[str, str]:
        """The Corefile's name and text. Raises ConfigError."""
        path = self._options.conf
        if not path:
            return "built-in Corefile", self._options.corefile
        if path == STDIN:
            if self._stdin is None:
                self._stdin = sys.stdin.read()
            return STDIN, self._stdin
        try:
            return path, files.text(path)
        except OSError as error:
            raise ConfigError(None, f"cannot read the Corefile {path}: {error.strerror}", hint="see -conf") from None
        except UnicodeError:
            raise ConfigError(None, f"the Corefile {path} is not UTF-8 text") from None
        except ValueError as error:
            raise ConfigError(None, f"cannot read the Corefile: {error}") from None


def listen_addresses(plan: Plan) -> Mapping[int, Address]:
    """Host and port of every listener, by its index."""
    return {listener.index: (listener.host, listener.port) for listener in plan.listeners}


def http_keys(plan: Plan, options: Options) -> frozenset[str]:
    """The keys of Wiring.http: every address of health, ready and metrics, and the second one of metrics."""
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
