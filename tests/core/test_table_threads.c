/* One writer and several readers at once: a reader gets a whole right entry or none, and never misses one that is only being replaced. */
#include <pthread.h>
#include <time.h>
#include "check.h"
#include "table_rig.h"

enum { READERS = 3, KEYS = 300, BLOCK = 9 };

static struct rig rig;
static atomic_int stopping;

struct reader {
    pthread_t thread;
    uint64_t dice, found, missed, torn, wrong, keys;
    struct shd_entry entry;
};

static struct reader readers[READERS];

static void *read_on(void *argument)
{
    struct reader *reader = argument;
    const struct shd_table_header *header = rig.segment;
    uint64_t cell, at = 0;
    while (!atomic_load(&stopping)) {
        uint64_t number = rig_random(&reader->dice) % reader->keys;
        int got = rig_find(&rig, BLOCK, number, &reader->entry, &cell);
        if (got >= 0) {
            reader->found++;
            reader->wrong += !rig_is_right(&reader->entry, BLOCK, number);
            shd_table_mark(rig.marks[reader - readers > 0], cell, atomic_load(&header->epoch), 1, 60);
        } else {
            reader->missed += got == SHD_EMISS;
            reader->torn += got == SHD_ETORN;
        }
        if (number % 64)
            continue;
        if (shd_table_next(rig.segment, &at, &reader->entry) == 1) {
            memcpy(&number, reader->entry.key + 13, 8);
            reader->wrong += !rig_is_right(&reader->entry, BLOCK, number);
        } else {
            at = 0;
        }
    }
    return NULL;
}

static void readers_start(uint64_t keys)
{
    atomic_store(&stopping, 0);
    for (int i = 0; i < READERS; i++) {
        memset(&readers[i], 0, sizeof(readers[i]));
        readers[i].dice = 77 + (uint64_t)i;
        readers[i].keys = keys;
        pthread_create(&readers[i].thread, NULL, read_on, &readers[i]);
    }
}

/* Returns how many finds there were; the sums of misses and torn reads in the arguments. */
static uint64_t readers_stop(uint64_t *missed, uint64_t *torn)
{
    uint64_t found = 0;
    *missed = *torn = 0;
    atomic_store(&stopping, 1);
    for (int i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        CHECK_EQ(readers[i].wrong, 0);
        found += readers[i].found;
        *missed += readers[i].missed;
        *torn += readers[i].torn;
    }
    return found;
}

static double now_s(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct shd_entry entry;

/* While every key is stored again and again, in any size, no reader misses one. */
static void test_replaced_is_never_missed(void)
{
    uint64_t missed, torn, dice = 5;
    rig_init(&rig, 16 << 20, calloc(1, rig_size(16 << 20)), NULL, 0);
    for (uint64_t number = 0; number < KEYS; number++) {
        rig_entry(BLOCK, number, 0, 100, 2, &entry);
        rig_store(&rig, &entry, 0, 1000);
    }
    readers_start(KEYS);
    double end = now_s() + 1.5;
    for (uint32_t version = 1; now_s() < end; version++) {
        uint64_t throw = rig_random(&dice);
        rig_entry(BLOCK, throw % KEYS, version, 30 + (uint32_t)(throw >> 32) % (version % 16 ? 200 : 3000), 3, &entry);
        CHECK_EQ(rig_store(&rig, &entry, 0, 1000), 0);
    }
    uint64_t found = readers_stop(&missed, &torn);
    CHECK(found > 1000);
    CHECK_EQ(missed, 0);
    CHECK(torn <= found / 1000);
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    free(rig.segment);
    rig_deinit(&rig);
}

/* While entries come and go and pages change class under them, readers get nothing but right entries. */
static void test_churn(void)
{
    uint64_t missed, torn, dice = 6;
    struct shd_cap caps[] = {{.cache_id = BLOCK, .success_cap = 6000}};
    uint32_t sizes[] = {30, 90, 200, 3000, 9000, 60000};
    rig_init(&rig, 4 << 20, calloc(1, rig_size(4 << 20)), caps, 1);
    readers_start(8000);
    double end = now_s() + 2.5;
    for (uint32_t version = 1; now_s() < end; version++) {
        uint64_t throw = rig_random(&dice);
        uint32_t phase = version / 4096 % 6; /* one size rules, so that its class takes pages from the others */
        uint32_t size = sizes[throw % 4 ? phase : (throw >> 8) % 6];
        rig_entry(BLOCK, (throw >> 16) % 8000, version, size, 3, &entry);
        CHECK_EQ(rig_store(&rig, &entry, 0, version / 8), 0);
        if (throw % 10 == 0)
            rig_remove(&rig, BLOCK, (throw >> 20) % 8000);
    }
    uint64_t found = readers_stop(&missed, &torn);
    CHECK(found > 1000);
    CHECK_EQ(shd_writer_check(rig.writer), 0);
    free(rig.segment);
    rig_deinit(&rig);
}

int main(void)
{
    test_replaced_is_never_missed();
    test_churn();
    return check_done();
}
