/* Storing and removing entries: the writer's side of the protocol in table.h. Who makes room is decided in table_evict.c. */
#include "table_writer.h"

static uint32_t class_for(uint32_t size)
{
    uint32_t ret = 0;
    while (SHD_CLASS_SIZE[ret] < size)
        ret++;
    return ret;
}

uint16_t shd_list_of(const struct shd_writer *writer, uint32_t cap, uint8_t kind)
{
    if (cap >= writer->cap_count)
        return SHD_LIST_UNCAPPED;
    return (uint16_t)(SHD_LIST_CAPS + 2 * cap + (kind == SHD_KIND_SUCCESS ? 0 : 1));
}

uint32_t shd_list_cap(const struct shd_writer *writer, uint16_t list)
{
    if (list < SHD_LIST_CAPS)
        return 0;
    const struct shd_cap *cap = &writer->caps[(list - SHD_LIST_CAPS) / 2];
    return list & 1 ? cap->denial_cap : cap->success_cap;
}

/* ---- writing a cell ---- */

/* Write octets from `from` at at, the last word zero-padded; returns where the next part goes. */
static uint8_t *part_write(uint8_t *at, const uint8_t *from, uint32_t octets)
{
    for (; octets >= 8; octets -= 8, at += 8, from += 8)
        shd_word_store(at, shd_word_of(from, 8));
    if (octets) {
        shd_word_store(at, shd_word_of(from, octets));
        at += 8;
    }
    return at;
}

static void cell_write(struct shd_cell *cell, const struct shd_entry *entry, uint64_t hash)
{
    atomic_thread_fence(memory_order_release); /* pairs with reading_holds: the odd seq is seen before any word that follows */
    uint8_t *at = shd_cell_image(cell);
    shd_word_store(at, hash);
    at = part_write(at + 8, (const uint8_t *)&entry->head + 8, SHD_ENTRY_HEAD - 8);
    at = part_write(at, entry->key, entry->head.key_len);
    at = part_write(at, entry->wire, entry->head.wire_len);
    part_write(at, (const uint8_t *)entry->places, entry->head.place_count * (uint32_t)sizeof(struct shd_place));
    uint32_t seq = atomic_load_explicit(&cell->seq, memory_order_relaxed);
    atomic_store_explicit(&cell->seq, seq + 1, memory_order_release); /* pairs with the acquire in reading_begin */
}

/* ---- looking up ---- */

static bool cell_is(struct shd_cell *cell, const uint8_t *key, size_t key_len, uint64_t hash)
{
    const uint8_t *image = shd_cell_image(cell);
    struct shd_entry_head head;
    if (shd_word_load(image) != hash)
        return false;
    shd_head_load(image, &head);
    return head.key_len == key_len && shd_key_equals(image + SHD_ENTRY_HEAD, key, key_len);
}

/* The way of bucket that holds key's entry, its cell in *ret; -1 when there is none. */
static int way_of(const struct shd_writer *writer, const struct shd_writer_shard *shard, const struct shd_bucket *bucket, const uint8_t *key,
                  size_t key_len, uint64_t hash, struct shd_cell_at *ret)
{
    for (int way = 0; way < SHD_WAYS; way++) {
        uint32_t ref = atomic_load_explicit(&bucket->refs[way], memory_order_relaxed);
        if (ref == 0 || atomic_load_explicit(&bucket->tags[way], memory_order_relaxed) != (uint16_t)hash)
            continue;
        *ret = shd_spot_at(writer, shd_ref_spot(writer, shard, ref));
        if (cell_is(ret->cell, key, key_len, hash))
            return way;
    }
    return -1;
}

/* ---- the writer's calls ---- */

/* Have list take one more. */
static void cap_make_room(struct shd_writer *writer, uint16_t list)
{
    uint32_t most = shd_list_cap(writer, list);
    while (most && writer->lists[list].count >= most)
        shd_cap_evict(writer, list);
}

int shd_writer_store(struct shd_writer *writer, const struct shd_entry *entry, uint64_t hash, uint32_t cap, uint64_t now_ms)
{
    const struct shd_entry_head *head = &entry->head;
    if (!shd_head_is_legal(head))
        return SHD_ESPACE;
    struct shd_writer_shard *shard = &writer->shards[shd_shape_shard(&writer->shape, hash)];
    struct shd_bucket *bucket = shd_hash_bucket(writer, hash);
    writer->now_s = (uint32_t)(now_ms / 1000) & INT32_MAX;
    shard->stores++;

    struct shd_cell_at old;
    int way = way_of(writer, shard, bucket, entry->key, head->key_len, hash, &old);
    bool replaces = way >= 0;
    uint16_t list = shd_list_of(writer, cap, head->kind);
    if (!replaces || shd_cell_list(old.cell) != list)
        cap_make_room(writer, list);

    /* The old entry stays findable until the new one is, so it must not be what the new one's cell is taken from. */
    writer->pinned = replaces ? old.spot + 1 : 0;
    bool chance = replaces && shd_spot_used(writer, &old);
    uint32_t spot = SHD_NONE;
    for (uint32_t class = class_for(shd_head_cell_size(head)); spot == SHD_NONE && class < SHD_CLASSES; class++)
        spot = shd_cell_alloc(writer, shard, class); /* in a larger cell only where pages were refused */
    writer->pinned = 0;
    if (spot == SHD_NONE)
        return SHD_EFULL;
    struct shd_cell_at at = shd_spot_at(writer, spot);
    cell_write(at.cell, entry, hash);
    shd_cell_enlist(writer, &at, list, chance);

    if (!replaces) {
        way = shd_bucket_evict(writer, shard, bucket);
        atomic_store_explicit(&bucket->tags[way], (uint16_t)hash, memory_order_relaxed);
    }
    atomic_store_explicit(&bucket->refs[way], shd_spot_ref(writer, spot), memory_order_release); /* pairs with the first acquire in reading_begin */
    if (replaces) {
        shd_cell_free(writer, &old);
        shd_page_settle(writer, &old);
    }
    return 0;
}

int shd_writer_remove(struct shd_writer *writer, const uint8_t *key, size_t key_len, uint64_t hash)
{
    struct shd_writer_shard *shard = &writer->shards[shd_shape_shard(&writer->shape, hash)];
    struct shd_bucket *bucket = shd_hash_bucket(writer, hash);
    struct shd_cell_at at;
    int way = way_of(writer, shard, bucket, key, key_len, hash, &at);
    if (way < 0)
        return 0;
    atomic_store_explicit(&bucket->refs[way], 0, memory_order_relaxed); /* ordered by the release of seq in shd_cell_free */
    shd_cell_free(writer, &at);
    shd_page_settle(writer, &at);
    return 1;
}

uint32_t shd_writer_hits(const struct shd_writer *writer, uint64_t cell)
{
    uint32_t ret = 0;
    for (uint32_t slot = 0; slot < writer->mark_count; slot++)
        ret += atomic_load_explicit(&writer->marks[slot][cell].epoch_hits, memory_order_relaxed) >> 8;
    return ret;
}

void shd_writer_use(const struct shd_writer *writer, struct shd_table_use *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->refusals = writer->refusals;
    ret->pages_total = (uint64_t)writer->geometry.shard_count * writer->geometry.page_count;
    for (uint32_t class = 0; class < SHD_CLASSES; class++)
        ret->class_size[class] = SHD_CLASS_SIZE[class];
    for (uint32_t i = 0; i < writer->geometry.shard_count; i++) {
        ret->pages_used += writer->shards[i].pages_used;
        for (uint32_t class = 0; class < SHD_CLASSES; class++) {
            uint64_t entries = writer->shards[i].classes[class].entries;
            ret->entries += entries;
            ret->class_entries[class] += entries;
            ret->octets_used += entries * SHD_CLASS_SIZE[class];
        }
    }
}
