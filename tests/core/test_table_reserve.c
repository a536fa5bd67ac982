/* A table that has only the memory it was given: what was not reserved cannot be touched here without the test's end (SIGSEGV), as on a full
 * /dev/shm with SIGBUS. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "check.h"
#include "table_layout.h"
#include "table_rig.h"

enum { BUDGET = SHD_TABLE_MIN, BLOCK = 7, TYPICAL = 100 /* octets of wire: a cell of 192 or 256 */ };

static struct shd_entry entry, got;
static jmp_buf killed;

/* Memory by the page, up to a limit. */
struct supply {
    struct rig *rig;
    uint64_t pages;      /* that may still be had */
    uint64_t given, asked;
    bool is_deadly;      /* whoever gets a page is killed before he can use it */
};

static int supply_take(void *context, uint64_t offset, uint64_t octets)
{
    struct supply *supply = context;
    supply->asked++;
    if (octets == SHD_PAGE_SIZE) {
        if (supply->given == supply->pages)
            return SHD_EFULL;
        supply->given++;
    }
    /* What the system protects is 4,096 octets, and so is what lies between. */
    CHECK_EQ(offset % 4096, 0);
    CHECK_EQ(octets % 4096, 0);
    CHECK_EQ(mprotect((uint8_t *)supply->rig->segment + offset, octets, PROT_READ | PROT_WRITE), 0);
    if (supply->is_deadly)
        longjmp(killed, 1);
    return 0;
}

static struct supply supply;

/* A new writer, whose memory comes from supply. */
static int64_t restart(struct rig *rig)
{
    int64_t ret = rig_restart(rig);
    shd_writer_reserve(rig->writer, &(struct shd_reserve){supply_take, &supply});
    return ret;
}

/* A table that can have so many pages. */
static struct rig rig_make(uint64_t pages)
{
    static struct rig rig;
    void *segment = mmap(NULL, rig_size(BUDGET), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct shd_geometry geometry;
    shd_table_plan(BUDGET, &geometry);
    rig.segment = segment;
    supply = (struct supply){.rig = &rig, .pages = pages};
    CHECK_EQ(shd_table_reserve(segment, &geometry, &(struct shd_reserve){supply_take, &supply}), 0);
    CHECK_EQ(supply.given, 0);
    rig_init(&rig, BUDGET, segment, NULL, 0);
    restart(&rig);
    return rig;
}

static void rig_drop(struct rig *rig)
{
    CHECK_EQ(shd_writer_check(rig->writer), 0);
    munmap(rig->segment, rig->size);
    rig_deinit(rig);
}

static int store(struct rig *rig, uint64_t number, uint32_t wire_len, uint64_t now_s)
{
    rig_entry(BLOCK, number, 1, wire_len, 1, &entry);
    return rig_store(rig, &entry, 0, now_s * 1000);
}

static bool is_found(const struct rig *rig, uint64_t number)
{
    return rig_find(rig, BLOCK, number, &got, NULL) > 0 && rig_is_right(&got, BLOCK, number);
}

static struct shd_table_use use_of(const struct rig *rig)
{
    struct shd_table_use ret;
    shd_writer_use(rig->writer, &ret);
    return ret;
}

/* Memory is taken page by page, as entries come, and never twice. */
static void test_as_needed(void)
{
    struct rig rig = rig_make(UINT64_MAX);
    for (uint64_t number = 0; number < 20000; number++) {
        CHECK_EQ(store(&rig, number, TYPICAL, 1), 0);
        CHECK(supply.given == use_of(&rig).pages_used);
    }
    CHECK_EQ(supply.given, rig.geometry.page_count * rig.geometry.shard_count);
    CHECK_EQ(use_of(&rig).refusals, 0);
    rig_drop(&rig);
}

/* Without room for more the table is as large as it is: what is stored is found, something older goes. */
static void test_no_room(void)
{
    struct rig rig = rig_make(5);
    for (uint64_t number = 0; number < 20000; number++) {
        CHECK_EQ(store(&rig, number, number % 7 ? TYPICAL : 4 * TYPICAL, 1), 0);
        CHECK(is_found(&rig, number));
    }
    CHECK_EQ(use_of(&rig).pages_used, 5);
    CHECK(!is_found(&rig, 0));
    CHECK_EQ(use_of(&rig).refusals, 1);
    CHECK_EQ(supply.asked, 2 + 5 + 1); /* header and front, pages, and one refusal: not one for every store */
    rig_drop(&rig);
}

/* Every SHD_REFUSED_S it asks again, and grows when there is room; a clock that begins anew does not keep it from that. */
static void test_room_again(void)
{
    struct rig rig = rig_make(3);
    uint64_t number = 0;
    for (; number < 5000; number++)
        store(&rig, number, TYPICAL, 100);
    supply.pages = 6;
    for (uint64_t now_s = 101; now_s < 100 + SHD_REFUSED_S; now_s++)
        store(&rig, number++, TYPICAL, now_s);
    CHECK_EQ(supply.given, 3);
    for (int i = 0; i < 5000; i++)
        store(&rig, number++, TYPICAL, 100 + SHD_REFUSED_S);
    CHECK_EQ(supply.given, 6);
    CHECK_EQ(use_of(&rig).refusals, 2);
    rig_drop(&rig);
}

/* An entry of a class that has no page goes into a larger cell; where there is none, it is not stored, and what was there stays. */
static void test_no_page_of_its_class(void)
{
    struct rig rig = rig_make(1);
    CHECK_EQ(store(&rig, 1, 3000, 1), 0);
    CHECK_EQ(store(&rig, 2, TYPICAL, 1), 0);
    CHECK(is_found(&rig, 1) && is_found(&rig, 2));
    CHECK_EQ(use_of(&rig).entries, 2);
    CHECK_EQ(store(&rig, 3, 60000, 1), SHD_EFULL);
    CHECK_EQ(store(&rig, 1, 60000, 1), SHD_EFULL);
    CHECK(is_found(&rig, 1) && is_found(&rig, 2) && !is_found(&rig, 3));
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    CHECK_EQ(restart(&rig), 2);
    CHECK(is_found(&rig, 1) && is_found(&rig, 2));
    rig_drop(&rig);
}

/* No page at all: nothing is stored, nothing breaks. */
static void test_no_page(void)
{
    struct rig rig = rig_make(0);
    for (uint64_t number = 0; number < 100; number++)
        CHECK_EQ(store(&rig, number, TYPICAL, 1), SHD_EFULL);
    CHECK_EQ(supply.asked, 2 + 1);
    CHECK_EQ(use_of(&rig).entries, 0);
    rig_drop(&rig);
}

/* The next writer touches what has its memory and nothing else, and uses emptied pages before it asks for more. */
static void test_restart(void)
{
    struct rig rig = rig_make(UINT64_MAX);
    uint64_t number = 0;
    while (supply.given < 6)
        store(&rig, number++, TYPICAL, 1);
    CHECK_EQ(restart(&rig), (int64_t)number);
    for (uint64_t gone = 0; gone < number; gone++)
        CHECK_EQ(rig_remove(&rig, BLOCK, gone), 1);
    CHECK_EQ(restart(&rig), 0);
    CHECK_EQ(use_of(&rig).pages_used, 0);
    while (number-- > 0)
        store(&rig, number, TYPICAL, 1);
    CHECK_EQ(supply.given, 6);
    rig_drop(&rig);
}

/* A writer that is killed with a page in its hands, at any of its pages: the next one goes on, and every entry is still there. */
static void test_killed_at_a_page(void)
{
    struct rig rig = rig_make(UINT64_MAX);
    for (volatile uint64_t number = 0, kills = 0; kills < 6; number++) {
        supply.is_deadly = true;
        if (setjmp(killed)) {
            supply.is_deadly = false;
            CHECK_EQ(restart(&rig), (int64_t)number);
            CHECK_EQ(shd_writer_check(rig.writer), 0);
            kills++;
            CHECK_EQ(store(&rig, number, TYPICAL, 1), 0);
        } else {
            CHECK_EQ(store(&rig, number, TYPICAL, 1), 0);
        }
        CHECK(is_found(&rig, number));
    }
    rig_drop(&rig);
}

/* On a real file: header, heads, buckets and used pages have their memory, the rest has none; what was there stays. */
static void test_file(void)
{
    char path[] = "/dev/shm/shardns-test-reserve-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    uint64_t size = rig_size(BUDGET);
    CHECK_EQ(ftruncate(fd, (off_t)size), 0);
    uint8_t *segment = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct shd_reserve reserve = {shd_reserve_file, (void *)(intptr_t)fd};
    struct shd_geometry geometry;
    shd_table_plan(BUDGET, &geometry);
    uint64_t front = SHD_TABLE_HEADER + shd_shape_of(&geometry).pages_at;
    struct stat found;
    CHECK_EQ(shd_table_reserve(segment, &geometry, &reserve), 0);
    CHECK(fstat(fd, &found) == 0 && (uint64_t)found.st_blocks * 512 == front);

    struct rig rig;
    rig_init(&rig, BUDGET, segment, NULL, 0);
    shd_writer_reserve(rig.writer, &reserve);
    CHECK_EQ(store(&rig, 1, TYPICAL, 1), 0);
    CHECK(fstat(fd, &found) == 0 && (uint64_t)found.st_blocks * 512 == front + SHD_PAGE_SIZE);
    /* Holes in what is used, as in a copy of the file. */
    CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)front + 4096, SHD_PAGE_SIZE - 4096), 0);
    CHECK_EQ(shd_table_reserve(segment, &geometry, &reserve), 0);
    CHECK(fstat(fd, &found) == 0 && (uint64_t)found.st_blocks * 512 == front + SHD_PAGE_SIZE);
    CHECK(is_found(&rig, 1));
    munmap(segment, size);
    rig_deinit(&rig);
    close(fd); /* fails, as it does without room */
    CHECK_EQ(reserve.take(reserve.context, 0, 4096), SHD_EFULL);
}

int main(void)
{
    test_as_needed();
    test_no_room();
    test_room_again();
    test_no_page_of_its_class();
    test_no_page();
    test_restart();
    test_killed_at_a_page();
    test_file();
    return check_done();
}
