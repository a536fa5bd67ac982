"""The Plan as the C core reads it: struct shd_rules (core/rules.h), built once by each process that answers queries."""

from __future__ import annotations

import math
from typing import Any

from shardns.core import ffi, lib
from shardns.dns import names
from shardns.plan.model import Block, Plan
from shardns.plugins import cache, forward, log
from shardns.plugins.api import Facet
from shardns.querylog.rules import class_mask

# cffi's objects have no types.
Cdata = Any

_FACETS = {
    Facet.DO: lib.SHD_FACET_DO,
    Facet.CD: lib.SHD_FACET_CD,
    Facet.FAMILY: lib.SHD_FACET_FAMILY6,
    Facet.TRANSPORT: lib.SHD_FACET_TCP,
}


class CompiledRules:
    """Owns the rules: `pointer` is good as long as this object is. A block's number there is Block.index."""

    def __init__(self, pointer: Cdata) -> None:
        """Take over what shd_rules_create made."""
        self.pointer = ffi.gc(pointer, lib.shd_rules_destroy)


def compile_rules(plan: Plan) -> CompiledRules:
    """The rules of every block, zone and listener of plan. Raises MemoryError."""
    rules = ffi.new("struct shd_block_rule[]", [block_rule(block) for block in plan.blocks] or 1)
    pointer = lib.shd_rules_create(rules, len(plan.blocks))
    if pointer == ffi.NULL:
        raise MemoryError("shd_rules_create")
    compiled = CompiledRules(pointer)
    for row in plan.rows:
        if row.block is None:
            error = lib.shd_rules_add_listener(pointer, row.listener, row.index)
        else:
            zone = names.to_wire(row.zone)
            error = lib.shd_rules_add_zone(pointer, row.listener, zone, len(zone), row.block, row.index)
        if error < 0:
            raise MemoryError("shd_rules_add_zone")
    return compiled


def block_rule(block: Block) -> dict[str, object]:
    """The fields of the block's struct shd_block_rule."""
    rule: dict[str, object] = {"cache_id": block.cache_id}
    rule["facets"] = sum(_FACETS[facet] for facet in block.facets)
    logged = block.plugins.get(log.NAME)
    if isinstance(logged, log.Config):
        mask = 0
        for line in logged.rules:
            mask |= class_mask(line.classes)
        rule["log_classes"] = mask
    forwarded = block.plugins.get(forward.NAME)
    if isinstance(forwarded, forward.Config):
        follows = any(not stanza.force_tcp and not stanza.prefer_udp for stanza in forwarded.stanzas)
        rule["transport_matters"] = int(follows)
    cached = block.plugins.get(cache.NAME)
    if isinstance(cached, cache.Config):
        rule |= _cache_rule(cached)
    return rule


def _cache_rule(config: cache.Config) -> dict[str, object]:
    """The fields that `cache` decides. Durations are rounded up to whole seconds, in which entries age."""
    stale_mode = lib.SHD_STALE_NONE
    if config.stale_s:
        stale_mode = lib.SHD_STALE_VERIFY if config.stale_verify else lib.SHD_STALE_IMMEDIATE
    return {
        "has_cache": 1,
        "stale_mode": stale_mode,
        "stale_s": math.ceil(config.stale_s),
        "keep_ttl": int(config.keep_ttl),
        "prefetch_hits": config.prefetch,
        "prefetch_gap_s": math.ceil(config.prefetch_gap_s),
        "prefetch_percent": config.prefetch_percent,
        "ttl": {
            # An answer is never shown with TTL 0 while it is fresh.
            "success_min_s": max(1, config.success.min_ttl_s),
            "success_max_s": config.success.ttl_s,
            "denial_min_s": max(1, config.denial.min_ttl_s),
            "denial_max_s": config.denial.ttl_s,
            "failure_s": math.ceil(config.servfail_s),
            # Names for which only some zones are disabled are looked up by who stores.
            "store_success": int("." not in config.success.disabled),
            "store_denial": int("." not in config.denial.disabled),
        },
    }
