/* Ask rings: every ask comes out once, in order, whatever was killed in between. */
#include <stdlib.h>
#include "asks.h"
#include "check.h"
#include "message.h"

struct rig {
    struct shd_ask_ring *ring;
    struct shd_ask_done *done;
    struct shd_ask_finder finder;
};

/* A ring whose turns and tail have been counted up to start. */
static struct rig rig_make(uint32_t start)
{
    struct rig rig = {calloc(1, sizeof(struct shd_ask_ring)), calloc(1, sizeof(struct shd_ask_done)), {0, 0}};
    rig.ring->tail = rig.done->taken = start;
    for (int i = 0; i < SHD_ASKS; i++)
        rig.ring->turns[i] = rig.done->done[i] = start;
    return rig;
}

static void rig_drop(struct rig *rig)
{
    free(rig->ring);
    free(rig->done);
}

/* Put an ask that carries number; its place, or -1 when the ring is full. */
static int put(struct rig *rig, uint64_t number)
{
    uint32_t index;
    struct shd_ask *ask = shd_ask_begin(rig->ring, rig->done, &rig->finder, &index);
    if (!ask)
        return -1;
    ask->arrived_ns = number;
    shd_ask_publish(rig->ring, index);
    return (int)index;
}

static const uint32_t STARTS[] = {0, 1, 0x7fffffffu, 0xfffffff0u, 0xffffffffu, 0u - SHD_ASKS};
#define FOR_STARTS(start) for (size_t at_ = 0; at_ < sizeof(STARTS) / sizeof(STARTS[0]) && ((start) = STARTS[at_], 1); at_++)

/* Asks come out in the order in which they went in, also where the counters wrap; a place is free again once its ask is finished. */
static void test_order(void)
{
    uint32_t start, taken[64];
    FOR_STARTS(start) {
        struct rig rig = rig_make(start);
        uint64_t in = 0, out = 0, dice = 12345;
        while (out < 20000) {
            dice = dice * 6364136223846793005u + 1442695040888963407u;
            for (int n = (int)(dice >> 60) * 5; n > 0 && in - out < SHD_ASKS; n--)
                CHECK(put(&rig, in++) >= 0);
            CHECK_EQ(shd_ask_waiting(rig.ring, rig.done), in != out);
            int count = shd_ask_take(rig.ring, rig.done, taken, (int)(dice >> 40) % 64 + 1);
            for (int i = 0; i < count; i++) {
                CHECK_EQ(rig.ring->asks[taken[i]].arrived_ns, out);
                out++;
                shd_ask_finish(rig.ring, rig.done, taken[i]);
            }
        }
        rig_drop(&rig);
    }
}

/* A ring with every place open takes no more, counts what it turned away, and takes again when one place is free. */
static void test_full(void)
{
    struct rig rig = rig_make(0xfffffff0u);
    uint32_t taken[SHD_ASKS];
    for (uint64_t i = 0; i < SHD_ASKS; i++)
        CHECK(put(&rig, i) >= 0);
    CHECK_EQ(put(&rig, 0), -1);
    CHECK_EQ(put(&rig, 0), -1);
    CHECK_EQ(rig.ring->full, 2);
    CHECK_EQ(shd_ask_take(rig.ring, rig.done, taken, SHD_ASKS), SHD_ASKS);
    CHECK_EQ(put(&rig, 0), -1);
    shd_ask_finish(rig.ring, rig.done, 77);
    CHECK_EQ(put(&rig, 0), 77);
    CHECK_EQ(put(&rig, 0), -1);
    rig_drop(&rig);
}

/* Few open asks touch few places; a place that was begun and not published is given again. */
static void test_window(void)
{
    struct rig rig = rig_make(0);
    uint32_t taken[64], index, again;
    for (uint64_t i = 0; i < 10000; i++) {
        CHECK(put(&rig, i) < 64);
        if (i % 60 == 59)
            for (int n = shd_ask_take(rig.ring, rig.done, taken, 64); n > 0; n--)
                shd_ask_finish(rig.ring, rig.done, taken[n - 1]);
    }
    CHECK_EQ(rig.finder.window, 64);
    for (int i = 0; i < 200; i++)
        CHECK(put(&rig, 0) < 256);
    CHECK_EQ(rig.finder.window, 256);
    CHECK(shd_ask_begin(rig.ring, rig.done, &rig.finder, &index) != NULL);
    CHECK_EQ(rig.ring->turns[index], rig.done->done[index]);
    for (int i = 0; i < SHD_ASKS; i++)
        if (shd_ask_begin(rig.ring, rig.done, &rig.finder, &again) && again == index)
            break;
    CHECK_EQ(again, index);
    rig_drop(&rig);
}

/* A new upstream process finds each open ask exactly once, taken before or not, and nothing that was finished. */
static void test_upstream_killed(void)
{
    uint32_t start, taken[SHD_ASKS];
    static uint8_t met[SHD_ASKS];
    FOR_STARTS(start) {
        struct rig rig = rig_make(start);
        for (uint64_t i = 0; i < 300; i++)
            put(&rig, i);
        CHECK_EQ(shd_ask_take(rig.ring, rig.done, taken, 200), 200);
        for (int i = 0; i < 150; i++)
            shd_ask_finish(rig.ring, rig.done, taken[i]);
        int count = shd_ask_scan(rig.ring, rig.done, taken);
        CHECK_EQ(count, 150);
        memset(met, 0, sizeof(met));
        for (int i = 0; i < count; i++) {
            CHECK(rig.ring->asks[taken[i]].arrived_ns >= 150 && !met[taken[i]]);
            met[taken[i]] = 1;
        }
        CHECK_EQ(shd_ask_take(rig.ring, rig.done, taken + 1000, 64), 0);
        CHECK_EQ(shd_ask_waiting(rig.ring, rig.done), 0);
        for (int i = 0; i < count; i++)
            shd_ask_finish(rig.ring, rig.done, taken[i]);
        CHECK_EQ(shd_ask_scan(rig.ring, rig.done, taken), 0);
        rig_drop(&rig);
    }
}

/* A worker killed between the two releases of publish leaves an ask that no queue names; its successor's call makes it found. The place
 * the victim's queue entry was in is written anew. */
static void test_worker_killed(void)
{
    uint32_t start, taken[SHD_ASKS], index;
    FOR_STARTS(start) {
        struct rig rig = rig_make(start);
        for (uint64_t i = 0; i < 10; i++)
            put(&rig, i);
        CHECK_EQ(shd_ask_take(rig.ring, rig.done, taken, 64), 10);
        struct shd_ask *ask = shd_ask_begin(rig.ring, rig.done, &rig.finder, &index);
        ask->arrived_ns = 10;
        rig.ring->queue[rig.ring->tail % SHD_ASKS] = index | (rig.ring->turns[index] + 1) << 12;
        rig.ring->turns[index]++;
        CHECK_EQ(shd_ask_waiting(rig.ring, rig.done), 0); /* killed here */
        rig.finder = (struct shd_ask_finder){0, 0};
        uint32_t scans = rig.ring->scans;
        shd_ask_adopt(rig.ring);
        CHECK(rig.ring->scans != scans);
        CHECK(put(&rig, 11) != (int)index);
        int count = shd_ask_scan(rig.ring, rig.done, taken), found = 0;
        for (int i = 0; i < count; i++)
            found += rig.ring->asks[taken[i]].arrived_ns == 10;
        CHECK_EQ(count, 12);
        CHECK_EQ(found, 1);
        rig_drop(&rig);
    }
}

/* A worker killed before the first release has put nothing: its place is free, and the queue is as it was. */
static void test_worker_killed_early(void)
{
    struct rig rig = rig_make(7);
    uint32_t taken[SHD_ASKS], index;
    shd_ask_begin(rig.ring, rig.done, &rig.finder, &index);
    rig.ring->queue[rig.ring->tail % SHD_ASKS] = index | (rig.ring->turns[index] + 1) << 12;
    shd_ask_adopt(rig.ring);
    CHECK_EQ(shd_ask_scan(rig.ring, rig.done, taken), 0);
    CHECK(put(&rig, 1) >= 0);
    CHECK_EQ(shd_ask_take(rig.ring, rig.done, taken, 64), 1);
    rig_drop(&rig);
}

/* A scan may find an ask between the two releases of publish. It can be finished, and its place filled anew, before its queue entry is
 * published: then two entries name one place, and the ask in it comes once. */
static void test_scanned_while_published(void)
{
    uint32_t start, taken[64], index;
    FOR_STARTS(start) {
        struct rig rig = rig_make(start);
        shd_ask_begin(rig.ring, rig.done, &rig.finder, &index);
        uint32_t tail = rig.ring->tail;
        shd_ask_publish(rig.ring, index);
        rig.ring->tail = tail; /* the second release has not come yet */
        CHECK_EQ(shd_ask_scan(rig.ring, rig.done, taken), 1);
        CHECK_EQ(taken[0], index);
        shd_ask_finish(rig.ring, rig.done, index);
        rig.ring->tail = tail + 1;
        rig.finder.next = index;
        CHECK_EQ(put(&rig, 5), (int)index);
        CHECK_EQ(shd_ask_take(rig.ring, rig.done, taken, 64), 1);
        CHECK_EQ(taken[0], index);
        rig_drop(&rig);
    }
}

/* Whatever a worker's memory says, indices stay in range and a take ends. */
static void test_mad_worker(void)
{
    struct rig rig = rig_make(0);
    static uint32_t taken[SHD_ASKS];
    rig.ring->tail = 0x80000000u;
    for (uint32_t i = 0; i < SHD_ASKS; i++)
        rig.ring->turns[i] = i % 3;
    for (uint32_t i = 0; i < SHD_ASKS; i++)
        rig.ring->queue[i] = i % 2 ? 0xfffff000u + i * 7 : i % 1000 | (i % 1000 % 3) << 12; /* none's, or one that comes several times */
    int all = 0;
    for (int count; (count = shd_ask_take(rig.ring, rig.done, taken, 100)) > 0; all += count)
        for (int i = 0; i < count; i++)
            CHECK(taken[i] < SHD_ASKS);
    CHECK(all > 0 && all <= SHD_ASKS);
    CHECK_EQ(shd_ask_waiting(rig.ring, rig.done), 0);
    rig_drop(&rig);
}

/* ---- the wire ---- */

static struct message message;
static struct shd_query query;
static struct shd_ask ask;

static void query_build(int option_len, const char *name)
{
    message_begin(&message, 0xbeef, SHD_FLAG_RD | SHD_FLAG_CD);
    put_text_name(&message, name);
    put_u16(&message, 1);
    put_u16(&message, 1);
    if (option_len >= 0) {
        put_u8(&message, 0);
        put_u16(&message, SHD_TYPE_OPT);
        put_u16(&message, 1400);
        put_u32(&message, 0x8000);
        put_u16(&message, (unsigned)option_len);
        for (int i = 0; i < option_len; i++)
            put_u8(&message, i == 1 ? 12 : i == 3 ? (unsigned)(option_len - 4) & 0xff : i == 2 ? (unsigned)(option_len - 4) >> 8 : 0);
    }
    message_counts(&message, 1, 0, 0, option_len >= 0);
}

/* A query that fits is kept as it came; a longer one as header, question and a bare OPT that says the same. */
static void test_wire(void)
{
    int lengths[] = {-1, 0, 100, 372, 373, 5000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        query_build(lengths[i], "WwW.Example.org");
        CHECK_EQ(shd_query_parse(message.wire, message.len, &query), 0);
        shd_ask_set_wire(&ask, &query);
        CHECK(ask.wire_len <= SHD_ASK_WIRE);
        if (message.len <= SHD_ASK_WIRE)
            CHECK(ask.wire_len == message.len && memcmp(ask.wire, message.wire, message.len) == 0);
        struct shd_query kept;
        CHECK_EQ(shd_query_parse(ask.wire, ask.wire_len, &kept), 0);
        CHECK_EQ(kept.id, 0xbeef);
        CHECK_EQ(kept.flags, query.flags);
        CHECK_EQ(kept.has_opt, lengths[i] >= 0);
        CHECK_EQ(kept.udp_size, query.udp_size);
        CHECK_EQ(kept.dnssec_ok, query.dnssec_ok);
        CHECK(memcmp(ask.wire + 12, message.wire + 12, query.question_len) == 0);
    }
}

int main(void)
{
    test_order();
    test_full();
    test_window();
    test_upstream_killed();
    test_worker_killed();
    test_worker_killed_early();
    test_scanned_while_published();
    test_mad_worker();
    test_wire();
    return check_done();
}
