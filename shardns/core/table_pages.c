/* Cells and pages of the table: lists, what is free, and how a page gets its class. Decides nothing about who is evicted. */
#include "table_writer.h"

/* ---- lists ---- */

static void link_set(struct shd_writer *writer, uint32_t link, uint32_t prev, uint32_t next)
{
    struct shd_cell *cell = shd_spot_cell(writer, link - 1);
    atomic_store_explicit(&cell->prev, prev, memory_order_relaxed);
    atomic_store_explicit(&cell->next, next, memory_order_relaxed);
}

void shd_list_append(struct shd_writer *writer, struct shd_list *list, uint32_t spot)
{
    link_set(writer, spot + 1, list->tail, 0);
    if (list->tail)
        atomic_store_explicit(&shd_spot_cell(writer, list->tail - 1)->next, spot + 1, memory_order_relaxed);
    else
        list->head = spot + 1;
    list->tail = spot + 1;
    list->count++;
}

void shd_list_unlink(struct shd_writer *writer, struct shd_list *list, uint32_t spot)
{
    struct shd_cell *cell = shd_spot_cell(writer, spot);
    uint32_t prev = atomic_load_explicit(&cell->prev, memory_order_relaxed);
    uint32_t next = atomic_load_explicit(&cell->next, memory_order_relaxed);
    if (prev)
        atomic_store_explicit(&shd_spot_cell(writer, prev - 1)->next, next, memory_order_relaxed);
    else
        list->head = next;
    if (next)
        atomic_store_explicit(&shd_spot_cell(writer, next - 1)->prev, prev, memory_order_relaxed);
    else
        list->tail = prev;
    list->count--;
}

/* ---- references ---- */

uint32_t shd_spot_ref(const struct shd_writer *writer, uint32_t spot)
{
    const uint8_t *base = writer->shards[spot / writer->shard_spots].base;
    return (uint32_t)((uint64_t)((const uint8_t *)shd_spot_cell(writer, spot) - base) / SHD_REF_UNIT);
}

uint32_t shd_ref_spot(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t ref)
{
    uint64_t at = (uint64_t)ref * SHD_REF_UNIT - writer->shape.pages_at;
    return shard->index * writer->shard_spots + (uint32_t)(at / SHD_REF_UNIT);
}

int shd_bucket_way(const struct shd_bucket *bucket, uint32_t ref)
{
    for (int way = 0; way < SHD_WAYS; way++)
        if (atomic_load_explicit(&bucket->refs[way], memory_order_relaxed) == ref)
            return way;
    return -1;
}

/* ---- cells ---- */

/* The count in its block's shd_cap that goes with list; NULL when it has none. */
static uint32_t *cap_count(const struct shd_writer *writer, uint16_t list)
{
    if (list < SHD_LIST_CAPS)
        return NULL;
    struct shd_cap *cap = &writer->caps[(list - SHD_LIST_CAPS) / 2];
    return list & 1 ? &cap->denial_count : &cap->success_count;
}

void shd_cell_enlist(struct shd_writer *writer, const struct shd_cell_at *at, uint16_t list, bool chance)
{
    atomic_store_explicit(&at->cell->list, (uint16_t)(list | (chance ? SHD_LIST_CHANCE : 0)), memory_order_relaxed);
    atomic_store_explicit(&at->cell->seen, (uint16_t)writer->now_s, memory_order_relaxed);
    shd_list_append(writer, &writer->lists[list], at->spot);
    uint32_t *count = cap_count(writer, list);
    if (count)
        ++*count;
    at->page->live++;
    at->shard->classes[at->class].entries++;
}

void shd_cell_free(struct shd_writer *writer, const struct shd_cell_at *at)
{
    struct shd_writer_class *class = &at->shard->classes[at->class];
    uint16_t list = shd_cell_list(at->cell);
    shd_list_unlink(writer, &writer->lists[list], at->spot);
    uint32_t *count = cap_count(writer, list);
    if (count)
        --*count;
    uint32_t seq = atomic_load_explicit(&at->cell->seq, memory_order_relaxed);
    atomic_store_explicit(&at->cell->seq, seq | 1, memory_order_release); /* pairs with find's acquire: who sees it sees that the way has changed */
    atomic_store_explicit(&at->cell->list, SHD_LIST_FREE, memory_order_relaxed);
    shd_list_append(writer, &class->free, at->spot);
    at->page->live--;
    class->entries--;
}

/* The next cell of the class' fresh page, which nobody has used since the page was taken. */
static uint32_t fresh_take(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class_index)
{
    struct shd_writer_class *class = &shard->classes[class_index];
    struct shd_writer_page *page = &shard->pages[class->fresh];
    uint32_t spot = shd_page_spot(writer, shard, class->fresh, class_index, page->ready++);
    if (page->ready == shd_page_cells(class_index))
        class->fresh = SHD_NONE;
    struct shd_cell *cell = shd_spot_cell(writer, spot);
    uint32_t seq = atomic_load_explicit(&cell->seq, memory_order_relaxed);
    atomic_store_explicit(&cell->seq, seq | 1, memory_order_relaxed);
    atomic_store_explicit(&cell->list, SHD_LIST_FREE, memory_order_relaxed);
    return spot;
}

uint32_t shd_cell_alloc(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class_index)
{
    struct shd_writer_class *class = &shard->classes[class_index];
    /* A page or a cell comes free in every turn, so two or three are enough. */
    for (int turns = 0; turns < 2 * SHD_CLASSES; turns++) {
        if (class->free.head) {
            uint32_t spot = class->free.head - 1;
            shd_list_unlink(writer, &class->free, spot);
            return spot;
        }
        if (class->fresh != SHD_NONE)
            return fresh_take(writer, shard, class_index);
        if (shd_page_assign(writer, shard, class_index))
            continue;
        if (class->page_count == 0)
            shd_class_rob(writer, shard, class_index, true);
        else if (class->balance && shd_class_rob(writer, shard, class_index, false))
            continue;
        else if (!shd_class_evict(writer, shard, class_index))
            shd_class_rob(writer, shard, class_index, true);
    }
    return SHD_NONE;
}

/* ---- pages ---- */

void shd_page_ring_add(struct shd_writer_shard *shard, uint32_t page)
{
    struct shd_writer_class *class = &shard->classes[shard->pages[page].class];
    if (class->hand_page == SHD_NONE) {
        shard->pages[page].next = shard->pages[page].prev = page;
        class->hand_page = page;
        class->hand_cell = 0;
        class->since_s = shard->pages[page].seen_s;
        class->since_epoch = shard->pages[page].seen_epoch;
    } else { /* behind the hand, which so comes to it last */
        uint32_t after = class->hand_page, before = shard->pages[after].prev;
        shard->pages[page].next = after;
        shard->pages[page].prev = before;
        shard->pages[before].next = page;
        shard->pages[after].prev = page;
    }
    class->page_count++;
    shard->pages_used++;
}

/* A page that belongs to no class and has its memory, out of its stack; SHD_NONE. */
static uint32_t page_take(struct shd_writer *writer, struct shd_writer_shard *shard)
{
    uint32_t *stack = shard->free_page != SHD_NONE ? &shard->free_page : &shard->unused_page;
    uint32_t page = *stack;
    if (page == SHD_NONE || (stack == &shard->unused_page && !shd_page_reserve(writer, shard, page)))
        return SHD_NONE;
    *stack = shard->pages[page].next;
    return page;
}

bool shd_page_assign(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class)
{
    uint32_t page = page_take(writer, shard);
    if (page == SHD_NONE)
        return false;
    struct shd_writer_page *own = &shard->pages[page];
    own->class = class;
    own->ready = own->live = 0;
    own->seen_s = writer->now_s;
    own->seen_epoch = atomic_load_explicit(&writer->header->epoch, memory_order_relaxed);
    own->passed = shard->stores;
    shd_page_ring_add(shard, page);
    shard->classes[class].fresh = page;

    struct shd_page_head *head = &shard->heads[page];
    uint64_t turn = atomic_load_explicit(&head->word, memory_order_relaxed) >> 32;
    /* release: pairs with the acquire in reading_begin; the refs into the page's last use are gone before. */
    atomic_store_explicit(&head->word, ((turn + 1) & UINT32_MAX) << 32 | (class + 1), memory_order_release);
    atomic_thread_fence(memory_order_release); /* pairs with the fence in reading_holds: the turn is seen before any word of the new use */
    return true;
}

void shd_page_release(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t page)
{
    struct shd_writer_page *own = &shard->pages[page];
    struct shd_writer_class *class = &shard->classes[own->class];
    for (uint32_t i = 0; i < own->ready; i++)
        shd_list_unlink(writer, &class->free, shd_page_spot(writer, shard, page, own->class, i));
    if (class->fresh == page)
        class->fresh = SHD_NONE;
    if (class->hand_page == page) {
        class->hand_page = SHD_NONE;
        if (own->next != page)
            shd_hand_enter(writer, shard, own->class, own->next);
    }
    shard->pages[own->prev].next = own->next;
    shard->pages[own->next].prev = own->prev;
    class->page_count--;
    shard->pages_used--;
    own->class = SHD_CLASSES;
    own->next = shard->free_page;
    shard->free_page = page;
}

void shd_page_settle(struct shd_writer *writer, const struct shd_cell_at *at)
{
    if (at->page->live == 0 && at->shard->classes[at->class].page_count > 1)
        shd_page_release(writer, at->shard, (uint32_t)(at->page - at->shard->pages));
}
