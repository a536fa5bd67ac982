/* The table alone: what a reader finds after what the writer did, and that it stays within its bounds. */
#include "check.h"
#include "table_rig.h"
#include "table_layout.h"

enum { BUDGET = 4 << 20, BLOCK = 7 };

static struct shd_entry entry, got;

static struct rig rig_make(uint64_t budget, struct shd_cap *caps, uint32_t cap_count)
{
    struct rig rig;
    rig_init(&rig, budget, calloc(1, rig_size(budget)), caps, cap_count);
    return rig;
}

static void rig_drop(struct rig *rig)
{
    CHECK_EQ(shd_writer_check(rig->writer), 0);
    free(rig->segment);
    rig_deinit(rig);
}

static struct shd_table_use use_of(const struct rig *rig)
{
    struct shd_table_use ret;
    shd_writer_use(rig->writer, &ret);
    return ret;
}

/* Every budget gives a geometry within it and not much below it. */
static void test_plan(void)
{
    for (uint64_t budget = 1; budget <= UINT64_C(1) << 36; budget = budget * 5 / 3 + 1) {
        struct shd_geometry geometry;
        uint64_t size = shd_table_plan(budget, &geometry), bound = budget < SHD_TABLE_MIN ? SHD_TABLE_MIN : budget;
        CHECK(size <= bound && size > bound * 9 / 10);
        CHECK_EQ(size, shd_table_size(&geometry));
        CHECK(geometry.page_count >= 2 * SHD_CLASSES);
        CHECK_EQ(shd_table_marks_size(&geometry), (uint64_t)geometry.shard_count * geometry.page_count * SHD_PAGE_SIZE / SHD_MARK_UNIT * 8);
    }
}

/* A header is taken only if all of it is ours and its geometry gives the segment's size. */
static void test_check(void)
{
    struct shd_geometry geometry;
    uint64_t size = shd_table_plan(BUDGET, &geometry);
    uint8_t other_boot[16] = "another";
    struct shd_table_header *header = calloc(1, size);
    CHECK_EQ(shd_table_check(header, size, RIG_BOOT), SHD_EHEADER);
    shd_table_init(header, &geometry, RIG_SEED, RIG_BOOT);
    CHECK_EQ(shd_table_check(header, size, RIG_BOOT), 0);
    CHECK_EQ(shd_table_check(header, size - 4096, RIG_BOOT), SHD_EHEADER);
    CHECK_EQ(shd_table_check(header, 100, RIG_BOOT), SHD_EHEADER);
    CHECK_EQ(shd_table_check(header, size, other_boot), SHD_EHEADER);
    struct shd_geometry wrong[] = {{0, 1, 30, 0}, {3, 4096, 30, 0}, {1, 0, 30, 0}, {1, 4097, 30, 0}, {1, 4096, 0, 0}, {1, 4096, UINT32_MAX, 0},
                                    {1u << 31, 1u << 31, UINT32_MAX, 0}};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        header->geometry = wrong[i];
        CHECK_EQ(shd_table_check(header, size, RIG_BOOT), SHD_EHEADER);
    }
    header->geometry = geometry;
    header->version++;
    CHECK_EQ(shd_table_check(header, size, RIG_BOOT), SHD_EHEADER);
    free(header);
}

/* What was stored is found, octet for octet, in every size class and at the edges of each. */
static void test_sizes(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint32_t places[] = {0, 1, 3, 8192};
    uint64_t number = 0;
    for (uint32_t wire = 12; wire <= 65535; wire = wire < 300 ? wire + 1 : wire * 9 / 8) {
        uint32_t len = wire * 9 / 8 > 65535 ? 65535 : wire;
        number++;
        rig_entry(BLOCK, number, (uint32_t)number, len, (uint16_t)places[number % 4], &entry);
        CHECK_EQ(rig_store(&rig, &entry, 0, 1000), 0);
        CHECK_EQ(rig_find(&rig, BLOCK, number, &got, NULL), len);
        CHECK(rig_is_right(&got, BLOCK, number));
        CHECK_EQ(got.head.ttl_s, number);
        CHECK_EQ(rig_find(&rig, BLOCK + 1, number, &got, NULL), SHD_EMISS);
    }
    entry.head.wire_len = 65536;
    CHECK_EQ(rig_store(&rig, &entry, 0, 1000), SHD_ESPACE);
    entry.head.wire_len = 100;
    entry.head.key_len = SHD_KEY_MAX + 1;
    CHECK_EQ(rig_store(&rig, &entry, 0, 1000), SHD_ESPACE);
    entry.head.key_len = 20;
    entry.head.place_count = 8193;
    CHECK_EQ(rig_store(&rig, &entry, 0, 1000), SHD_ESPACE);
    rig_drop(&rig);
}

/* The largest key, wire and record count together fit. */
static void test_largest(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    rig_entry(BLOCK, 5, 1, 65535, 8192, &entry);
    memset(entry.key, 'k', SHD_KEY_MAX);
    entry.head.key_len = SHD_KEY_MAX;
    for (int i = 0; i < 100; i++) {
        memcpy(entry.key + 20, &i, sizeof(i));
        CHECK_EQ(rig_store(&rig, &entry, 0, 1000), 0);
        CHECK_EQ(shd_table_find(rig.segment, entry.key, SHD_KEY_MAX, rig_hash(entry.key, SHD_KEY_MAX), &got, NULL), 65535);
        CHECK(memcmp(got.wire, entry.wire, 65535) == 0 && memcmp(got.places, entry.places, 4 * 8192) == 0);
    }
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    rig_drop(&rig);
}

/* A store under the same key replaces, whatever its size; remove removes once. */
static void test_replace(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint32_t sizes[] = {30, 31, 500, 60000, 30, 12};
    for (uint32_t i = 0; i < 6; i++) {
        rig_entry(BLOCK, 1, i, sizes[i], 2, &entry);
        CHECK_EQ(rig_store(&rig, &entry, 0, 1000), 0);
        CHECK_EQ(rig_find(&rig, BLOCK, 1, &got, NULL), sizes[i]);
        CHECK_EQ(got.head.ttl_s, i);
        CHECK_EQ(use_of(&rig).entries, 1);
    }
    CHECK_EQ(rig_remove(&rig, BLOCK, 1), 1);
    CHECK_EQ(rig_remove(&rig, BLOCK, 1), 0);
    CHECK_EQ(rig_find(&rig, BLOCK, 1, &got, NULL), SHD_EMISS);
    CHECK_EQ(use_of(&rig).entries, 0);
    rig_drop(&rig);
}

/* Ten ways hold ten keys of one bucket; the eleventh costs the one that nobody uses. */
static void test_full_bucket(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint64_t cell;
    for (uint64_t i = 0; i < 11; i++) {
        rig_entry(BLOCK, i, 1, 40, 1, &entry);
        CHECK_EQ(shd_writer_store(rig.writer, &entry, UINT64_C(0xabcd) << 48 | i, 0, 1000), 0);
        if (i == 0 && shd_table_find(rig.segment, entry.key, entry.head.key_len, UINT64_C(0xabcd) << 48, &got, &cell) > 0)
            shd_table_mark(rig.marks[1], cell, 2, 1, 60);
    }
    int found = 0;
    for (uint64_t i = 0; i < 11; i++) {
        uint8_t key[SHD_KEY_MAX];
        size_t len = rig_key(BLOCK, i, key);
        int is_there = shd_table_find(rig.segment, key, len, UINT64_C(0xabcd) << 48 | i, &got, NULL) > 0;
        found += is_there;
        CHECK(is_there || (i != 0 && i != 10));
    }
    CHECK_EQ(found, 10);
    rig_drop(&rig);
}

/* Keys with the same tag, or the same hash altogether, are told apart by their octets. */
static void test_same_hash(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint8_t key[SHD_KEY_MAX];
    for (uint64_t i = 0; i < 3; i++) {
        rig_entry(BLOCK, i, 1, 40 + (uint32_t)i, 1, &entry);
        CHECK_EQ(shd_writer_store(rig.writer, &entry, 99, 0, 1000), 0);
    }
    for (uint64_t i = 0; i < 4; i++) {
        size_t len = rig_key(BLOCK, i, key);
        CHECK_EQ(shd_table_find(rig.segment, key, len, 99, &got, NULL), i < 3 ? 40 + (int)i : SHD_EMISS);
    }
    rig_drop(&rig);
}

/* A hit is counted until a pause of gap_s; the refresh bit lasts as long as its second; hits of all slots add up. */
static void test_marks(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    struct { uint32_t now_s, gap_s, wanted; } cases[] = {{100, 60, 1}, {100, 60, 2}, {159, 60, 3}, {219, 60, 1},
                                                         {218, 60, 2}, {219, 0, 1}, {277, 60, 2}};
    CHECK_EQ(shd_writer_hits(rig.writer, 5), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        shd_table_mark(rig.marks[0], 5, 0x300 + (uint32_t)i, cases[i].now_s, cases[i].gap_s);
        CHECK_EQ(shd_writer_hits(rig.writer, 5), cases[i].wanted);
        CHECK((atomic_load(&rig.marks[0][5].epoch_hits) & 0xff) != 0);
    }
    shd_table_mark(rig.marks[1], 5, 2, 277, 60);
    CHECK_EQ(shd_writer_hits(rig.writer, 5), 3);
    atomic_store(&rig.marks[0][5].hit_s, 277 | 0x80000000u);
    shd_table_mark(rig.marks[0], 5, 2, 277, 60);
    CHECK_EQ(atomic_load(&rig.marks[0][5].hit_s), 277 | 0x80000000u);
    shd_table_mark(rig.marks[0], 5, 2, 278, 60);
    CHECK_EQ(atomic_load(&rig.marks[0][5].hit_s), 278);
    atomic_store(&rig.marks[0][6].epoch_hits, 0xffffff02u);
    atomic_store(&rig.marks[0][6].hit_s, 278);
    shd_table_mark(rig.marks[0], 6, 2, 278, 60);
    CHECK_EQ(atomic_load(&rig.marks[0][6].epoch_hits), 0xffffff02u);
    rig_drop(&rig);
}

/* The walk meets every entry once and nothing else. */
static void test_next(void)
{
    struct rig rig = rig_make(40 << 20, NULL, 0);
    enum { COUNT = 3000 };
    static uint8_t met[COUNT];
    uint64_t at = 0, number;
    CHECK_EQ(shd_table_next(rig.segment, &at, &got), 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        rig_entry(BLOCK, i, 1, 40, 1, &entry);
        rig_store(&rig, &entry, 0, 1000);
    }
    for (at = 0; shd_table_next(rig.segment, &at, &got) == 1;) {
        memcpy(&number, got.key + 13, 8);
        CHECK(number < COUNT && rig_is_right(&got, BLOCK, number) && !met[number]);
        met[number % COUNT] = 1;
    }
    CHECK(memchr(met, 0, COUNT) == NULL);
    rig_drop(&rig);
}

/* However much is stored, the table holds what fits and the newest is there. */
static void test_overflow(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint64_t dice = 1;
    for (uint64_t i = 0; i < 60000; i++) {
        uint64_t throw = rig_random(&dice);
        uint32_t wire = throw % 100 < 95 ? 30 + (uint32_t)(throw >> 8) % 200 : 12 + (uint32_t)(throw >> 8) % (throw % 100 < 99 ? 4000 : 65000);
        rig_entry(BLOCK, i, 1, wire, 2, &entry);
        CHECK_EQ(rig_store(&rig, &entry, 0, i), 0);
        CHECK_EQ(rig_find(&rig, BLOCK, i, &got, NULL), wire);
        CHECK(rig_is_right(&got, BLOCK, i));
        if (i % 5000 == 0)
            CHECK_EQ(shd_writer_check(rig.writer), 0);
    }
    struct shd_table_use use = use_of(&rig);
    CHECK_EQ(use.pages_used, use.pages_total);
    CHECK(use.octets_used <= use.pages_total * SHD_PAGE_SIZE && use.octets_used > use.pages_total * SHD_PAGE_SIZE * 8 / 10);
    rig_drop(&rig);
}

/* When sizes change, pages go to the class that needs them: after a table full of small entries, large ones find room, and back. */
static void test_pages_change_class(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint64_t number = 0;
    uint32_t sizes[] = {40, 3000, 40, 60000, 200};
    for (int phase = 0; phase < 5; phase++) {
        uint32_t count = 5 * (BUDGET / (sizes[phase] + 150));
        for (uint32_t i = 0; i < count; i++) {
            rig_entry(BLOCK, ++number, 1, sizes[phase], 1, &entry);
            CHECK_EQ(rig_store(&rig, &entry, 0, number), 0);
        }
        CHECK_EQ(shd_writer_check(rig.writer), 0);
        struct shd_table_use use = use_of(&rig);
        int class = 0;
        while (use.class_size[class] < sizes[phase] + 150)
            class++;
        CHECK(use.class_size[class] * use.class_entries[class] + use.class_size[class - 1] * use.class_entries[class - 1] >
              use.pages_total * SHD_PAGE_SIZE / 2);
        CHECK_EQ(rig_find(&rig, BLOCK, number, &got, NULL), sizes[phase]);
    }
    rig_drop(&rig);
}

/* Pages of removed entries serve any class again. */
static void test_pages_come_back(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    for (uint64_t i = 0; i < 20000; i++) {
        rig_entry(BLOCK, i, 1, 40, 1, &entry);
        rig_store(&rig, &entry, 0, 1000);
    }
    for (uint64_t i = 0; i < 20000; i++)
        rig_remove(&rig, BLOCK, i);
    CHECK_EQ(use_of(&rig).entries, 0);
    CHECK(use_of(&rig).pages_used <= 2);
    rig_drop(&rig);
}

/* Whatever a segment holds behind its header, a writer can start on it: what it keeps agrees with itself, and storing goes on. */
static void test_restart_on_garbage(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint64_t dice = 3, number = 0;
    struct shd_shape shape = shd_shape_of(&rig.geometry);
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 2000; i++) {
            rig_entry(BLOCK, ++number, 1, 20 + (uint32_t)(rig_random(&dice) % 400), 1, &entry);
            rig_store(&rig, &entry, 0, 1000);
        }
        for (int i = 0; i < 300; i++) { /* a wrong word in buckets, page heads, cells; a way that says what another says */
            uint64_t throw = rig_random(&dice), front = shape.pages_at, at = (throw >> 8) % (throw % 4 ? front : shape.shard_size) & ~UINT64_C(7);
            uint8_t *shard = (uint8_t *)rig.segment + SHD_TABLE_HEADER;
            uint64_t word = throw % 3 ? rig_random(&dice) >> throw % 64 : 0;
            if (throw % 5 == 0)
                memcpy(&word, shard + rig_random(&dice) % front / 8 * 8, 8);
            memcpy(shard + at, &word, 8);
        }
        rig_restart(&rig);
        CHECK_EQ(shd_writer_check(rig.writer), 0);
    }
    rig_drop(&rig);
}

/* Two ways to one cell, two cells of one key, a tag that is not its cell's: a restart keeps one of each, and puts the tag right. */
static void test_restart_on_doubles(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    struct shd_shape shape = shd_shape_of(&rig.geometry);
    for (uint64_t i = 0; i < 3; i++) {
        rig_entry(BLOCK, i, 1, 40, 1, &entry);
        CHECK_EQ(shd_writer_store(rig.writer, &entry, i, 0, 1000), 0); /* all in the first bucket, in the ways 0, 1 and 2 */
    }
    struct shd_bucket *bucket = (struct shd_bucket *)(void *)((uint8_t *)rig.segment + SHD_TABLE_HEADER + shape.buckets_at);
    bucket->refs[3] = bucket->refs[0];
    uint64_t hash = 1;
    memcpy((uint8_t *)rig.segment + SHD_TABLE_HEADER + (uint64_t)bucket->refs[2] * SHD_REF_UNIT + SHD_CELL_HEAD, &hash, 8);
    bucket->tags[1] = 77;
    CHECK_EQ(rig_restart(&rig), 2);
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    uint8_t key[SHD_KEY_MAX];
    for (uint64_t i = 0; i < 2; i++)
        CHECK_EQ(shd_table_find(rig.segment, key, rig_key(BLOCK, i, key), i, &got, NULL), 40);
    rig_drop(&rig);
}

/* ---- caps ---- */

/* A block never holds more than its caps; successes and denials (failures among them) are told apart; other blocks are not touched. */
static void test_caps(void)
{
    struct shd_cap caps[] = {{.cache_id = 1, .success_cap = 100, .denial_cap = 10}, {.cache_id = 2}};
    struct rig rig = rig_make(BUDGET, caps, 2);
    for (uint64_t i = 0; i < 1000; i++) {
        rig_entry(1 + i % 2, i, 1, 40, 1, &entry);
        entry.head.kind = (uint8_t)(i / 2 % 3 + SHD_KIND_SUCCESS);
        CHECK_EQ(rig_store(&rig, &entry, (uint32_t)(i % 2), 1000), 0);
        CHECK(caps[0].success_count <= 100 && caps[0].denial_count <= 10);
    }
    CHECK_EQ(caps[0].success_count, 100);
    CHECK_EQ(caps[0].denial_count, 10);
    CHECK_EQ(caps[1].success_count + caps[1].denial_count, 500);
    CHECK_EQ(caps[0].success_evictions, 67);
    CHECK_EQ(caps[0].denial_evictions, 323);
    CHECK_EQ(caps[1].success_evictions, 0);
    rig_drop(&rig);
}

/* The same name may turn from a success into a denial and back: it is counted once, under what it is now. */
static void test_caps_change_kind(void)
{
    struct shd_cap caps[] = {{.cache_id = 1, .success_cap = 2, .denial_cap = 1}};
    struct rig rig = rig_make(BUDGET, caps, 1);
    for (uint64_t i = 0; i < 50; i++) {
        rig_entry(1, i % 3, (uint32_t)i, 40, 1, &entry);
        entry.head.kind = i % 2 ? SHD_KIND_SUCCESS : SHD_KIND_FAILURE;
        CHECK_EQ(rig_store(&rig, &entry, 0, 1000), 0);
        CHECK_EQ(rig_find(&rig, 1, i % 3, &got, NULL), 40);
        CHECK(caps[0].success_count <= 2 && caps[0].denial_count <= 1);
        CHECK_EQ(use_of(&rig).entries, caps[0].success_count + caps[0].denial_count);
        CHECK_EQ(shd_writer_check(rig.writer), 0);
    }
    rig_drop(&rig);
}

/* A restart counts what is there, trims to caps that became smaller, and leaves entries of unknown blocks alone. */
static void test_caps_restart(void)
{
    struct shd_cap caps[] = {{.cache_id = 1, .success_cap = 0}, {.cache_id = 2, .success_cap = 50}};
    struct rig rig = rig_make(BUDGET, caps, 2);
    for (uint64_t i = 0; i < 300; i++) {
        rig_entry(1 + i % 3, i, 1, 40, 1, &entry);
        rig_store(&rig, &entry, (uint32_t)(i % 3), 1000);
    }
    caps[0].success_cap = 30;
    CHECK_EQ(rig_restart(&rig), 30 + 50 + 100);
    CHECK_EQ(caps[0].success_count, 30);
    CHECK_EQ(caps[1].success_count, 50);
    CHECK_EQ(use_of(&rig).entries, 180);
    rig_drop(&rig);
}

/* ---- eviction by use ---- */

/* What 200 hot names hit, of a million distinct ones and one hot in eleven queries; marks as two workers set them, 20,000 queries a second. */
static double hot_ratio(uint64_t budget, uint32_t cap, uint32_t names)
{
    struct shd_cap caps[] = {{.cache_id = BLOCK, .success_cap = cap, .denial_cap = cap}};
    struct rig rig = rig_make(budget, caps, 1);
    struct shd_table_header *header = rig.segment;
    uint64_t asked = 0, hit = 0, cell;
    for (uint32_t query = 0; query < names; query++) {
        bool is_hot = query % 11 == 0;
        uint64_t number = is_hot ? query / 11 % 200 : 1000 + query, now_ms = 5000000 + query / 20;
        int len = rig_find(&rig, BLOCK, number, &got, &cell);
        asked += is_hot;
        if (len > 0) {
            hit += is_hot;
            shd_table_mark(rig.marks[query % 2], cell, atomic_load(&header->epoch), (uint32_t)(now_ms / 1000), 60);
            continue;
        }
        rig_entry(BLOCK, number, 1, 40 + (uint32_t)(number % 3) * 50, 2, &entry);
        rig_store(&rig, &entry, 0, now_ms);
    }
    rig_drop(&rig);
    return (double)hit / (double)asked;
}

/* Hot names stay: in the smallest table, in one that is never full but capped as CoreDNS is by default, and under a cap far too small. */
static void test_hot_names_stay(void)
{
    struct { uint64_t budget; uint32_t cap; } cases[] = {{BUDGET, 0}, {32 << 20, 0}, {64 << 20, 9984}, {BUDGET, 2500}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double ratio = hot_ratio(cases[i].budget, cases[i].cap, 1000000);
        if (ratio <= 0.99)
            fprintf(stderr, "case %zu: %.4f\n", i, ratio);
        CHECK(ratio > 0.99);
    }
}

/* Hot names that came first, and so are the first in a cap's list, stay when the cap is reached. */
static void test_hot_names_that_came_first_stay(void)
{
    struct shd_cap caps[] = {{.cache_id = BLOCK, .success_cap = 3000, .denial_cap = 1}};
    struct rig rig = rig_make(32 << 20, caps, 1);
    struct shd_table_header *header = rig.segment;
    uint64_t cell, lost = 0;
    for (uint32_t number = 0; number < 4000; number++) {
        uint64_t now_ms = 5000000 + number;
        for (uint32_t hot = 0; number > 1000 && number % 100 == 0 && hot < 1000; hot++)
            if (rig_find(&rig, BLOCK, hot, &got, &cell) > 0)
                shd_table_mark(rig.marks[0], cell, atomic_load(&header->epoch), (uint32_t)(now_ms / 1000), 60);
        rig_entry(BLOCK, number, 1, 60, 2, &entry);
        rig_store(&rig, &entry, 0, now_ms);
    }
    for (uint32_t hot = 0; hot < 1000; hot++)
        lost += rig_find(&rig, BLOCK, hot, &got, &cell) <= 0;
    CHECK_EQ(caps[0].success_evictions, 1000);
    CHECK(lost <= 5);
    rig_drop(&rig);
}

/* A hot entry that is refreshed (and so moves to a cell nobody has hit yet) is not evicted for it. */
static void test_refreshed_stays(void)
{
    struct rig rig = rig_make(BUDGET, NULL, 0);
    uint64_t number = 1000, cell, lost = 0;
    uint32_t per_lap = BUDGET / 128;
    for (uint32_t round = 0; round < 40; round++) {
        uint64_t now_ms = 1000000 + round * 10000;
        if (rig_find(&rig, BLOCK, 1, &got, &cell) > 0)
            shd_table_mark(rig.marks[0], cell, 2, (uint32_t)(now_ms / 1000), 60);
        else
            lost += round > 0;
        rig_entry(BLOCK, 1, round, 40, 1, &entry);
        rig_store(&rig, &entry, 0, now_ms + 1);
        for (uint32_t i = 0; i < per_lap * (5 + round) / 50; i++) {
            rig_entry(BLOCK, ++number, 1, 40, 1, &entry);
            rig_store(&rig, &entry, 0, now_ms + 5000);
        }
    }
    CHECK_EQ(lost, 0);
    rig_drop(&rig);
}

int main(void)
{
    test_plan();
    test_check();
    test_sizes();
    test_largest();
    test_replace();
    test_full_bucket();
    test_same_hash();
    test_marks();
    test_next();
    test_overflow();
    test_pages_change_class();
    test_pages_come_back();
    test_restart_on_garbage();
    test_restart_on_doubles();
    test_caps();
    test_caps_change_kind();
    test_caps_restart();
    test_hot_names_stay();
    test_hot_names_that_came_first_stay();
    test_refreshed_stays();
    return check_done();
}
