"""The Corefile's syntax: text to server blocks. Knows no plugin, does no I/O but through the reader it is given."""

from __future__ import annotations

import json

from shardns.corefile.keys import ZoneKey, doubts_of, reverse_zones, zone_keys, zones_of
from shardns.corefile.model import Directive, ServerBlock, Token
from shardns.corefile.parser import Reader, parse

__all__ = [
    "Directive",
    "Reader",
    "ServerBlock",
    "Token",
    "ZoneKey",
    "canonical",
    "doubts_of",
    "parse",
    "reverse_zones",
    "zone_keys",
    "zones_of",
]


def canonical(blocks: tuple[ServerBlock, ...]) -> str:
    """One text for all files that say the same: places, comments, quotes and spaces are gone, the order stays."""
    return json.dumps(
        [[[key.text for key in block.keys], _tree(block.directives)] for block in blocks], separators=(",", ":")
    )


def _tree(directives: tuple[Directive, ...]) -> list[list[object]]:
    """Directives as plain lists."""
    return [[d.name, [arg.text for arg in d.args], _tree(d.body)] for d in directives]
