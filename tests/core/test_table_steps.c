/* The table's protocol, one memory access at a time. The sources are compiled in here with a hook in every atomic access, so that
 * a whole write can be put between any two loads of a reader, a whole read between any two stores of the writer,
 * and a kill before any store. What threads and signals meet by chance (test_table_threads.c, test_table_kill.c), this meets in every case. */
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>

/* The core is linked in as well: here its names are others. */
#define shd_table_plan hooked_table_plan
#define shd_table_size hooked_table_size
#define shd_table_marks_size hooked_table_marks_size
#define shd_table_init hooked_table_init
#define shd_table_check hooked_table_check
#define shd_table_find hooked_table_find
#define shd_table_fetch_bucket hooked_table_fetch_bucket
#define shd_table_fetch_cell hooked_table_fetch_cell
#define shd_table_mark hooked_table_mark
#define shd_table_next hooked_table_next
#define shd_writer_size hooked_writer_size
#define shd_writer_init hooked_writer_init
#define shd_writer_store hooked_writer_store
#define shd_writer_remove hooked_writer_remove
#define shd_writer_hits hooked_writer_hits
#define shd_writer_use hooked_writer_use
#define shd_writer_check hooked_writer_check
#define shd_list_append hooked_list_append
#define shd_list_unlink hooked_list_unlink
#define shd_list_of hooked_list_of
#define shd_list_cap hooked_list_cap
#define shd_spot_ref hooked_spot_ref
#define shd_ref_spot hooked_ref_spot
#define shd_spot_marked hooked_spot_marked
#define shd_spot_used hooked_spot_used
#define shd_bucket_way hooked_bucket_way
#define shd_bucket_evict hooked_bucket_evict
#define shd_cell_enlist hooked_cell_enlist
#define shd_cell_free hooked_cell_free
#define shd_cell_alloc hooked_cell_alloc
#define shd_page_assign hooked_page_assign
#define shd_page_release hooked_page_release
#define shd_page_settle hooked_page_settle
#define shd_page_ring_add hooked_page_ring_add
#define shd_hand_enter hooked_hand_enter
#define shd_entry_evict hooked_entry_evict
#define shd_class_evict hooked_class_evict
#define shd_class_rob hooked_class_rob
#define shd_cap_evict hooked_cap_evict

struct hook {
    void (*call)(void);   /* NULL: off */
    long left;            /* accesses until call; it is then off, unless every */
    int every;
};

static struct hook on_load, on_store;

static void hook_access(struct hook *hook)
{
    if (!hook->call || (!hook->every && hook->left-- > 0))
        return;
    void (*call)(void) = hook->call;
    hook->call = NULL;
    call();
    if (hook->every)
        hook->call = call;
}

#undef atomic_load_explicit
#undef atomic_store_explicit
#define atomic_load_explicit(at, order) (hook_access(&on_load), *(at))
#define atomic_store_explicit(at, value, order) (hook_access(&on_store), (void)(*(at) = (value)))

#include "../../shardns/core/table.c"
#include "../../shardns/core/table_evict.c"
#include "../../shardns/core/table_pages.c"
#include "../../shardns/core/table_recover.c"
#include "../../shardns/core/table_store.c"

#include "check.h"
#include "table_rig.h"

enum { BLOCK = 5, TARGET = 1, BUDGET = 4 << 20 };

static struct rig rig;
static struct shd_cap caps[] = {{.cache_id = BLOCK, .success_cap = 3000, .denial_cap = 20}, {.cache_id = BLOCK + 1}};
static struct shd_entry entry, got;
static jmp_buf killed;

/* ---- a table to begin with, put back as often as it is wanted ---- */

static void *segment_saved, *writer_saved;
static struct shd_cap caps_saved[2];

static void rig_save(void)
{
    uint64_t writer_size = shd_writer_size(&rig.geometry, rig.cap_count);
    segment_saved = realloc(segment_saved, rig.size);
    writer_saved = realloc(writer_saved, writer_size);
    memcpy(segment_saved, rig.segment, rig.size);
    memcpy(writer_saved, rig.writer, writer_size);
    memcpy(caps_saved, caps, sizeof(caps));
}

static void rig_restore(void)
{
    memcpy(rig.segment, segment_saved, rig.size);
    memcpy(rig.writer, writer_saved, shd_writer_size(&rig.geometry, rig.cap_count));
    memcpy(caps, caps_saved, sizeof(caps));
}

static void store(uint64_t block, uint64_t number, uint32_t version, uint32_t wire_len, uint8_t kind)
{
    rig_entry(block, number, version, wire_len, 2, &entry);
    entry.head.kind = kind;
    CHECK_EQ(rig_store(&rig, &entry, block == BLOCK ? 0 : 1, 1000 + version), 0);
}

/* ---- whole writes ---- */

/* A new writer, in the memory of the old one, so that what was saved of that fits again. */
static void restart(void)
{
    const struct shd_mark *marks[2] = {rig.marks[0], rig.marks[1]};
    memset(rig.writer, 0, shd_writer_size(&rig.geometry, rig.cap_count));
    shd_writer_init(rig.writer, rig.segment, marks, 2, rig.caps, rig.cap_count);
}

/* The target alone on a page, in its third cell; another page of its class is full. */
static void setup_alone(void)
{
    uint32_t cells = shd_page_cells(3);
    store(BLOCK + 1, 92, 1, 20000, SHD_KIND_SUCCESS); /* a class gives its last page back to nobody */
    for (int i = 0; i < 3; i++)
        store(BLOCK + 1, 89 + (uint64_t)i, 1, 20000, SHD_KIND_SUCCESS);
    for (uint32_t i = 0; i < cells; i++)
        store(BLOCK + 1, 100 + i, 1, 170, SHD_KIND_SUCCESS);
    store(BLOCK + 1, 98, 1, 170, SHD_KIND_SUCCESS);
    store(BLOCK + 1, 97, 1, 170, SHD_KIND_SUCCESS);
    store(BLOCK + 1, TARGET, 1, 170, SHD_KIND_SUCCESS);
    rig_remove(&rig, BLOCK + 1, 97);
    rig_remove(&rig, BLOCK + 1, 98);
}

/* A table that is full in every class, with the target in it. */
static void setup_full(void)
{
    uint64_t dice = 8;
    uint32_t sizes[] = {30, 80, 120, 170, 3000, 60000};
    for (uint32_t i = 0; i < 15000; i++) {
        uint64_t throw = rig_random(&dice);
        store(BLOCK + throw % 2, 100 + i, 1, sizes[throw % 50 ? i / 1000 % 5 : 5], throw % 16 ? SHD_KIND_SUCCESS : SHD_KIND_DENIAL);
    }
    store(BLOCK, TARGET, 1, 170, SHD_KIND_SUCCESS);
}

static void write_replace(void) { store(BLOCK + 1, TARGET, 2, 170, SHD_KIND_SUCCESS); }

static void write_replace_twice(void)
{
    store(BLOCK + 1, TARGET, 2, 170, SHD_KIND_SUCCESS);
    store(BLOCK + 1, 99, 2, 170, SHD_KIND_SUCCESS); /* takes the cell that the target had */
    store(BLOCK + 1, TARGET, 3, 30, SHD_KIND_SUCCESS);
}

static void write_remove(void)
{
    rig_remove(&rig, BLOCK + 1, TARGET);
    store(BLOCK + 1, 99, 2, 170, SHD_KIND_SUCCESS);
}

static struct shd_cell_at target_at(uint64_t block)
{
    uint8_t key[SHD_KEY_MAX];
    size_t len = rig_key(block, TARGET, key);
    uint64_t hash = rig_hash(key, len);
    struct shd_cell_at ret;
    CHECK(way_of(rig.writer, rig.writer->shards, shd_hash_bucket(rig.writer, hash), key, len, hash, &ret) >= 0);
    return ret;
}

static uint32_t page_number(const struct shd_cell_at *at) { return (uint32_t)(at->page - at->shard->pages); }

/* The target goes, and its page becomes one of large cells. The first holds in its wire, at the very place where the target was, the
 * perfect image of the target's cell, but for the wire and as many seqs back as said. */
static void forge(uint32_t seqs_back)
{
    static uint8_t image[320];
    struct shd_cell_at at = target_at(BLOCK + 1);
    size_t in_page = (size_t)((uint8_t *)at.cell - at.shard->base - rig.writer->shape.pages_at) % SHD_PAGE_SIZE;
    memcpy(image, at.cell, sizeof(image));
    ((struct shd_cell *)(void *)image)->seq -= seqs_back;
    uint8_t key[SHD_KEY_MAX];
    memset(image + SHD_CELL_HEAD + SHD_ENTRY_HEAD + shd_pad8((uint32_t)rig_key(BLOCK + 1, TARGET, key)), 'X', 170);
    rig_remove(&rig, BLOCK + 1, TARGET);
    rig_entry(BLOCK + 1, 96, 2, 20000, 2, &entry);
    memcpy(entry.wire + in_page - (SHD_CELL_HEAD + SHD_ENTRY_HEAD + shd_pad8(entry.head.key_len)), image, sizeof(image));
    CHECK_EQ(rig_store(&rig, &entry, 1, 1000), 0);
    CHECK_EQ(at.page->class, 12);
    CHECK(memcmp(at.cell, image, sizeof(image)) == 0);
}

static void write_forge(void) { forge(0); }

/* The page goes back to the class it had, and another entry gets the target's cell, with the very seq that it had: only the page's turn is
 * another. */
static void write_forge_seq(void)
{
    struct shd_cell_at at = target_at(BLOCK + 1);
    uint32_t seq = at.cell->seq;
    forge(2);
    rig_remove(&rig, BLOCK + 1, 96);
    for (uint64_t number = 93; number < 96; number++)
        store(BLOCK + 1, number, 2, 170, SHD_KIND_SUCCESS);
    CHECK(at.cell->seq == seq && at.page->class == 3 && at.page->live == 3);
}

/* ---- a write between two loads of a reader ---- */

/* Whatever is written between any two loads of a find, it gives a right entry or none, and misses only what was gone for a moment. */
static void test_write_between_loads(void)
{
    struct { void (*write)(void); bool may_miss; } cases[] = {{write_replace, false}, {write_replace_twice, false}, {write_remove, true},
                                                                  {write_forge, true}, {write_forge_seq, true}};
    rig_init(&rig, BUDGET, calloc(1, rig_size(BUDGET)), caps, 2);
    setup_alone();
    rig_save();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (long left = 0;; left++) {
            rig_restore();
            on_load = (struct hook){cases[i].write, left, 0};
            int len = rig_find(&rig, BLOCK + 1, TARGET, &got, NULL);
            bool was_called = on_load.call == NULL;
            on_load.call = NULL;
            CHECK(len > 0 ? rig_is_right(&got, BLOCK + 1, TARGET) : cases[i].may_miss && len == SHD_EMISS);
            if (!was_called) {
                CHECK(left > 30);
                break;
            }
        }
    }
    free(rig.segment);
    rig_deinit(&rig);
}

/* ---- a read between two stores of the writer ---- */

static uint64_t reading_block;
static uint64_t reads, missed, wrong;

static void read_target(void)
{
    int len = rig_find(&rig, reading_block, TARGET, &got, NULL);
    reads++;
    missed += len < 0;
    wrong += len >= 0 && !rig_is_right(&got, reading_block, TARGET);
}

/* Make the target what goes next: its class' hand is on it and nothing speaks for it, and its page is the one that goes to another class. */
static void target_expose(void)
{
    struct shd_cell_at at = target_at(BLOCK);
    struct shd_writer_class *class = &at.shard->classes[at.class];
    at.cell->list &= SHD_LIST_MASK;
    for (uint32_t page = 0; page < rig.geometry.page_count; page++)
        at.shard->pages[page].passed = at.shard->stores;
    at.page->passed = at.shard->stores - 10000000;
    if (at.shard->stores % 2) {
        class->hand_page = at.page->prev;
        return;
    }
    shd_hand_enter(rig.writer, at.shard, at.class, page_number(&at));
    class->hand_cell = (at.spot - shd_page_spot(rig.writer, at.shard, page_number(&at), at.class, 0)) / (SHD_CLASS_SIZE[at.class] / SHD_REF_UNIT);
}

/* While the target is stored again in a table that is full, whoever has to make room for it: a reader finds it before every single store. */
static void test_read_between_stores(void)
{
    rig_init(&rig, BUDGET, calloc(1, rig_size(BUDGET)), caps, 2);
    setup_full();
    rig_save();
    uint32_t sizes[] = {170, 30, 80, 120, 170, 3000, 60000, 9000, 20000};
    reading_block = BLOCK;
    reads = missed = wrong = 0;
    for (uint32_t version = 2; version < 150; version++) {
        rig_entry(BLOCK, TARGET, version, sizes[version % 9], 2, &entry);
        entry.head.kind = version % 40 == 7 ? SHD_KIND_DENIAL : SHD_KIND_SUCCESS;
        target_expose();
        on_store = (struct hook){read_target, 0, 1};
        CHECK_EQ(rig_store(&rig, &entry, 0, 2000), 0);
        on_store.call = NULL;
        CHECK(caps[0].denial_count <= 20 && caps[0].success_count <= 3000);
    }
    CHECK(reads > 10000);
    CHECK_EQ(missed, 0);
    CHECK_EQ(wrong, 0);
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    free(rig.segment);
    rig_deinit(&rig);
}

/* ---- a kill before any store ---- */

static void be_killed(void) { longjmp(killed, 1); }

static int64_t walk(bool *all_right)
{
    int64_t ret = 0;
    uint64_t at = 0, block, number;
    *all_right = true;
    while (shd_table_next(rig.segment, &at, &got) == 1) {
        memcpy(&block, got.key, 8);
        memcpy(&number, got.key + 13, 8);
        *all_right &= rig_is_right(&got, block, number);
        ret++;
    }
    return ret;
}

static void write_new(void) { store(BLOCK, 99999, 2, 170, SHD_KIND_SUCCESS); }
static void write_same(void) { store(BLOCK, TARGET, 2, 170, SHD_KIND_SUCCESS); }
static void write_same_larger(void) { store(BLOCK, TARGET, 2, 3000, SHD_KIND_SUCCESS); }
static void write_other_kind(void) { store(BLOCK, TARGET, 2, 170, SHD_KIND_DENIAL); }
static void write_removal(void) { CHECK_EQ(rig_remove(&rig, BLOCK, TARGET), 1); }
static void write_new_class(void) { store(BLOCK + 1, 99999, 2, 20000, SHD_KIND_SUCCESS); }

/* Into a bucket that is full: the target's, filled with keys that share it. */
static void write_full_bucket(void)
{
    uint8_t key[SHD_KEY_MAX];
    size_t len = rig_key(BLOCK, TARGET, key);
    uint64_t hash = rig_hash(key, len) & ~UINT64_C(0xffff);
    for (uint64_t i = 0; i < 11; i++) {
        rig_entry(BLOCK + 1, 200000 + i, 1, 40, 2, &entry);
        CHECK_EQ(shd_writer_store(rig.writer, &entry, hash | i, 1, 2000), 0);
    }
}

/* A writer killed before any of its stores: the next one finds every rule kept and every entry whole, and has lost nothing but what the
 * victim was throwing out; the key in hand is there in its old version or its new one. */
static void kill_everywhere(void (*write)(void), bool target_stays, long most_lost, bool same_hash)
{
    bool all_right;
    rig_restore();
    volatile int64_t before = walk(&all_right);
    for (volatile long left = 0;; left = left < 80 ? left + 1 : left + left / 4) {
        rig_restore();
        on_store = (struct hook){be_killed, left, 0};
        bool was_killed = setjmp(killed) != 0;
        if (!was_killed)
            write();
        on_store.call = NULL;
        restart();
        CHECK_EQ(shd_writer_check(rig.writer), 0);
        int64_t after = walk(&all_right);
        CHECK((all_right || same_hash) && after >= before - most_lost);
        if (target_stays) {
            CHECK(rig_find(&rig, BLOCK, TARGET, &got, NULL) > 0 && rig_is_right(&got, BLOCK, TARGET));
            store(BLOCK, TARGET, 7, 100, SHD_KIND_SUCCESS);
            CHECK(rig_find(&rig, BLOCK, TARGET, &got, NULL) == 100 && got.head.ttl_s == 7);
        }
        CHECK_EQ(shd_writer_check(rig.writer), 0);
        if (!was_killed)
            break;
    }
}

static void test_kill_before_stores(void)
{
    rig_init(&rig, BUDGET, calloc(1, rig_size(BUDGET)), caps, 2);
    setup_full();
    rig_save();
    kill_everywhere(write_new, true, 3, false);
    kill_everywhere(write_same, true, 2, false);
    kill_everywhere(write_same_larger, true, shd_page_cells(0), false);
    kill_everywhere(write_other_kind, true, 3, false);
    kill_everywhere(write_removal, false, 1, false);
    kill_everywhere(write_new_class, true, shd_page_cells(0), false);
    kill_everywhere(write_full_bucket, false, 40, true);
    free(rig.segment);
    rig_deinit(&rig);
}

int main(void)
{
    test_write_between_loads();
    test_read_between_stores();
    test_kill_before_stores();
    free(segment_saved);
    free(writer_saved);
    return check_done();
}
