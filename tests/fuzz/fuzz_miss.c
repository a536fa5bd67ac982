/* Any query, any upstream answer and any octets in an ask ring, through the upstream process's side of a miss.
 *
 * Input: flags (1: transport, which block, what may be stored, which stale rule), octets of the query (2), query, answer. The query also stands in a ring
 * whose other words are the answer's. What the first client gets on the miss, the next one gets from the table: the same
 * records under the same rcode. */
#include <stdlib.h>
#include "../core/table_rig.h"
#include "finish.h"
#include "reply.h"

#define EXPECT(claim) do { if (!(claim)) abort(); } while (0)

enum { BUDGET = SHD_TABLE_MIN, BLOCKS = 3, NOW_S = 1000 };
static const uint64_t now_ns = NOW_S * UINT64_C(1000000000);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rig rig;
static struct shd_finish finish;
static struct shd_answerer answerer;
static struct shd_slot_segment *slot;
static struct shd_taken taken[SHD_ASKS + 1024];
static uint8_t first[SHD_MESSAGE_MAX], second[SHD_MESSAGE_MAX];
static const uint8_t peer[28] = {2};

static void *zeroed(size_t octets)
{
    void *ret = calloc(1, octets);
    EXPECT(ret);
    return ret;
}

static struct shd_rules *rules_make(void)
{
    static const struct shd_ttl_rule ttl = {5, 3600, 5, 1800, 5, 1, 1};
    struct shd_block_rule blocks[BLOCKS] = {{.cache_id = 1, .has_cache = 1, .ttl = ttl}, {.ttl = ttl}, {.cache_id = 2, .has_cache = 1, .ttl = ttl}};
    blocks[2].stale_mode = SHD_STALE_VERIFY;
    blocks[2].stale_s = 3600;
    blocks[2].facets = SHD_FACET_DO | SHD_FACET_CD;
    blocks[0].facets = SHD_FACET_DO | SHD_FACET_CD;
    struct shd_rules *rules = shd_rules_create(blocks, BLOCKS);
    for (uint16_t listener = 0; listener < BLOCKS; listener++)
        EXPECT(rules && shd_rules_add_zone(rules, listener, (const uint8_t *)"", 1, listener, listener) == 0);
    return rules;
}

static void setup(void)
{
    static uint32_t caps[BLOCKS];
    rig_init(&rig, BUDGET, aligned_alloc(4096, rig_size(BUDGET)), NULL, 0);
    memset(rig.segment, 0, rig_size(BUDGET));
    shd_table_init(rig.segment, &rig.geometry, RIG_SEED, RIG_BOOT);
    rig_restart(&rig);
    slot = zeroed(shd_slot_segment_size(&rig.geometry));
    finish.rules = answerer.rules = rules_make();
    finish.table = answerer.table = rig.segment;
    finish.writer = rig.writer;
    finish.caps = caps;
    memset(caps, 0xff, sizeof caps);
    finish.slots[0] = slot;
    finish.slot_count = finish.worker_count = 1;
    finish.own = zeroed(shd_upstream_segment_size());
    finish.entry = zeroed(sizeof *finish.entry);
    finish.udp_max = 4096;
    memset(finish.fds, 0xff, sizeof finish.fds);
    EXPECT(shd_finish_create(&finish) == 0);
    answerer.entry = zeroed(sizeof *answerer.entry);
    answerer.marks = slot->marks;
    answerer.rows = zeroed(SHD_ROWS_MAX * sizeof *answerer.rows);
    answerer.process = &slot->process;
}

/* A ring with one ask that is the query, and words that are anything. Every ask is taken or free afterwards, none twice. */
static void run_ring(const uint8_t *query, size_t query_len, const uint8_t *noise, size_t noise_len)
{
    struct shd_ask *ask = &slot->ring.asks[7];
    size_t words = noise_len / 4;
    ask->peer_len = 16;
    ask->kind = noise_len ? noise[0] & 3 : SHD_ASK_CLIENT;
    ask->listener = (uint16_t)(noise_len % BLOCKS);
    ask->wire_len = (uint16_t)query_len;
    ask->arrived_ns = now_ns;
    memcpy(ask->wire, query, query_len < SHD_ASK_WIRE ? query_len : SHD_ASK_WIRE);
    shd_ask_publish(&slot->ring, 7);
    uint32_t tail = atomic_load(&slot->ring.tail);
    for (size_t i = 0; i < words && i < 64; i++) {
        uint32_t word;
        memcpy(&word, noise + 4 * i, 4);
        if (word >> 31) /* else hardly any would name a place in its turn */
            word = word % SHD_ASKS | atomic_load(&slot->ring.turns[word % SHD_ASKS]) << 12;
        atomic_store(&slot->ring.queue[(tail - i) % SHD_ASKS], word);
    }
    if (words > 64)
        memcpy((uint8_t *)&slot->ring.tail, noise, 4);
    if (words > 128)
        shd_ask_adopt(&slot->ring);
    int more, count = 0;
    do {
        count = shd_take(&finish, now_ns, taken, SHD_ASKS + 1024, &more);
        EXPECT(count >= 0 && count <= SHD_ASKS + 1024);
        for (int i = 0; i < count; i++) {
            EXPECT(taken[i].waiter < SHD_ASKS && taken[i].query_len <= sizeof taken[i].query && taken[i].block < BLOCKS);
            shd_finish_error(&finish, &taken[i].waiter, 1, SHD_RCODE_SERVFAIL, 0, now_ns);
        }
        shd_finish_flush(&finish);
    } while (more && count > 0);
    EXPECT(!finish.in_hand[7]);
}

/* The message as records under a code: what must not differ between miss and hit. */
static bool same_records(const struct shd_query *query, const uint8_t *a, int a_len, const uint8_t *b, int b_len)
{
    static struct shd_entry one, other;
    int err = shd_entry_pack(a, (size_t)a_len, query, &one);
    if (err == SHD_ESPACE)
        return true;                     /* as in fuzz_entry.c */
    EXPECT(err == 0 && shd_entry_pack(b, (size_t)b_len, query, &other) == 0);
    return one.head.rcode == other.head.rcode && one.head.place_count == other.head.place_count && one.head.wire_len == other.head.wire_len &&
           one.head.answer_count == other.head.answer_count && one.head.authority_count == other.head.authority_count;
}

static void run_wire(uint8_t flags, const uint8_t *query, size_t query_len, const uint8_t *answer, size_t answer_len)
{
    uint16_t listener = flags % BLOCKS;
    struct shd_query parsed;
    struct shd_verdict verdict;
    int err = shd_query_parse(query, query_len, &parsed);
    int len = shd_take_wire(&finish, query, query_len, listener, 0, SHD_ASK_CLIENT, peer, 16, now_ns, now_ns, taken, first);
    EXPECT(err == 0 || len == SHD_EDROP);
    if (len != 0)
        return;                          /* no query, or stored by an input before */
    int kind = shd_finish_accept(&finish, answer, answer_len, taken[0].flight, taken[0].block, flags >> 4 & 7, now_ns);
    EXPECT(kind >= 0 || kind == SHD_EMALFORMED || kind == SHD_EMISMATCH || kind == SHD_ESPACE);
    if (kind < 0)
        return;
    len = shd_finish_wire(&finish, query, query_len, listener, 0, peer, 16, SHD_FROM_UPSTREAM, -1, SHD_BY_FORWARD, now_ns, now_ns, first);
    EXPECT(len >= 12 && shd_get16(first) == parsed.id);
    struct shd_query again;
    shd_answer(&answerer, query, query_len, listener, SHD_TCP, SHD_IPV4, now_ns, second, sizeof second, &again, &verdict);
    if (verdict.action == SHD_REPLY) {
        EXPECT(kind != SHD_KIND_NONE && (flags >> 4 & 7) && (parsed.flags & SHD_FLAG_RD));
        EXPECT(same_records(&parsed, first, len, second, (int)verdict.reply_len));
        EXPECT(shd_writer_remove(rig.writer, taken[0].flight, 13 + (size_t)parsed.name_len, shd_hash(((struct shd_table_header *)rig.segment)->seed,
               taken[0].flight, 13 + (size_t)parsed.name_len)) == 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!finish.rules)
        setup();
    if (size < 3 || (size_t)shd_get16(data + 1) + 3 > size)
        return 0;
    size_t query_len = shd_get16(data + 1);
    const uint8_t *query = data + 3, *answer = query + query_len;
    run_wire(data[0], query, query_len, answer, size - 3 - query_len);
    run_ring(query, query_len, answer, size - 3 - query_len);
    return 0;
}
