"""Which replies of a server block are logged, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shardns.dns import names
from shardns.querylog.record import ALL, LogRecord, name_text
from shardns.querylog.template import COMMON, compile_format


@dataclass(frozen=True, slots=True)
class Rule:
    """One NAME of a `log` directive."""

    name: str = "."
    """Normalised; the rule is for names at and below it."""
    format: str = COMMON
    classes: int = ALL
    """Bits of enum shd_log_class."""


class QueryLog:
    """The `log` directives of one server block, compiled. The first rule whose name fits decides, by its classes."""

    def __init__(self, rules: Iterable[Rule], local_hosts: Mapping[int, str]) -> None:
        """local_hosts: listener index to the address it listens on."""
        self._rules: list[tuple[str, int, Callable[[LogRecord], str]]] = [
            (rule.name, rule.classes, compile_format(rule.format, local_hosts)) for rule in rules
        ]

    @property
    def classes(self) -> int:
        """Bits of enum shd_log_class that some rule logs: struct shd_block_rule.log_classes."""
        mask = 0
        for _, classes, _ in self._rules:
            mask |= classes
        return mask

    def line(self, record: LogRecord) -> str | None:
        """The line to write, "[INFO] ..." without its end; None when this reply is not logged."""
        for name, classes, write in self._rules:
            if name == "." or names.is_subdomain(name_text(record.name), name):
                return "[INFO] " + write(record) if classes & record.log_class else None
        return None
