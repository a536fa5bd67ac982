/* The writer's start. The buckets are the truth: what a way points to, and passes every check, is an entry; every other cell is free.
 * A predecessor may have been killed between any two of its stores, while readers go on all the time, so nothing here
 * may take away an entry that was whole. What can be found, by where it was killed:
 *
 *   while a cell was written       no way points to it: free
 *   after tag, before ref          the way is empty, or points to another entry than its tag says: its tag is put right
 *   after ref, before the old      no way points to the old cell any more: free
 *   cell was freed
 *   while a page changed class     all ways into it are gone before its head changes, so its head is right for those that are left */
#include "table_writer.h"

static size_t aligned(size_t octets) { return (octets + 63) & ~(size_t)63; }

uint64_t shd_writer_size(const struct shd_geometry *geometry, uint32_t cap_count)
{
    return aligned(sizeof(struct shd_writer)) + aligned(geometry->shard_count * sizeof(struct shd_writer_shard)) +
           aligned((uint64_t)geometry->shard_count * geometry->page_count * sizeof(struct shd_writer_page)) +
           aligned((SHD_LIST_CAPS + 2 * (uint64_t)cap_count) * sizeof(struct shd_list));
}

/* Cut the private memory into its parts. */
static void writer_layout(struct shd_writer *writer, uint8_t *segment)
{
    const struct shd_geometry *geometry = &writer->geometry;
    uint8_t *at = (uint8_t *)writer + aligned(sizeof(*writer));
    writer->shards = (struct shd_writer_shard *)(void *)at;
    at += aligned(geometry->shard_count * sizeof(struct shd_writer_shard));
    struct shd_writer_page *pages = (struct shd_writer_page *)(void *)at;
    at += aligned((uint64_t)geometry->shard_count * geometry->page_count * sizeof(struct shd_writer_page));
    writer->lists = (struct shd_list *)(void *)at;
    for (uint32_t i = 0; i < geometry->shard_count; i++) {
        struct shd_writer_shard *shard = &writer->shards[i];
        shard->index = i;
        shard->base = segment + SHD_TABLE_HEADER + i * writer->shape.shard_size;
        shard->heads = (struct shd_page_head *)(void *)shard->base;
        shard->buckets = (struct shd_bucket *)(void *)(shard->base + writer->shape.buckets_at);
        shard->pages = pages + (uint64_t)i * geometry->page_count;
        shard->free_page = shard->unused_page = SHD_NONE;
        for (uint32_t class = 0; class < SHD_CLASSES; class++)
            shard->classes[class].fresh = shard->classes[class].hand_page = SHD_NONE;
    }
}

/* ---- recovery, one shard ---- */

/* Every cell of every page that ever had a class: in no list. */
static void cells_clear(struct shd_writer *writer, struct shd_writer_shard *shard)
{
    uint32_t epoch = atomic_load_explicit(&writer->header->epoch, memory_order_relaxed);
    for (uint32_t page = 0; page < writer->geometry.page_count; page++) {
        struct shd_writer_page *own = &shard->pages[page];
        uint32_t class = (uint32_t)(atomic_load_explicit(&shard->heads[page].word, memory_order_relaxed) & 0xff) - 1;
        own->class = class < SHD_CLASSES ? class : SHD_CLASSES;
        own->seen_epoch = epoch; /* and seen_s 0: whatever was hit before the restart counts as used */
        if (own->class == SHD_CLASSES)
            continue;
        for (uint32_t i = 0; i < shd_page_cells(class); i++) {
            struct shd_cell *cell = shd_spot_cell(writer, shd_page_spot(writer, shard, page, class, i));
            atomic_store_explicit(&cell->list, SHD_LIST_FREE, memory_order_relaxed);
        }
    }
}

/* Whether ref is a whole cell that belongs into bucket number bucket of shard and was not met before. */
static bool ref_is_entry(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t bucket, uint32_t ref,
                         struct shd_cell_at *ret, struct shd_entry_head *head)
{
    uint64_t at = (uint64_t)ref * SHD_REF_UNIT;
    if (at < writer->shape.pages_at || at >= writer->shape.shard_size)
        return false;
    *ret = shd_spot_at(writer, shd_ref_spot(writer, shard, ref));
    uint64_t in_page = (at - writer->shape.pages_at) % SHD_PAGE_SIZE;
    if (ret->class >= SHD_CLASSES || in_page % SHD_CLASS_SIZE[ret->class] || in_page + SHD_CLASS_SIZE[ret->class] > SHD_PAGE_SIZE)
        return false;
    if (shd_cell_list(ret->cell) != SHD_LIST_FREE || (atomic_load_explicit(&ret->cell->seq, memory_order_relaxed) & 1))
        return false;
    const uint8_t *image = shd_cell_image(ret->cell);
    shd_head_load(image, head);
    return shd_shape_shard(&writer->shape, head->hash) == shard->index && shd_shape_bucket(&writer->shape, head->hash) == bucket &&
           head->key_len >= 8 && shd_head_is_legal(head) && shd_head_cell_size(head) <= SHD_CLASS_SIZE[ret->class];
}

/* The cap of the block whose cache id begins the key of cell; *last is tried first, since neighbours are often of one block. */
static uint32_t cap_of(const struct shd_writer *writer, struct shd_cell *cell, uint32_t *last)
{
    uint64_t id = shd_word_load(shd_cell_image(cell) + SHD_ENTRY_HEAD);
    if (*last < writer->cap_count && writer->caps[*last].cache_id == id)
        return *last;
    uint32_t ret = 0;
    while (ret < writer->cap_count && writer->caps[ret].cache_id != id)
        ret++;
    return *last = ret;
}

/* Keep the entries that the ways of one bucket point to; returns how many. */
static uint32_t bucket_keep(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t index, uint32_t *last)
{
    struct shd_bucket *bucket = &shard->buckets[index];
    uint32_t ret = 0;
    uint64_t hashes[SHD_WAYS];
    for (int way = 0; way < SHD_WAYS; way++) {
        uint32_t ref = atomic_load_explicit(&bucket->refs[way], memory_order_relaxed);
        struct shd_cell_at at;
        struct shd_entry_head head;
        if (ref == 0)
            continue;
        bool keep = ref_is_entry(writer, shard, index, ref, &at, &head);
        for (uint32_t i = 0; keep && i < ret; i++)
            keep = hashes[i] != head.hash;
        if (!keep) {
            atomic_store_explicit(&bucket->refs[way], 0, memory_order_relaxed);
            continue;
        }
        hashes[ret++] = head.hash;
        atomic_store_explicit(&bucket->tags[way], (uint16_t)head.hash, memory_order_relaxed);
        shd_cell_enlist(writer, &at, shd_list_of(writer, cap_of(writer, at.cell, last), head.kind), false);
    }
    return ret;
}

/* Pages without an entry are free, or unused if they never had one; on the others, cells without one. */
static void pages_sort(struct shd_writer *writer, struct shd_writer_shard *shard)
{
    for (uint32_t page = writer->geometry.page_count; page-- > 0;) {
        struct shd_writer_page *own = &shard->pages[page];
        if (own->live == 0) {
            uint32_t *stack = own->class == SHD_CLASSES ? &shard->unused_page : &shard->free_page;
            own->class = SHD_CLASSES;
            own->next = *stack;
            *stack = page;
            continue;
        }
        own->ready = (uint16_t)shd_page_cells(own->class);
        shd_page_ring_add(shard, page);
        for (uint32_t i = 0; i < own->ready; i++) {
            uint32_t spot = shd_page_spot(writer, shard, page, own->class, i);
            struct shd_cell *cell = shd_spot_cell(writer, spot);
            if (shd_cell_list(cell) != SHD_LIST_FREE)
                continue;
            uint32_t seq = atomic_load_explicit(&cell->seq, memory_order_relaxed);
            atomic_store_explicit(&cell->seq, seq | 1, memory_order_release);
            shd_list_append(writer, &shard->classes[own->class].free, spot);
        }
    }
}

int64_t shd_writer_init(struct shd_writer *writer, void *segment, const struct shd_mark *const *marks, uint32_t mark_count,
                        struct shd_cap *caps, uint32_t cap_count)
{
    assert(mark_count <= SHD_SLOTS_MAX);
    writer->header = segment;
    writer->geometry = writer->header->geometry;
    writer->shape = shd_shape_of(&writer->geometry);
    writer->shard_spots = writer->geometry.page_count * SHD_PAGE_SPOTS;
    writer->mark_count = mark_count;
    if (mark_count) /* without, marks may be NULL */
        memcpy(writer->marks, marks, mark_count * sizeof(marks[0]));
    writer->caps = caps;
    writer->cap_count = cap_count;
    writer_layout(writer, segment);
    for (uint32_t i = 0; i < cap_count; i++)
        caps[i].success_count = caps[i].denial_count = 0;

    int64_t ret = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < writer->geometry.shard_count; i++) {
        struct shd_writer_shard *shard = &writer->shards[i];
        cells_clear(writer, shard);
        for (uint32_t bucket = 0; bucket < writer->geometry.bucket_count; bucket++)
            ret += bucket_keep(writer, shard, bucket, &last);
        pages_sort(writer, shard);
    }
    for (uint16_t list = SHD_LIST_CAPS; list < SHD_LIST_CAPS + 2 * cap_count; list++)
        for (uint32_t most = shd_list_cap(writer, list); most && writer->lists[list].count > most; ret--)
            shd_cap_evict(writer, list);
    return ret;
}

/* ---- the check of all rules ---- */

/* The number of cells in list, all of them said to be in it and linked both ways; -1 when something is wrong. */
static int64_t list_walk(const struct shd_writer *writer, const struct shd_list *list, uint16_t index)
{
    int64_t ret = 0;
    uint32_t before = 0;
    for (uint32_t link = list->head; link; ret++) {
        struct shd_cell *cell = shd_spot_cell(writer, link - 1);
        if (ret > list->count || shd_cell_list(cell) != index || atomic_load_explicit(&cell->prev, memory_order_relaxed) != before)
            return -1;
        if ((atomic_load_explicit(&cell->seq, memory_order_relaxed) & 1) != (index == SHD_LIST_FREE))
            return -1;
        before = link;
        link = atomic_load_explicit(&cell->next, memory_order_relaxed);
    }
    return list->tail == before && ret == list->count ? ret : -1;
}

/* The number of ways in use in shard; -1 when one is wrong. */
static int64_t ways_walk(const struct shd_writer *writer, const struct shd_writer_shard *shard)
{
    int64_t ret = 0;
    for (uint32_t index = 0; index < writer->geometry.bucket_count; index++) {
        const struct shd_bucket *bucket = &shard->buckets[index];
        for (int way = 0; way < SHD_WAYS; way++) {
            uint32_t ref = atomic_load_explicit(&bucket->refs[way], memory_order_relaxed);
            if (ref == 0)
                continue;
            struct shd_cell_at at = shd_spot_at(writer, shd_ref_spot(writer, shard, ref));
            if (at.class >= SHD_CLASSES || shd_cell_list(at.cell) == SHD_LIST_FREE || shd_bucket_way(bucket, ref) != way)
                return -1;
            uint64_t hash = shd_cell_hash(at.cell);
            if (shd_hash_bucket(writer, hash) != bucket || atomic_load_explicit(&bucket->tags[way], memory_order_relaxed) != (uint16_t)hash)
                return -1;
            ret++;
        }
    }
    return ret;
}

/* Live cells and pages of one class, ready and live counts compared; -1 when something is wrong. */
static int64_t class_walk(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t class_index)
{
    const struct shd_writer_class *class = &shard->classes[class_index];
    int64_t ret = 0, ready = 0;
    uint32_t page = class->hand_page;
    for (uint32_t i = 0; i < class->page_count; i++, page = shard->pages[page].next) {
        const struct shd_writer_page *own = &shard->pages[page];
        uint32_t live = 0;
        for (uint32_t cell = 0; cell < own->ready; cell++)
            live += shd_cell_list(shd_spot_cell(writer, shd_page_spot(writer, shard, page, class_index, cell))) != SHD_LIST_FREE;
        if (own->class != class_index || live != own->live || shard->pages[own->next].prev != page ||
            (atomic_load_explicit(&shard->heads[page].word, memory_order_relaxed) & 0xff) != class_index + 1)
            return -1;
        if (page != class->fresh && own->ready != shd_page_cells(class_index))
            return -1;
        ret += live;
        ready += own->ready;
    }
    if (page != class->hand_page || ret != class->entries || list_walk(writer, &class->free, SHD_LIST_FREE) != ready - ret)
        return -1;
    return ret;
}

/* The number of pages in a stack; -1 when one of them has a class, or another history than the others. */
static int64_t stack_walk(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t page, bool used)
{
    int64_t ret = 0;
    for (; page != SHD_NONE; page = shard->pages[page].next)
        if (ret++ > writer->geometry.page_count || shard->pages[page].class != SHD_CLASSES || shd_page_is_used(&shard->heads[page]) != used)
            return -1;
    return ret;
}

/* The live cells of shard, its ways and pages compared with them; *rule is the one that is broken. */
static int64_t shard_walk(const struct shd_writer *writer, const struct shd_writer_shard *shard, int *rule)
{
    int64_t live = 0;
    uint32_t pages = 0;
    for (uint32_t class = 0; class < SHD_CLASSES; class++) {
        int64_t got = class_walk(writer, shard, class);
        if (got < 0)
            *rule = 1;
        live += got;
        pages += shard->classes[class].page_count;
    }
    if (ways_walk(writer, shard) != live)
        *rule = 2;
    if (pages != shard->pages_used)
        *rule = 3;
    int64_t free = stack_walk(writer, shard, shard->free_page, true), unused = stack_walk(writer, shard, shard->unused_page, false);
    if (free < 0 || unused < 0)
        *rule = 4;
    if (pages + free + unused != writer->geometry.page_count)
        *rule = 5;
    return live;
}

int shd_writer_check(const struct shd_writer *writer)
{
    int64_t entries = 0, listed = 0;
    int ret = 0;
    for (uint32_t i = 0; i < writer->geometry.shard_count; i++)
        entries += shard_walk(writer, &writer->shards[i], &ret);
    for (uint16_t list = SHD_LIST_UNCAPPED; list < SHD_LIST_CAPS + 2 * writer->cap_count; list++) {
        int64_t got = list_walk(writer, &writer->lists[list], list);
        uint32_t most = shd_list_cap(writer, list);
        if (got < 0 || (most && got > most))
            ret = 6;
        if (list >= SHD_LIST_CAPS) {
            const struct shd_cap *cap = &writer->caps[(list - SHD_LIST_CAPS) / 2];
            if (got != (list & 1 ? cap->denial_count : cap->success_count))
                ret = 7;
        }
        listed += got;
    }
    return ret || listed == entries ? ret : 8;
}
