"""Plans out of text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shardns import plan
from shardns.corefile import files, parse
from shardns.errors import ConfigErrors
from tests.unit.plugins.setups import INTERFACES, read

COREFILES = Path(__file__).parents[2] / "corefiles"


def make(
    text: str,
    registry: plan.Registry | None = None,
    *,
    file: str = "Corefile",
    env: Mapping[str, str] | None = None,
    port: int = 53,
) -> plan.Plan:
    """The Plan of a Corefile."""
    blocks = parse(text, file=file, env=env or {}, read=files.read)
    options = plan.Options(read, INTERFACES.get, port, ("192.0.2.10",))
    return plan.resolve(blocks, options, registry or plan.Registry())


def errors(text: str) -> list[str]:
    """The errors as line:column: message."""
    try:
        make(text)
    except ConfigErrors as several:
        return [f"{e.at.line}:{e.at.column}: {e.message}" if e.at else e.message for e in several.errors]
    return []
