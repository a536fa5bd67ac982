/* What the writer of a table keeps in private memory, and the calls between its files:
 *
 *   table_store.c     store, remove, counts
 *   table_pages.c     cells and pages: lists, taking and giving back
 *   table_reserve.c   where the memory of pages comes from
 *   table_evict.c     who goes: the clock, the caps, full buckets, pages that change class
 *   table_recover.c   the start on whatever a predecessor left, and the check of all rules
 *
 * Nothing here is shared: a new writer builds it again from the segment. Cells are named by spot (table_layout.h), pages by
 * their index in their shard. A cell is at any time in exactly one list: its class' free cells, or the list of its cap. */
#ifndef SHD_TABLE_WRITER_H
#define SHD_TABLE_WRITER_H
#include "table_layout.h"

enum shd_cell_list {
    SHD_LIST_FREE = 0,
    SHD_LIST_UNCAPPED = 1,   /* entries of blocks that are not in caps */
    SHD_LIST_CAPS = 2,       /* 2 + 2 * cap: successes; 3 + 2 * cap: denials */
    SHD_LIST_MASK = 0x7fff,
    SHD_LIST_CHANCE = 0x8000, /* the entry replaced one in use: its hits are in the old cell's marks, so it is spared once */
};

#define SHD_NONE UINT32_MAX

struct shd_list {            /* through prev and next of cells; oldest first */
    uint32_t head, tail;     /* spot + 1; 0: empty */
    uint32_t count;
};

struct shd_writer_page {
    uint32_t next, prev;     /* ring of the pages of one class; next alone: stack of free or of unused pages */
    uint32_t seen_s, seen_epoch; /* when the hand last came here: hits since then spare a cell */
    uint32_t passed;         /* the shard's stores at that moment */
    uint16_t ready;          /* cells from the front that were ever used since the page was taken; the others' bytes mean nothing */
    uint16_t live;
    uint32_t class;          /* SHD_CLASSES: free */
};

struct shd_writer_class {
    struct shd_list free;
    uint32_t page_count;
    uint32_t entries;
    uint32_t fresh;          /* page with cells not ready, or SHD_NONE */
    uint32_t hand_page;      /* SHD_NONE: the class has no page */
    uint32_t hand_cell;
    uint32_t since_s, since_epoch; /* seen_* of the hand's page before the hand came this time */
    uint32_t lap;            /* pages entered in this lap */
    uint32_t balance;        /* the hand has entered a page: time to ask whether another class has too many */
};

struct shd_writer_shard {
    uint8_t *base;
    struct shd_page_head *heads;
    struct shd_bucket *buckets;
    struct shd_writer_page *pages;
    uint32_t index;
    uint32_t free_page;      /* top of the stack of pages that have their memory, or SHD_NONE */
    uint32_t unused_page;    /* of those that never had it */
    uint32_t stores;         /* a clock that counts stores */
    uint32_t pages_used;
    struct shd_writer_class classes[SHD_CLASSES];
};

struct shd_writer {
    struct shd_table_header *header;
    struct shd_geometry geometry;
    struct shd_shape shape;
    uint32_t shard_spots;    /* spots per shard */
    uint32_t pinned;         /* spot + 1 that must not be evicted: the entry about to be replaced */
    uint32_t now_s;
    uint32_t mark_count;
    uint32_t cap_count;
    uint32_t refused_s;      /* when there was last no memory for a page; means nothing without refusals */
    uint64_t refusals;
    struct shd_reserve reserve; /* take is NULL when everything has its memory */
    const struct shd_mark *marks[SHD_SLOTS_MAX];
    struct shd_cap *caps;
    struct shd_writer_shard *shards;
    struct shd_list *lists;  /* by enum shd_cell_list; the first is not used */
};

/* Where a spot is. */
struct shd_cell_at {
    struct shd_writer_shard *shard;
    struct shd_writer_page *page;
    struct shd_cell *cell;
    uint32_t spot, class;
};

static inline struct shd_cell *shd_spot_cell(const struct shd_writer *writer, uint32_t spot)
{
    const struct shd_writer_shard *shard = &writer->shards[spot / writer->shard_spots];
    uint64_t at = (uint64_t)(spot % writer->shard_spots) * SHD_REF_UNIT;
    return (struct shd_cell *)(void *)(shard->base + writer->shape.pages_at + at);
}

static inline struct shd_cell_at shd_spot_at(const struct shd_writer *writer, uint32_t spot)
{
    struct shd_writer_shard *shard = &writer->shards[spot / writer->shard_spots];
    struct shd_writer_page *page = &shard->pages[spot % writer->shard_spots / SHD_PAGE_SPOTS];
    return (struct shd_cell_at){shard, page, shd_spot_cell(writer, spot), spot, page->class};
}

/* The spot of cell number index of a page of class. */
static inline uint32_t shd_page_spot(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t page, uint32_t class,
                                     uint32_t index)
{
    return shard->index * writer->shard_spots + page * SHD_PAGE_SPOTS + index * (SHD_CLASS_SIZE[class] / SHD_REF_UNIT);
}

/* The index among a slot's marks that goes with a spot. */
static inline uint32_t shd_spot_mark(uint32_t spot) { return spot / (SHD_MARK_UNIT / SHD_REF_UNIT); }

static inline uint32_t shd_page_cells(uint32_t class) { return SHD_PAGE_SIZE / SHD_CLASS_SIZE[class]; }

static inline uint8_t *shd_cell_image(struct shd_cell *cell) { return (uint8_t *)cell + SHD_CELL_HEAD; }
static inline uint64_t shd_cell_hash(struct shd_cell *cell) { return shd_word_load(shd_cell_image(cell)); }

static inline uint16_t shd_cell_list(const struct shd_cell *cell)
{
    return atomic_load_explicit(&cell->list, memory_order_relaxed) & SHD_LIST_MASK;
}

static inline struct shd_bucket *shd_hash_bucket(const struct shd_writer *writer, uint64_t hash)
{
    return &writer->shards[shd_shape_shard(&writer->shape, hash)].buckets[shd_shape_bucket(&writer->shape, hash)];
}

/* ---- table_pages.c ---- */
void shd_list_append(struct shd_writer *writer, struct shd_list *list, uint32_t spot);
void shd_list_unlink(struct shd_writer *writer, struct shd_list *list, uint32_t spot);
/* The reference of a spot in its shard, and back. */
uint32_t shd_spot_ref(const struct shd_writer *writer, uint32_t spot);
uint32_t shd_ref_spot(const struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t ref);
/* The way of bucket that points to ref, or -1. */
int shd_bucket_way(const struct shd_bucket *bucket, uint32_t ref);
/* Make the free cell at live in list (of enum shd_cell_list), or a live one free. Its way is the caller's business. */
void shd_cell_enlist(struct shd_writer *writer, const struct shd_cell_at *at, uint16_t list, bool chance);
void shd_cell_free(struct shd_writer *writer, const struct shd_cell_at *at);
/* A cell of class that is in no list, with its seq odd: evicts when it must. SHD_NONE happens only where pages were refused. */
uint32_t shd_cell_alloc(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class);
/* Give class a page that belongs to none, if there is one and memory for it. */
bool shd_page_assign(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class);
/* Give an empty page back to the shard. */
void shd_page_release(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t page);
/* Give the page of at back if nothing lives on it and its class has another. */
void shd_page_settle(struct shd_writer *writer, const struct shd_cell_at *at);
void shd_page_ring_add(struct shd_writer_shard *shard, uint32_t page);

/* ---- table_reserve.c ---- */
/* Whether page, which was never used, has its memory now. */
bool shd_page_reserve(struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t page);

/* ---- table_evict.c ---- */
/* Whether a worker has hit spot since (second, and within it epoch). */
bool shd_spot_marked(const struct shd_writer *writer, uint32_t spot, uint32_t since_s, uint32_t since_epoch);
/* Whether spot was used since the hand last came by; its chance counts. */
bool shd_spot_used(const struct shd_writer *writer, const struct shd_cell_at *at);
/* The hand comes to page. */
void shd_hand_enter(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class, uint32_t page);
/* Throw an entry out: way, list, counts. Its page is not settled. */
void shd_entry_evict(struct shd_writer *writer, const struct shd_cell_at *at);
/* Make room in a class that has neither a free cell nor a page to be had: false when there is nothing to evict. */
bool shd_class_evict(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class);
/* Take a page from another class for class; must: take one whatever it costs. Whether there is a free page now. */
bool shd_class_rob(struct shd_writer *writer, struct shd_writer_shard *shard, uint32_t class, bool must);
/* Throw one entry out of list. */
void shd_cap_evict(struct shd_writer *writer, uint16_t list);
/* A way of bucket for a new entry: an empty one, or the one whose entry is thrown out. */
int shd_bucket_evict(struct shd_writer *writer, struct shd_writer_shard *shard, struct shd_bucket *bucket);

/* ---- table_store.c ---- */
/* The list for an entry of kind of cap's block, and the cap of a list (0: none). */
uint16_t shd_list_of(const struct shd_writer *writer, uint32_t cap, uint8_t kind);
uint32_t shd_list_cap(const struct shd_writer *writer, uint16_t list);

#endif
