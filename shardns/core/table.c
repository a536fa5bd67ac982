/* The table's readers, and its geometry. The writer is table_store.c. Reads what may change under it, and trusts no length or reference it read. */
#include "table_layout.h"

/* ---- geometry and set-up ---- */

enum {
    BUCKET_LOAD = 6,               /* ways of a bucket in use at most, in a table full of typical entries */
    TYPICAL_PER_PAGE = SHD_PAGE_SIZE / 192,
    SHARD_MIN = 16 << 20,          /* a shard has pages for every class in several, so smaller ones do not pay */
    FETCH_LINES = 3,               /* of a cell: as many as a typical entry has */
};

#define TABLE_MAX (UINT64_C(1) << 38)

static uint32_t buckets_for(uint32_t page_count)
{
    uint64_t wanted = (uint64_t)page_count * TYPICAL_PER_PAGE / BUCKET_LOAD;
    uint32_t ret = 1;
    while (ret < wanted)
        ret *= 2;
    return ret;
}

uint64_t shd_table_size(const struct shd_geometry *geometry)
{
    struct shd_shape shape = shd_shape_of(geometry);
    return SHD_TABLE_HEADER + geometry->shard_count * shape.shard_size;
}

uint64_t shd_table_plan(uint64_t size_bytes, struct shd_geometry *ret)
{
    if (size_bytes < SHD_TABLE_MIN)
        size_bytes = SHD_TABLE_MIN;
    if (size_bytes > TABLE_MAX)
        size_bytes = TABLE_MAX;
    memset(ret, 0, sizeof(*ret));
    ret->shard_count = 1;
    while (ret->shard_count < SHD_SHARDS_MAX && size_bytes / (ret->shard_count * 2) >= SHARD_MIN)
        ret->shard_count *= 2;
    uint64_t shard_budget = (size_bytes - SHD_TABLE_HEADER) / ret->shard_count;
    ret->page_count = (uint32_t)(shard_budget / SHD_PAGE_SIZE);
    for (;;) {
        ret->bucket_count = buckets_for(ret->page_count);
        uint64_t size = shd_shape_of(ret).shard_size;
        if (size <= shard_budget)
            return shd_table_size(ret);
        ret->page_count -= (uint32_t)((size - shard_budget + SHD_PAGE_SIZE - 1) / SHD_PAGE_SIZE);
    }
}

uint64_t shd_table_marks_size(const struct shd_geometry *geometry)
{
    return (uint64_t)geometry->shard_count * geometry->page_count * SHD_PAGE_MARKS * sizeof(struct shd_mark);
}

void shd_table_init(void *segment, const struct shd_geometry *geometry, const uint64_t seed[2], const uint8_t boot_id[16])
{
    struct shd_table_header *header = segment;
    header->version = SHD_LAYOUT_VERSION;
    header->header_size = SHD_TABLE_HEADER;
    header->geometry = *geometry;
    memcpy(header->seed, seed, sizeof(header->seed));
    memcpy(header->boot_id, boot_id, sizeof(header->boot_id));
    atomic_store_explicit(&header->epoch, 2, memory_order_relaxed);
    header->magic = SHD_TABLE_MAGIC;
}

static bool is_power(uint32_t n) { return n != 0 && (n & (n - 1)) == 0; }

int shd_table_check(const void *segment, uint64_t size, const uint8_t boot_id[16])
{
    const struct shd_table_header *header = segment;
    if (size < SHD_TABLE_HEADER || size > TABLE_MAX)
        return SHD_EHEADER;
    struct shd_geometry geometry = header->geometry;
    if (header->magic != SHD_TABLE_MAGIC || header->version != SHD_LAYOUT_VERSION || header->header_size != SHD_TABLE_HEADER ||
        memcmp(header->boot_id, boot_id, sizeof(header->boot_id)) != 0)
        return SHD_EHEADER;
    /* The page count is bounded here only so that the sum below cannot wrap. */
    if (!is_power(geometry.shard_count) || geometry.shard_count > SHD_SHARDS_MAX || !is_power(geometry.bucket_count) ||
        geometry.page_count < 2 * SHD_CLASSES || geometry.page_count > TABLE_MAX / SHD_PAGE_SIZE)
        return SHD_EHEADER;
    return shd_table_size(&geometry) == size ? 0 : SHD_EHEADER;
}

/* ---- readers ---- */

/* One shard of a segment, as a reader sees it. */
struct shard_view {
    const struct shd_page_head *heads;
    const uint8_t *base;
    uint64_t pages_at, size;
};

/* One cell under one reading: what has to be as it was when the reading ends. */
struct reading {
    const SHD_ATOMIC(uint32_t) *way;
    const struct shd_page_head *page;
    const struct shd_cell *cell;
    uint64_t page_word;
    uint64_t offset; /* of the cell in the pages of the shard */
    uint32_t ref, seq;
    uint32_t cell_size;
};

/* Begin reading the cell that way refers to: 0; SHD_EMISS: the way is empty or the reference is not one; SHD_ETORN. */
static int reading_begin(const struct shard_view *shard, const SHD_ATOMIC(uint32_t) *way, struct reading *ret)
{
    ret->way = way;
    ret->ref = atomic_load_explicit(way, memory_order_acquire); /* pairs with the release that published the cell */
    uint64_t at = (uint64_t)ret->ref * SHD_REF_UNIT;
    if (at < shard->pages_at || at >= shard->size)
        return SHD_EMISS;
    ret->offset = at - shard->pages_at;
    ret->page = &shard->heads[ret->offset / SHD_PAGE_SIZE];
    ret->page_word = atomic_load_explicit(&ret->page->word, memory_order_acquire); /* pairs with the release in page_assign */
    uint32_t class = (uint32_t)(ret->page_word & 0xff) - 1;
    if (class >= SHD_CLASSES)
        return SHD_EMISS;
    ret->cell_size = SHD_CLASS_SIZE[class];
    if (ret->offset % SHD_PAGE_SIZE + ret->cell_size > SHD_PAGE_SIZE)
        return SHD_EMISS;
    /* Refs into a page are cleared before its turn changes: still there means that page_word was read in the ref's own turn (or a later
     * page in which the same ref is a cell again). Without this a cell could be imagined inside the bytes of another. */
    if (atomic_load_explicit(way, memory_order_relaxed) != ret->ref)
        return SHD_ETORN;
    ret->cell = (const struct shd_cell *)(const void *)(shard->base + at);
    ret->seq = atomic_load_explicit(&ret->cell->seq, memory_order_acquire); /* pairs with the release at the end of cell_write */
    return ret->seq & 1 ? SHD_ETORN : 0;
}

/* Whether all that was read since reading_begin belongs together. */
static bool reading_holds(const struct reading *reading)
{
    atomic_thread_fence(memory_order_acquire); /* pairs with the writer's release fences: who saw a new word sees the new seq or turn */
    return atomic_load_explicit(&reading->cell->seq, memory_order_relaxed) == reading->seq &&
           atomic_load_explicit(&reading->page->word, memory_order_relaxed) == reading->page_word;
}

/* What a mismatch means: a miss if the cell is still the one of its way, else the way changed meanwhile. */
static int reading_mismatch(const struct reading *reading)
{
    return reading_holds(reading) && atomic_load_explicit(reading->way, memory_order_relaxed) == reading->ref ? SHD_EMISS : SHD_ETORN;
}

static void words_copy(uint8_t *ret, const uint8_t *from, uint32_t octets)
{
    for (uint32_t at = 0; at < octets; at += 8) {
        uint64_t word = shd_word_load(from + at);
        memcpy(ret + at, &word, 8);
    }
}

/* Copy the head into ret and tell whether its lengths fit in the cell. */
static bool head_copy(const struct reading *reading, const uint8_t *image, struct shd_entry *ret)
{
    shd_head_load(image, &ret->head);
    return shd_head_is_legal(&ret->head) && shd_head_cell_size(&ret->head) <= reading->cell_size;
}

/* Copy wire and places, which begin at image, by the lengths in ret->head. */
static void body_copy(const uint8_t *image, struct shd_entry *ret)
{
    uint32_t wire = shd_pad8(ret->head.wire_len);
    words_copy(ret->wire, image, wire);
    words_copy((uint8_t *)ret->places, image + wire, shd_pad8(ret->head.place_count * (uint32_t)sizeof(struct shd_place)));
}

/* The entry that way refers to, if it is key's: its wire's length, SHD_EMISS or SHD_ETORN. */
static int way_find(const struct shard_view *shard, const SHD_ATOMIC(uint32_t) *way, const uint8_t *key, size_t key_len, uint64_t hash,
                    struct shd_entry *ret, uint64_t *offset)
{
    struct reading reading;
    int error = reading_begin(shard, way, &reading);
    if (error)
        return error;
    const uint8_t *image = (const uint8_t *)reading.cell + SHD_CELL_HEAD;
    if (shd_word_load(image) != hash)
        return reading_mismatch(&reading);
    if (!head_copy(&reading, image, ret) || ret->head.key_len != key_len || !shd_key_equals(image + SHD_ENTRY_HEAD, key, key_len))
        return reading_mismatch(&reading);
    memcpy(ret->key, key, key_len);
    body_copy(image + SHD_ENTRY_HEAD + shd_pad8((uint32_t)key_len), ret);
    if (!reading_holds(&reading))
        return SHD_ETORN;
    *offset = reading.offset;
    return (int)ret->head.wire_len;
}

static struct shard_view view_of(const void *segment, const struct shd_shape *shape, uint32_t shard)
{
    const uint8_t *base = (const uint8_t *)segment + SHD_TABLE_HEADER + shard * shape->shard_size;
    return (struct shard_view){(const struct shd_page_head *)(const void *)base, base, shape->pages_at, shape->shard_size};
}

static const struct shd_bucket *bucket_of(const struct shard_view *shard, const struct shd_shape *shape, uint64_t hash)
{
    return (const struct shd_bucket *)(const void *)(shard->base + shape->buckets_at) + shd_shape_bucket(shape, hash);
}

/* The index of a cell's mark; offset is the cell's in the pages of its shard. */
static uint64_t mark_of(const struct shd_geometry *geometry, uint32_t shard, uint64_t offset)
{
    return (uint64_t)shard * geometry->page_count * SHD_PAGE_MARKS + offset / SHD_MARK_UNIT;
}

void shd_table_fetch_bucket(const void *segment, uint64_t hash)
{
    struct shd_shape shape = shd_shape_of(&((const struct shd_table_header *)segment)->geometry);
    struct shard_view shard = view_of(segment, &shape, shd_shape_shard(&shape, hash));
    __builtin_prefetch(bucket_of(&shard, &shape, hash));
}

void shd_table_fetch_cell(const void *segment, const struct shd_mark *marks, uint64_t hash)
{
    const struct shd_geometry *geometry = &((const struct shd_table_header *)segment)->geometry;
    struct shd_shape shape = shd_shape_of(geometry);
    uint32_t shard_index = shd_shape_shard(&shape, hash);
    struct shard_view shard = view_of(segment, &shape, shard_index);
    const struct shd_bucket *bucket = bucket_of(&shard, &shape, hash);
    for (int way = 0; way < SHD_WAYS; way++) {
        if (atomic_load_explicit(&bucket->tags[way], memory_order_relaxed) != (uint16_t)hash)
            continue;
        uint64_t at = (uint64_t)atomic_load_explicit(&bucket->refs[way], memory_order_relaxed) * SHD_REF_UNIT;
        if (at < shard.pages_at || at >= shard.size)
            continue;
        for (int line = 0; line < FETCH_LINES; line++)
            __builtin_prefetch(shard.base + at + line * 64);
        __builtin_prefetch(&shard.heads[(at - shard.pages_at) / SHD_PAGE_SIZE]);
        if (marks)
            __builtin_prefetch(&marks[mark_of(geometry, shard_index, at - shard.pages_at)], 1);
    }
}

int shd_table_find(const void *segment, const uint8_t *key, size_t key_len, uint64_t hash, struct shd_entry *ret, uint64_t *cell)
{
    const struct shd_geometry *geometry = &((const struct shd_table_header *)segment)->geometry;
    struct shd_shape shape = shd_shape_of(geometry);
    uint32_t shard_index = shd_shape_shard(&shape, hash);
    struct shard_view shard = view_of(segment, &shape, shard_index);
    const struct shd_bucket *bucket = bucket_of(&shard, &shape, hash);
    if (key_len > SHD_KEY_MAX)
        return SHD_EMISS;
    for (int tries = 0; tries < SHD_TRIES; tries++) {
        int got = SHD_EMISS;
        uint64_t offset = 0;
        for (int way = 0; way < SHD_WAYS && got == SHD_EMISS; way++)
            if (atomic_load_explicit(&bucket->tags[way], memory_order_relaxed) == (uint16_t)hash)
                got = way_find(&shard, &bucket->refs[way], key, key_len, hash, ret, &offset);
        if (got >= 0 && cell)
            *cell = mark_of(geometry, shard_index, offset);
        if (got != SHD_ETORN)
            return got;
    }
    return SHD_ETORN;
}

void shd_table_mark(struct shd_mark *marks, uint64_t cell, uint32_t epoch, uint32_t now_s, uint32_t gap_s)
{
    struct shd_mark *mark = &marks[cell];
    uint32_t old = atomic_load_explicit(&mark->epoch_hits, memory_order_relaxed);
    uint32_t old_s = atomic_load_explicit(&mark->hit_s, memory_order_relaxed);
    uint32_t hits = old >> 8;
    now_s &= INT32_MAX;
    /* Signed: a batch's clock may lie a little behind another's. */
    if ((old & 0xff) == 0 || (int32_t)(now_s - (old_s & INT32_MAX)) >= (int32_t)(gap_s & INT32_MAX))
        hits = 0;
    hits += hits < 0xffffff;
    epoch &= 0xff;
    atomic_store_explicit(&mark->epoch_hits, hits << 8 | (epoch ? epoch : 1), memory_order_relaxed);
    atomic_store_explicit(&mark->hit_s, (old_s & INT32_MAX) == now_s ? old_s : now_s, memory_order_relaxed);
}

/* The entry that way refers to, whatever it is: 1, SHD_EMISS or SHD_ETORN. */
static int way_copy(const struct shard_view *shard, const SHD_ATOMIC(uint32_t) *way, struct shd_entry *ret)
{
    struct reading reading;
    int error = reading_begin(shard, way, &reading);
    if (error)
        return error;
    const uint8_t *image = (const uint8_t *)reading.cell + SHD_CELL_HEAD;
    if (!head_copy(&reading, image, ret))
        return reading_mismatch(&reading);
    uint32_t key = shd_pad8(ret->head.key_len);
    words_copy(ret->key, image + SHD_ENTRY_HEAD, key);
    body_copy(image + SHD_ENTRY_HEAD + key, ret);
    return reading_holds(&reading) ? 1 : SHD_ETORN;
}

int shd_table_next(const void *segment, uint64_t *at, struct shd_entry *ret)
{
    const struct shd_geometry *geometry = &((const struct shd_table_header *)segment)->geometry;
    struct shd_shape shape = shd_shape_of(geometry);
    uint64_t shard_ways = (uint64_t)geometry->bucket_count * SHD_WAYS;
    while (*at < geometry->shard_count * shard_ways) {
        uint64_t way = (*at)++;
        struct shard_view shard = view_of(segment, &shape, (uint32_t)(way / shard_ways));
        const struct shd_bucket *bucket = (const struct shd_bucket *)(const void *)(shard.base + shape.buckets_at) + way % shard_ways / SHD_WAYS;
        int got = SHD_ETORN;
        for (int tries = 0; tries < SHD_TRIES && got == SHD_ETORN; tries++)
            got = way_copy(&shard, &bucket->refs[way % SHD_WAYS], ret);
        if (got == 1)
            return 1;
    }
    return 0;
}
