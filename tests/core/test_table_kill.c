/* A writer killed at any moment: its successor finds every rule kept, every entry right, and at most the entry in hand lost. */
#define _DEFAULT_SOURCE
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"
#include "table_rig.h"

enum { KILLS = 210, BLOCK = 3, KEYS = 30000, KEPT = 50 };

struct shared {
    atomic_uint_fast64_t stores;   /* how far the writer is */
    atomic_uint_fast64_t dice;
    atomic_uint version;
};

static struct rig rig;
static struct shared *shared;
static struct shd_cap caps[] = {{.cache_id = BLOCK, .success_cap = 9000, .denial_cap = 100}, {.cache_id = BLOCK + 1}};
static struct shd_entry entry;

static void *map_shared(size_t octets)
{
    void *ret = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ret == MAP_FAILED)
        abort();
    return ret;
}

/* One random step on a table that is always full: sizes change from phase to phase, so that pages change class. */
static void churn(uint32_t version, uint64_t throw)
{
    uint32_t sizes[] = {30, 80, 200, 700, 3000, 60000};
    uint32_t size = sizes[throw % 8 ? version / 2000 % 6 : (throw >> 3) % 6];
    uint64_t number = (throw >> 16) % KEYS;
    if (throw % 32 == 9) {
        rig_remove(&rig, BLOCK, number);
        return;
    }
    rig_entry(BLOCK, number, version, size, 2, &entry);
    entry.head.kind = throw % 16 == 1 ? SHD_KIND_DENIAL : SHD_KIND_SUCCESS;
    rig_store(&rig, &entry, 0, version);
}

/* One random step on a table with room: few keys, stored again and again. */
static void replace(uint32_t version, uint64_t throw)
{
    rig_entry(BLOCK + 1, (throw >> 16) % KEPT, version, 30 + (uint32_t)(throw >> 40) % 300, 2, &entry);
    rig_store(&rig, &entry, 1, version);
}

/* The writer's process: ends by a signal. */
static void write_on(void (*step)(uint32_t version, uint64_t throw))
{
    int64_t found = rig_restart(&rig);
    if (found < 0 || shd_writer_check(rig.writer) != 0)
        _exit(1);
    for (;;) {
        uint64_t dice = atomic_load(&shared->dice), throw = rig_random(&dice);
        atomic_store(&shared->dice, dice);
        step(atomic_fetch_add(&shared->version, 1), throw);
        atomic_fetch_add(&shared->stores, 1);
    }
}

/* Read at random until the writer has made some more stores; finds that are wrong. */
static uint64_t read_until(uint64_t stores, uint64_t *dice)
{
    uint64_t wrong = 0, cell;
    while (atomic_load(&shared->stores) < stores) {
        uint64_t number = rig_random(dice) % KEYS;
        static struct shd_entry got;
        if (rig_find(&rig, BLOCK, number, &got, &cell) >= 0) /* reading goes on over the writer's death */
            wrong += !rig_is_right(&got, BLOCK, number);
    }
    return wrong;
}

/* Every entry that a walk meets is right; returns how many there are. */
static int64_t walk(void)
{
    static struct shd_entry got;
    int64_t ret = 0;
    uint64_t at = 0, number, block;
    while (shd_table_next(rig.segment, &at, &got) == 1) {
        memcpy(&block, got.key, 8);
        memcpy(&number, got.key + 13, 8);
        CHECK((block == BLOCK || block == BLOCK + 1) && rig_is_right(&got, block, number));
        ret++;
    }
    return ret;
}

/* Let a writer run, kill it, start on what it left. Returns the number of entries found. */
static int64_t kill_once(void (*step)(uint32_t version, uint64_t throw), uint64_t *dice)
{
    uint64_t stores = atomic_load(&shared->stores);
    pid_t child = fork();
    if (child == 0)
        write_on(step);
    CHECK_EQ(read_until(stores + 1 + rig_random(dice) % 200, dice), 0);
    for (volatile uint64_t spin = rig_random(dice) % 20000; spin > 0; spin--)
        ;
    kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    int64_t before = walk(), found = rig_restart(&rig);
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    CHECK(found == before && found == walk());
    return found;
}

/* Killed while it evicts, moves pages and stays under its caps: every rule holds, every entry is right. */
static void test_killed_in_churn(void)
{
    uint64_t dice = 99;
    struct shd_table_use use;
    for (int i = 0; i < KILLS; i++)
        kill_once(churn, &dice);
    shd_writer_use(rig.writer, &use);
    CHECK(use.pages_used + 2 >= use.pages_total);
}

/* Killed while it replaces: every key is still there, in its old version or its new one. */
static void test_killed_in_replacement(void)
{
    uint64_t dice = 98;
    static struct shd_entry got;
    for (uint64_t number = 0; number < KEPT; number++)
        replace(1, number << 16);
    for (int i = 0; i < KILLS; i++) {
        CHECK_EQ(kill_once(replace, &dice), KEPT);
        for (uint64_t number = 0; number < KEPT; number++)
            CHECK(rig_find(&rig, BLOCK + 1, number, &got, NULL) > 0);
    }
}

/* A table on shared memory, with marks that the writer's process sees. */
static void rig_make(void)
{
    rig_init(&rig, 4 << 20, map_shared(rig_size(4 << 20)), caps, 2);
    for (int i = 0; i < 2; i++) {
        free(rig.marks[i]);
        rig.marks[i] = map_shared(shd_table_marks_size(&rig.geometry));
    }
    rig_restart(&rig);
}

int main(void)
{
    shared = map_shared(sizeof(*shared));
    atomic_store(&shared->dice, 4711);
    atomic_store(&shared->version, 1);
    rig_make();
    test_killed_in_churn();
    free(rig.writer);
    rig_make();
    test_killed_in_replacement();
    free(rig.writer);
    return check_done();
}
