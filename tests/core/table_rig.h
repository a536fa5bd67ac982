/* A table in memory for the C tests, with entries whose content is a function of their key and version, so that a reader can tell a right
 * entry from a wrong one without asking anybody. */
#ifndef TABLE_RIG_H
#define TABLE_RIG_H
#include <stdlib.h>
#include "hash.h"
#include "table.h"

static const uint64_t RIG_SEED[2] = {0x1234, 0x5678};
static const uint8_t RIG_BOOT[16] = "boot";

struct rig {
    struct shd_geometry geometry;
    uint64_t size;
    void *segment;               /* the caller's, zeroed, rig.size octets */
    struct shd_writer *writer;   /* malloc'd */
    struct shd_mark *marks[2];
    struct shd_cap *caps;
    uint32_t cap_count;
};

/* Octets of the segment that rig_init wants for budget. */
static inline uint64_t rig_size(uint64_t budget)
{
    struct shd_geometry geometry;
    return shd_table_plan(budget, &geometry);
}

/* A new writer on whatever the segment holds; returns the number of entries found. */
static inline int64_t rig_restart(struct rig *rig)
{
    free(rig->writer);
    rig->writer = calloc(1, shd_writer_size(&rig->geometry, rig->cap_count));
    const struct shd_mark *marks[2] = {rig->marks[0], rig->marks[1]};
    return shd_writer_init(rig->writer, rig->segment, marks, 2, rig->caps, rig->cap_count);
}

static inline void rig_init(struct rig *rig, uint64_t budget, void *segment, struct shd_cap *caps, uint32_t cap_count)
{
    memset(rig, 0, sizeof(*rig));
    rig->size = shd_table_plan(budget, &rig->geometry);
    rig->segment = segment;
    rig->caps = caps;
    rig->cap_count = cap_count;
    for (int i = 0; i < 2; i++)
        rig->marks[i] = calloc(1, shd_table_marks_size(&rig->geometry));
    shd_table_init(segment, &rig->geometry, RIG_SEED, RIG_BOOT);
    rig_restart(rig);
}

static inline void rig_deinit(struct rig *rig)
{
    free(rig->writer);
    for (int i = 0; i < 2; i++)
        free(rig->marks[i]);
}

/* xorshift64*: the tests' dice, the same in every run. */
static inline uint64_t rig_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* The key of number: 8 octets of cache id, then as many octets of "name" as number says (13 to 60). Returns its length. */
static inline size_t rig_key(uint64_t cache_id, uint64_t number, uint8_t *ret)
{
    size_t len = 8 + 5 + 8 + (size_t)(number * 7 % 40);
    memset(ret, (int)('a' + number % 26), len);
    memcpy(ret, &cache_id, 8);
    memcpy(ret + 13, &number, 8);
    return len;
}

static inline uint64_t rig_hash(const uint8_t *key, size_t len) { return shd_hash(RIG_SEED, key, len); }

/* What the wire of an entry looks like all over: different for each key and version. */
static inline uint8_t rig_octet(uint64_t number, uint32_t version, size_t at) { return (uint8_t)(number * 131 + version * 17 + at * 3); }

/* The entry of number in its version: wire_len octets, places records. */
static inline void rig_entry(uint64_t cache_id, uint64_t number, uint32_t version, uint32_t wire_len, uint16_t places, struct shd_entry *ret)
{
    memset(&ret->head, 0, sizeof(ret->head));
    ret->head.key_len = (uint16_t)rig_key(cache_id, number, ret->key);
    ret->head.wire_len = wire_len;
    ret->head.place_count = places;
    ret->head.kind = SHD_KIND_SUCCESS;
    ret->head.ttl_s = version;
    for (size_t i = 0; i < wire_len; i++)
        ret->wire[i] = rig_octet(number, version, i);
    for (uint16_t i = 0; i < places; i++)
        ret->places[i] = (struct shd_place){(uint16_t)(number + i), (uint16_t)(version + i)};
}

/* Whether entry is whole and of number, in the version it says. */
static inline int rig_is_right(const struct shd_entry *entry, uint64_t cache_id, uint64_t number)
{
    uint8_t key[SHD_KEY_MAX];
    size_t len = rig_key(cache_id, number, key);
    uint32_t version = entry->head.ttl_s;
    if (entry->head.key_len != len || memcmp(entry->key, key, len) != 0 || entry->head.hash != rig_hash(key, len))
        return 0;
    for (size_t i = 0; i < entry->head.wire_len; i++)
        if (entry->wire[i] != rig_octet(number, version, i))
            return 0;
    for (uint16_t i = 0; i < entry->head.place_count; i++)
        if (entry->places[i].ttl_at != (uint16_t)(number + i) || entry->places[i].end_at != (uint16_t)(version + i))
            return 0;
    return 1;
}

static inline int rig_store(struct rig *rig, const struct shd_entry *entry, uint32_t cap, uint64_t now_ms)
{
    return shd_writer_store(rig->writer, entry, rig_hash(entry->key, entry->head.key_len), cap, now_ms);
}

/* As a worker does: what find will read is fetched first. */
static inline int rig_find(const struct rig *rig, uint64_t cache_id, uint64_t number, struct shd_entry *ret, uint64_t *cell)
{
    uint8_t key[SHD_KEY_MAX];
    size_t len = rig_key(cache_id, number, key);
    uint64_t hash = rig_hash(key, len);
    shd_table_fetch_bucket(rig->segment, hash);
    shd_table_fetch_cell(rig->segment, rig->marks[0], hash);
    return shd_table_find(rig->segment, key, len, hash, ret, cell);
}

static inline int rig_remove(struct rig *rig, uint64_t cache_id, uint64_t number)
{
    uint8_t key[SHD_KEY_MAX];
    size_t len = rig_key(cache_id, number, key);
    return shd_writer_remove(rig->writer, key, len, rig_hash(key, len));
}

#endif
