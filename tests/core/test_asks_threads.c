/* A worker and the upstream process on one ring at once: every ask arrives whole, exactly once, and in order. */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include "asks.h"
#include "check.h"

enum { COUNT = 200000 };

static struct shd_ask_ring *ring;
static struct shd_ask_done *done;

static uint64_t turned_away;

static void *work(void *argument)
{
    struct shd_ask_finder finder = {0, 0};
    (void)argument;
    for (uint64_t number = 0; number < COUNT;) {
        uint32_t index;
        struct shd_ask *ask = shd_ask_begin(ring, done, &finder, &index);
        if (!ask) {
            turned_away++;
            sched_yield();
            continue;
        }
        ask->arrived_ns = number;
        ask->wire_len = (uint16_t)(number % SHD_ASK_WIRE);
        for (uint16_t i = 0; i < ask->wire_len; i++)
            ask->wire[i] = (uint8_t)(number + i);
        shd_ask_publish(ring, index);
        number++;
    }
    return NULL;
}

static int ask_is_right(const struct shd_ask *ask, uint64_t number)
{
    if (ask->arrived_ns != number || ask->wire_len != number % SHD_ASK_WIRE)
        return 0;
    for (uint16_t i = 0; i < ask->wire_len; i++)
        if (ask->wire[i] != (uint8_t)(number + i))
            return 0;
    return 1;
}

/* Many asks are open at once (each is finished late), the counters wrap on the way, and nothing is lost or met twice. */
static void test_stream(void)
{
    enum { LATE = 700 };
    static uint32_t taken[64], open[LATE];
    uint64_t out = 0, finished = 0;
    pthread_t worker;
    pthread_create(&worker, NULL, work, NULL);
    while (out < COUNT) {
        int count = shd_ask_take(ring, done, taken, 64);
        for (int i = 0; i < count; i++, out++) {
            CHECK(ask_is_right(&ring->asks[taken[i]], out));
            if (out >= LATE) {
                shd_ask_finish(ring, done, open[out % LATE]);
                finished++;
            }
            open[out % LATE] = taken[i];
        }
        if (count == 0)
            sched_yield();
    }
    pthread_join(worker, NULL);
    CHECK_EQ(shd_ask_waiting(ring, done), 0);
    static uint32_t scanned[SHD_ASKS];
    CHECK_EQ(shd_ask_scan(ring, done, scanned), COUNT - (int)finished);
    CHECK_EQ(atomic_load(&ring->full), turned_away);
}

/* Scans at any moment (as for worker after worker that starts anew) lose nothing: with what is in hand left out, each ask is met once. */
static void test_scans(void)
{
    static uint32_t taken[SHD_ASKS];
    static uint8_t met[COUNT];
    uint64_t all = 0, dice = 3;
    pthread_t worker;
    pthread_create(&worker, NULL, work, NULL);
    while (all < COUNT) {
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        int count = dice >> 62 ? shd_ask_take(ring, done, taken, 64) : shd_ask_scan(ring, done, taken);
        for (int i = 0; i < count; i++) {
            const struct shd_ask *ask = &ring->asks[taken[i]];
            CHECK(ask->arrived_ns < COUNT && ask_is_right(ask, ask->arrived_ns) && !met[ask->arrived_ns]);
            met[ask->arrived_ns % COUNT] = 1;
            shd_ask_finish(ring, done, taken[i]);
            all++;
        }
    }
    pthread_join(worker, NULL);
    CHECK_EQ(shd_ask_scan(ring, done, taken), 0);
}

static void ring_make(uint32_t start)
{
    free(ring);
    free(done);
    ring = calloc(1, sizeof(*ring));
    done = calloc(1, sizeof(*done));
    ring->tail = done->taken = start;
    for (int i = 0; i < SHD_ASKS; i++)
        ring->turns[i] = done->done[i] = start;
    turned_away = 0;
}

int main(void)
{
    ring_make(0u - COUNT / 2);
    test_stream();
    ring_make(0u - 20);
    test_scans();
    free(ring);
    free(done);
    return check_done();
}
