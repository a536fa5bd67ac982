"""Segments seen from Python: mapping them, and the boot they belong to. What is in them: core/segments.h, table.h."""

from shardns.cache.segments import Refused, boot_id, file_memory, mapped, new_untouched, untouched

__all__ = ["Refused", "boot_id", "file_memory", "mapped", "new_untouched", "untouched"]
