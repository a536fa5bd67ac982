/* Who has to go when the table, a cap or a bucket is full. Every call takes a bounded number of steps. */
#include "table_writer.h"

enum {
    SPARED_MAX = 256,   /* cells in use that are spared, by the hand or in a cap's list, before one goes all the same */
    ROB_TRIES = 4,      /* donors' pages looked at */
};

/* ---- use ---- */

bool shd_spot_marked(const struct shd_writer *writer, uint32_t spot, uint32_t since_s, uint32_t since_epoch)
{
    uint32_t epoch = atomic_load_explicit(&writer->header->epoch, memory_order_relaxed);
    uint32_t laps = epoch - since_epoch < 255 ? epoch - since_epoch : 255;
    for (uint32_t slot = 0; slot < writer->mark_count; slot++) {
        const struct shd_mark *mark = &writer->marks[slot][shd_spot_mark(spot)];
        uint32_t stamp = atomic_load_explicit(&mark->epoch_hits, memory_order_relaxed) & 0xff;
        if (stamp == 0)
            continue;
        uint32_t hit_s = atomic_load_explicit(&mark->hit_s, memory_order_relaxed) & INT32_MAX;
        if (hit_s > since_s || (hit_s == since_s && (uint8_t)(epoch - stamp) <= laps))
            return true;
    }
    return false;
}

bool shd_spot_used(const struct shd_writer *writer, const struct shd_cell_at *at)
{
    return (atomic_load_explicit(&at->cell->list, memory_order_relaxed) & SHD_LIST_CHANCE) ||
           shd_spot_marked(writer, at->spot, at->page->seen_s, at->page->seen_epoch);
}

/* ---- one entry ---- */

void shd_entry_evict(struct shd_writer *writer, const struct shd_cell_at *at)
{
    uint16_t list = shd_cell_list(at->cell);
    struct shd_bucket *bucket = shd_hash_bucket(writer, shd_cell_hash(at->cell));
    int way = shd_bucket_way(bucket, shd_spot_ref(writer, at->spot));
    assert(way >= 0);
    atomic_store_explicit(&bucket->refs[way], 0, memory_order_relaxed); /* ordered by the release of seq in shd_cell_free */
    if (list >= SHD_LIST_CAPS) {
        struct shd_cap *cap = &writer->caps[(list - SHD_LIST_CAPS) / 2];
        ++*(list & 1 ? &cap->denial_evictions : &cap->success_evictions);
    }
    shd_cell_free(writer, at);
}

/* ---- the clock ---- */

static void epoch_advance(struct shd_writer *writer)
{
    uint32_t epoch = atomic_load_explicit(&writer->header->epoch, memory_order_relaxed) + 1;
    atomic_store_explicit(&writer->header->epoch, epoch + ((epoch & 0xff) == 0), memory_order_relaxed); /* 0 in a mark means never */
}

void shd_hand_enter(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class_index, uint32_t page_index)
{
    struct shd_writer_class *class = &shard->classes[class_index];
    struct shd_writer_page *page = &shard->pages[page_index];
    class->hand_page = page_index;
    class->hand_cell = 0;
    class->since_s = page->seen_s;
    class->since_epoch = page->seen_epoch;
    class->balance = 1;
    page->seen_s = writer->now_s;
    page->seen_epoch = atomic_load_explicit(&writer->header->epoch, memory_order_relaxed);
    page->passed = shard->stores;
    if (++class->lap >= class->page_count) {
        class->lap = 0;
        epoch_advance(writer);
    }
}

/* The cell under the hand, which moves on by one. */
static struct shd_cell_at hand_step(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class_index)
{
    struct shd_writer_class *class = &shard->classes[class_index];
    if (class->hand_cell >= shard->pages[class->hand_page].ready)
        shd_hand_enter(writer, shard, class_index, shard->pages[class->hand_page].next);
    return shd_spot_at(writer, shd_page_spot(writer, shard, class->hand_page, class_index, class->hand_cell++));
}

/* Whether the hand spares the cell it has come to; a chance is used up by it. */
static bool hand_spares(struct shd_writer *writer, const struct shd_writer_class *class, const struct shd_cell_at *at)
{
    uint16_t list = atomic_load_explicit(&at->cell->list, memory_order_relaxed);
    if (list & SHD_LIST_CHANCE) {
        atomic_store_explicit(&at->cell->list, list & SHD_LIST_MASK, memory_order_relaxed);
        return true;
    }
    return shd_spot_marked(writer, at->spot, class->since_s, class->since_epoch);
}

bool shd_class_evict(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class_index)
{
    struct shd_writer_class *class = &shard->classes[class_index];
    for (int step = 0; step < 2 * SPARED_MAX; step++) {
        struct shd_cell_at at = hand_step(writer, shard, class_index);
        if (at.spot + 1 == writer->pinned || shd_cell_list(at.cell) == SHD_LIST_FREE)
            continue;
        if (step < SPARED_MAX && hand_spares(writer, class, &at))
            continue;
        shd_entry_evict(writer, &at);
        return true;
    }
    return false;
}

/* ---- pages that change class ---- */

/* How many stores ago the hand was where it goes next: how long an entry of the class lives unused. */
static uint32_t class_age(const struct shd_writer_shard *shard, const struct shd_writer_class *class)
{
    return shard->stores - shard->pages[shard->pages[class->hand_page].next].passed;
}

/* The class with more than one page whose entries live longest, other than class; SHD_NONE. */
static uint32_t donor_find(const struct shd_writer_shard *shard, uint32_t class)
{
    uint32_t ret = SHD_NONE, oldest = 0;
    for (uint32_t i = 0; i < SHD_CLASSES; i++) {
        if (i == class || shard->classes[i].page_count < 2)
            continue;
        uint32_t age = class_age(shard, &shard->classes[i]);
        if (ret == SHD_NONE || age > oldest) {
            ret = i;
            oldest = age;
        }
    }
    return ret;
}

static bool page_holds(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t page, uint32_t link)
{
    return link != 0 && (link - 1) / writer->shard_spots == shard->index && (link - 1) % writer->shard_spots / SHD_PAGE_SPOTS == page;
}

/* Cells of page that are in use, up to limit. */
static uint32_t page_used(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t page, uint32_t limit)
{
    const struct shd_writer_page *own = &shard->pages[page];
    uint32_t ret = 0;
    for (uint32_t i = 0; i < own->ready && ret < limit; i++) {
        struct shd_cell_at at = shd_spot_at(writer, shd_page_spot(writer, shard, page, own->class, i));
        ret += shd_cell_list(at.cell) != SHD_LIST_FREE && shd_spot_used(writer, &at);
    }
    return ret;
}

static void page_rob(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t page)
{
    const struct shd_writer_page *own = &shard->pages[page];
    for (uint32_t i = 0; i < own->ready; i++) {
        struct shd_cell_at at = shd_spot_at(writer, shd_page_spot(writer, shard, page, own->class, i));
        if (shd_cell_list(at.cell) != SHD_LIST_FREE)
            shd_entry_evict(writer, &at);
    }
    shd_page_release(writer, shard, page);
}

bool shd_class_rob(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class_index, bool must)
{
    struct shd_writer_class *class = &shard->classes[class_index];
    class->balance = 0;
    for (int tries = 0; tries < ROB_TRIES; tries++) {
        uint32_t donor = donor_find(shard, class_index);
        if (donor == SHD_NONE)
            return false;
        /* Twice as old, and by more than a page's worth of stores: so that two classes do not pass a page to and fro. */
        if (!must && class_age(shard, &shard->classes[donor]) / 2 < class_age(shard, class) + shd_page_cells(class_index))
            return false;
        uint32_t page = shard->pages[shard->classes[donor].hand_page].next;
        bool last = must && tries >= ROB_TRIES - 2; /* two tries: the pinned entry may be on the first page */
        uint32_t bearable = shard->pages[page].ready / 4;
        if (!page_holds(writer, shard, page, writer->pinned) && (last || page_used(writer, shard, page, bearable + 1) <= bearable)) {
            page_rob(writer, shard, page);
            return true;
        }
        shd_hand_enter(writer, shard, donor, page); /* it has been looked at, as by its own hand */
    }
    return false;
}

/* ---- caps and buckets ---- */

void shd_cap_evict(struct shd_writer *writer, uint16_t list_index)
{
    struct shd_list *list = &writer->lists[list_index];
    for (int step = 0; list->head; step++) {
        struct shd_cell_at at = shd_spot_at(writer, list->head - 1);
        uint16_t seen = atomic_load_explicit(&at.cell->seen, memory_order_relaxed);
        uint32_t age = (uint16_t)(writer->now_s - seen);
        uint32_t since = writer->now_s > age ? writer->now_s - age : 0;
        uint32_t epoch = atomic_load_explicit(&writer->header->epoch, memory_order_relaxed);
        bool chance = atomic_load_explicit(&at.cell->list, memory_order_relaxed) & SHD_LIST_CHANCE;
        if (step < SPARED_MAX && list->count > 1 && (chance || shd_spot_marked(writer, at.spot, since, epoch - 1))) {
            atomic_store_explicit(&at.cell->seen, (uint16_t)writer->now_s, memory_order_relaxed);
            atomic_store_explicit(&at.cell->list, list_index, memory_order_relaxed);
            shd_list_unlink(writer, list, at.spot);
            shd_list_append(writer, list, at.spot);
            continue;
        }
        shd_entry_evict(writer, &at);
        shd_page_settle(writer, &at);
        return;
    }
}

int shd_bucket_evict(struct shd_writer *writer, struct shd_writer_shard *shard, struct shd_bucket *bucket)
{
    int way = shd_bucket_way(bucket, 0);
    if (way >= 0)
        return way;
    /* The hand makes it first in, first out among those that nobody uses. */
    uint32_t first = bucket->hand % SHD_WAYS;
    for (uint32_t step = 0; step < SHD_WAYS; step++) {
        way = (int)((first + step) % SHD_WAYS);
        uint32_t ref = atomic_load_explicit(&bucket->refs[way], memory_order_relaxed);
        struct shd_cell_at at = shd_spot_at(writer, shd_ref_spot(writer, shard, ref));
        if (shd_spot_used(writer, &at))
            continue;
        first = (uint32_t)way;
        break;
    }
    bucket->hand = (first + 1) % SHD_WAYS;
    uint32_t ref = atomic_load_explicit(&bucket->refs[first], memory_order_relaxed);
    struct shd_cell_at at = shd_spot_at(writer, shd_ref_spot(writer, shard, ref));
    shd_entry_evict(writer, &at);
    shd_page_settle(writer, &at);
    return (int)first;
}
