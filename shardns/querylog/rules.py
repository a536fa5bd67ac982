"""Which replies of a server block are logged, and how."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from shardns.dns import names
from shardns.querylog.record import CLASSES, LogRecord, name_text
from shardns.querylog.template import COMMON, compile_format


@dataclass(frozen=True, slots=True)
class Rule:
    """Queries at and below zone whose answer is of one of the classes are printed in this format."""

    zone: str = "."  # normalised
    format: str = COMMON  # see template.py
    classes: tuple[str, ...] = ("all",)  # success, denial, error, all


class QueryLog:
    """The `log` directives of one server block, compiled. The first rule whose name fits decides, by its classes."""

    def __init__(self, rules: Iterable[Rule], local_hosts: Mapping[int, str]) -> None:
        """local_hosts: listener index to the address it listens on."""
        self._rules: list[tuple[str, int, Callable[[LogRecord], str]]] = [
            (rule.zone, class_mask(rule.classes), compile_format(rule.format, local_hosts)) for rule in rules
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
        for zone, classes, write in self._rules:
            if zone == "." or names.is_subdomain(name_text(record.name), zone):
                return "[INFO] " + write(record) if classes & record.log_class else None
        return None


def class_mask(words: Collection[str]) -> int:
    """The bits of enum shd_log_class that the words stand for."""
    mask = 0
    for word in words:
        mask |= CLASSES[word]
    return mask
