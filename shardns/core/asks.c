/* Ask rings, as drawn in asks.h. Each function is called by one side only, and writes that side's memory only.
 * Indices that come from the other side's memory are masked before they are used. */
#include <assert.h>
#include "asks.h"

enum { PLACE_BITS = 12, ASK_MASK = SHD_ASKS - 1, WINDOW_MIN = 64 };

static_assert(sizeof(struct shd_ask) == 512 && offsetof(struct shd_ask, wire) + SHD_ASK_WIRE == 512, "an ask is 512 octets");
static_assert(offsetof(struct shd_ask, arrived_ns) == 8 && offsetof(struct shd_ask, local) == 24 && offsetof(struct shd_ask, peer) == 40, "ask");
static_assert(offsetof(struct shd_ask_ring, asks) % 64 == 0, "the ring's parts begin on cache lines");
static_assert(offsetof(struct shd_ask_ring, turns) == 64 && sizeof(((struct shd_ask_ring *)0)->turns) == 4 * SHD_ASKS, "a turn per place");
static_assert(sizeof(((struct shd_ask_ring *)0)->queue) == 4 * SHD_ASKS && sizeof(((struct shd_ask_ring *)0)->asks) == 512 * SHD_ASKS, "places");
static_assert(offsetof(struct shd_ask_done, done) == 64 && sizeof(struct shd_ask_done) == 64 + 4 * SHD_ASKS, "done");
static_assert(SHD_ASKS == 1 << PLACE_BITS, "a power of two, so that tail may wrap");

/* What the queue says of the ask that place `index` holds in its turn. Of a turn 20 bits are enough: an entry is overwritten 4,096 later. */
static uint32_t queue_word(uint32_t index, uint32_t turn)
{
    return turn << PLACE_BITS | index;
}

/* ---- worker ---- */

static bool place_is_free(const struct shd_ask_ring *ring, const struct shd_ask_done *done, uint32_t index)
{
    /* acquire: pairs with the release in shd_ask_finish; the place is filled anew only after its last reader was through with it */
    return atomic_load_explicit(&done->done[index], memory_order_acquire) == atomic_load_explicit(&ring->turns[index], memory_order_relaxed);
}

struct shd_ask *shd_ask_begin(struct shd_ask_ring *ring, const struct shd_ask_done *done, struct shd_ask_finder *finder, uint32_t *index)
{
    if (finder->window < WINDOW_MIN || finder->window > SHD_ASKS)
        finder->window = WINDOW_MIN;
    for (uint32_t looked = 0;;) {
        for (; looked < finder->window; looked++) {
            if (finder->next >= finder->window)
                finder->next = 0;
            uint32_t place = finder->next++;
            if (place_is_free(ring, done, place)) {
                *index = place;
                return &ring->asks[place];
            }
        }
        if (finder->window == SHD_ASKS)
            break;
        finder->next = finder->window; /* what lies before is known to be open */
        finder->window *= 2;
    }
    uint64_t full = atomic_load_explicit(&ring->full, memory_order_relaxed);
    atomic_store_explicit(&ring->full, full + 1, memory_order_relaxed);
    return NULL;
}

void shd_ask_publish(struct shd_ask_ring *ring, uint32_t index)
{
    index &= ASK_MASK;
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t turn = atomic_load_explicit(&ring->turns[index], memory_order_relaxed) + 1;
    atomic_store_explicit(&ring->queue[tail & ASK_MASK], queue_word(index, turn), memory_order_relaxed);
    atomic_store_explicit(&ring->turns[index], turn, memory_order_release); /* pairs with the acquire in place_is_open: the ask is filled */
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release); /* pairs with the acquire in shd_ask_take: queue and turn are written */
}

void shd_ask_set_wire(struct shd_ask *ask, const struct shd_query *query)
{
    if (query->packet_len <= SHD_ASK_WIRE) {
        memcpy(ask->wire, query->packet, query->packet_len);
        ask->wire_len = (uint16_t)query->packet_len;
        return;
    }
    /* Header, question and a bare OPT: at most 12 + 259 + 11 octets. What is lost (cookies, padding, TSIG) concerns no cache. */
    size_t at = SHD_HEADER_LEN + (size_t)query->question_len;
    memcpy(ask->wire, query->packet, at);
    shd_put16(ask->wire + 4, query->question_len != 0);
    shd_put16(ask->wire + 6, 0);
    shd_put16(ask->wire + 8, 0);
    shd_put16(ask->wire + 10, query->has_opt != 0);
    if (query->has_opt) {
        uint8_t *opt = ask->wire + at;
        opt[0] = 0;
        shd_put16(opt + 1, SHD_TYPE_OPT);
        shd_put16(opt + 3, query->udp_size);
        shd_put32(opt + 5, (uint32_t)query->edns_version << 16 | (query->dnssec_ok ? 0x8000u : 0));
        shd_put16(opt + 9, 0);
        at += SHD_OPT_LEN;
    }
    ask->wire_len = (uint16_t)at;
}

void shd_ask_adopt(struct shd_ask_ring *ring)
{
    uint32_t scans = atomic_load_explicit(&ring->scans, memory_order_relaxed);
    atomic_store_explicit(&ring->scans, scans + 1, memory_order_release); /* pairs with the upstream process' acquire before shd_ask_scan */
}

/* ---- upstream ---- */

static bool place_is_open(const struct shd_ask_ring *ring, const struct shd_ask_done *done, uint32_t index, uint32_t *turn)
{
    *turn = atomic_load_explicit(&ring->turns[index], memory_order_acquire); /* pairs with the release of turn in shd_ask_publish */
    return *turn != atomic_load_explicit(&done->done[index], memory_order_relaxed);
}

int shd_ask_take(const struct shd_ask_ring *ring, struct shd_ask_done *done, uint32_t *ret, int cap)
{
    uint32_t taken = atomic_load_explicit(&done->taken, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire); /* pairs with the release of tail in shd_ask_publish */
    int count = 0;
    if (tail - taken > SHD_ASKS) /* only a worker gone mad laps us; take what is left of its queue rather than its word for how long that is */
        taken = tail - SHD_ASKS;
    for (; taken != tail && count < cap; taken++) {
        uint32_t word = atomic_load_explicit(&ring->queue[taken & ASK_MASK], memory_order_relaxed), index = word & ASK_MASK, turn;
        if (place_is_open(ring, done, index, &turn) && word == queue_word(index, turn)) /* else a scan gave it, and it is finished */
            ret[count++] = index;
    }
    atomic_store_explicit(&done->taken, taken, memory_order_relaxed);
    return count;
}

int shd_ask_scan(const struct shd_ask_ring *ring, struct shd_ask_done *done, uint32_t *ret)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire), turn;
    int count = 0;
    atomic_store_explicit(&done->taken, tail, memory_order_relaxed);
    for (uint32_t index = 0; index < SHD_ASKS; index++)
        if (place_is_open(ring, done, index, &turn))
            ret[count++] = index;
    return count;
}

int shd_ask_waiting(const struct shd_ask_ring *ring, const struct shd_ask_done *done)
{
    return atomic_load_explicit(&ring->tail, memory_order_seq_cst) != atomic_load_explicit(&done->taken, memory_order_relaxed);
}

void shd_ask_finish(const struct shd_ask_ring *ring, struct shd_ask_done *done, uint32_t index)
{
    index &= ASK_MASK;
    uint32_t turn = atomic_load_explicit(&ring->turns[index], memory_order_relaxed);
    atomic_store_explicit(&done->done[index], turn, memory_order_release); /* pairs with the acquire in place_is_free: we have read the ask */
}
