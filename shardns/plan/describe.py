"""A Plan in words, for a person: what `shardns check` prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from shardns import units
from shardns.plan.model import Block, Plan
from shardns.plugins import api

_INDENT = "  "


def describe(plan: Plan) -> str:
    """The whole Plan, with every value of every plugin, defaults included. Ends in a newline; warnings are left out."""
    lines: list[str] = []
    for block in plan.blocks:
        lines += _block(plan, block)
        lines.append("")
    lines += _process(plan)
    return "\n".join(lines) + "\n"


def _block(plan: Plan, block: Block) -> list[str]:
    """One server block."""
    lines = [f"server block {block.index + 1}: {' '.join(block.zones)}"]
    for number in block.listeners:
        zones = " ".join(row.zone for row in plan.rows if row.listener == number and row.block == block.index)
        lines.append(f"{_INDENT}listens on {plan.listener(number).label} for {zones}")
    facets = ", ".join(["question", *(facet.value.upper() for facet in block.facets)])
    lines.append(f"{_INDENT}entries vary by {facets}; cache id {block.cache_id:016x}")
    for name, config in block.plugins.items():
        fields = list(_fields(config, ""))
        lines.append(f"{_INDENT}{name}")
        width = max((len(field) for field, _ in fields), default=0)
        lines += [f"{_INDENT * 2}{field:<{width}}  {value}" for field, value in fields]
    return lines


def _process(plan: Plan) -> list[str]:
    """What concerns the whole process."""
    check = "no (only on SIGUSR1)"
    if plan.reload is not None:
        span = units.duration_text(plan.reload.jitter_s)
        check = f"every {units.duration_text(plan.reload.interval_s)}, spread over {span}"
    rows = [
        ("health", _texts(plan.health)),
        ("ready", _texts(plan.ready)),
        ("prometheus", _texts(plan.prometheus)),
        ("lameduck", units.duration_text(plan.lameduck_s)),
        ("reload", check),
        ("SHA512", plan.digest),
    ]
    return ["process", *(f"{_INDENT}{name:<10}  {value}" for name, value in rows)]


def _fields(config: object, prefix: str) -> Iterator[tuple[str, str]]:
    """Every field of a Config, those of its parts below their names."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{prefix}{field.name.removesuffix('_s')}"
        if _is_part(value):
            yield from _fields(value, f"{name}.")
        elif isinstance(value, tuple) and value and all(_is_part(part) for part in value):
            for number, part in enumerate(value, start=1):
                yield from _fields(part, f"{name}[{number}].")
        else:
            yield name, _text(value, is_duration=field.name.endswith("_s"))


def _is_part(value: object) -> bool:
    """True for a dataclass that has no short form of its own."""
    return dataclasses.is_dataclass(value) and not isinstance(value, api.Address) and not hasattr(value, "label")


def _text(value: object, *, is_duration: bool) -> str:
    """One value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if is_duration and isinstance(value, int | float):
        return units.duration_text(value)
    if isinstance(value, tuple):
        return _texts(value)
    return str(getattr(value, "label", value))


def _texts(values: tuple[object, ...]) -> str:
    """Several values; a dash for none."""
    return " ".join(_text(value, is_duration=False) for value in values) or "-"
