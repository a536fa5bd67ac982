/* A reader on a table that says anything never reads out of bounds, never writes to it and never runs for ever; nor does a writer that starts on it.
 *
 * Input: pairs (where, word) that overwrite a table of a few entries, then finds and walks by readers, then a writer's start. Where is scaled over
 * the parts of a shard (page heads, buckets, cells), because most of its octets are no structure at all. */
#include <stdlib.h>
#include "../core/table_rig.h"
#include "table_layout.h"

enum { BLOCK = 1, ENTRIES = 40, BUDGET = SHD_TABLE_MIN, CHANGES = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig rig;
static uint8_t *pristine, *changed[CHANGES];
static struct shd_entry entry;

static void setup(void)
{
    uint64_t octets = rig_size(BUDGET);
    rig_init(&rig, BUDGET, aligned_alloc(4096, octets), NULL, 0);
    memset(rig.segment, 0, octets);
    shd_table_init(rig.segment, &rig.geometry, RIG_SEED, RIG_BOOT);
    rig_restart(&rig);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        rig_entry(BLOCK, i, 1, (uint32_t)(i * i * 40), (uint16_t)(i * 3), &entry);
        rig_store(&rig, &entry, 0, 1000);
    }
    pristine = malloc(octets);
    memcpy(pristine, rig.segment, octets);
}

/* The 8 octets of the segment that a fuzzed 32-bit number means. */
static uint8_t *place_of(uint32_t where)
{
    struct shd_shape shape = shd_shape_of(&rig.geometry);
    uint8_t *shard = (uint8_t *)rig.segment + SHD_TABLE_HEADER;
    uint32_t index = where >> 3;
    switch (where & 7) {
    case 0:
        return shard + index % rig.geometry.page_count * 8;
    case 1:
    case 2:
        return shard + shape.buckets_at + index % (rig.geometry.bucket_count * 8) * 8;
    case 3: /* the last cells of all: what runs past them leaves the segment */
        return shard + shape.shard_size - 8 - index % 32 * 8;
    default: { /* near the cell of one of the entries */
        uint8_t key[SHD_KEY_MAX];
        size_t len = rig_key(BLOCK, index % ENTRIES, key);
        const struct shd_bucket *bucket = (struct shd_bucket *)(void *)(shard + shape.buckets_at) + shd_shape_bucket(&shape, rig_hash(key, len));
        uint64_t at = (uint64_t)bucket->refs[index / ENTRIES % SHD_WAYS] * SHD_REF_UNIT + index / ENTRIES / SHD_WAYS % 24 * 8;
        return shard + at % (shape.shard_size - 8);
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t cell, at = 0, word;
    uint32_t where;
    if (!pristine)
        setup();
    if (size >= 64) /* a header, too: only a whole one of ours passes */
        if (shd_table_check(data, size, RIG_BOOT) == 0)
            abort();
    /* What follows the last pair chooses: a walk takes a hundred times as long as all finds, a writer's start a thousand times. */
    bool walks = size % 12 == 0, starts_writer = size % 24 == 0;
    int changes = 0;
    for (; size >= 12 && changes < CHANGES; data += 12, size -= 12) {
        memcpy(&where, data, 4);
        memcpy(&word, data + 4, 8);
        changed[changes++] = place_of(where);
        memcpy(changed[changes - 1], &word, 8);
    }
    for (uint64_t i = 0; i < ENTRIES; i++) {
        int got = rig_find(&rig, BLOCK, i, &entry, &cell);
        if (got >= 0 && (got > SHD_MESSAGE_MAX || cell >= shd_table_marks_size(&rig.geometry) / sizeof(struct shd_mark)))
            abort();
    }
    while (walks && shd_table_next(rig.segment, &at, &entry) == 1)
        if (entry.head.key_len > SHD_KEY_MAX || entry.head.wire_len > SHD_MESSAGE_MAX || entry.head.place_count > 8192)
            abort();
    if (starts_writer) {
        rig_restart(&rig);
        if (shd_writer_check(rig.writer) != 0)
            abort();
        memcpy(rig.segment, pristine, rig.size);
    }
    while (changes-- > 0)
        memcpy(changed[changes], pristine + (changed[changes] - (uint8_t *)rig.segment), 8);
    return 0;
}
