"""Puts answers into a table, as the upstream process does."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.rrset

from shardns.core import ffi, lib

Cdata = Any


def answer(query: dns.message.Message, *records: str) -> dns.message.Message:
    """A response to query with these records, as "name ttl type data"."""
    made = dns.message.make_response(query)
    made.flags |= dns.flags.RA
    for text in records:
        name, ttl, kind, data = text.split(" ", 3)
        made.answer.append(dns.rrset.from_text(name, int(ttl), "IN", kind, data))
    return made


def store(
    writer: Cdata, table: Cdata, rule: Cdata, query: dns.message.Message, response: dns.message.Message, now_ms: int
) -> None:
    """Store response as rule (struct shd_block_rule) says, at now_ms."""
    asked, packed = query.to_wire(), response.to_wire()
    parsed, entry, key = ffi.new("struct shd_query *"), ffi.new("struct shd_entry *"), ffi.new("uint8_t[272]")
    assert lib.shd_query_parse(asked, len(asked), parsed) == 0
    assert lib.shd_entry_pack(packed, len(packed), parsed, entry) == 0
    lib.shd_entry_classify(entry, ffi.addressof(rule, "ttl"))
    length = lib.shd_key_write(parsed, rule.cache_id, 0, key)
    entry.head.hash = lib.shd_hash(table.seed, key, length)
    entry.head.key_len = length
    entry.head.stored_ms = now_ms
    ffi.memmove(entry.key, key, length)
    assert lib.shd_writer_store(writer, entry, entry.head.hash, 0, now_ms) == 0
