/* Query in, verdict out: the order of the steps is design.md's "way of a query". */
#include "answer.h"

#include "hash.h"
#include "reply.h"

static void refuse(const struct shd_query *query, int rcode, uint8_t *out, size_t cap, struct shd_verdict *ret)
{
    if (cap < SHD_HEADER_LEN + SHD_NAME_MAX + 4 + SHD_OPT_LEN) {
        ret->action = SHD_DROP;
        return;
    }
    ret->action = SHD_REPLY;
    ret->rcode = (uint16_t)rcode;
    ret->reply_len = (uint32_t)shd_reply_error(query, rcode, out);
}

/* A packet that is not a query we answer: an error, or silence. Not counted per zone: it has none. */
static void reject(struct shd_answerer *answerer, int error, const struct shd_query *query, uint8_t *out, size_t cap, struct shd_verdict *ret)
{
    if (error == SHD_EDROP) {
        answerer->process->packets_dropped++;
        return;
    }
    answerer->process->packets_malformed++;
    int rcode = error == SHD_ENOTIMP ? SHD_RCODE_NOTIMP : error == SHD_EBADVERS ? SHD_RCODE_BADVERS : SHD_RCODE_FORMERR;
    refuse(query, rcode, out, cap, ret);
}

/* Whether a refresh may be asked for this cell now: once a second per worker, however many clients come. */
static bool refresh_due(struct shd_mark *mark, uint32_t now_s)
{
    const uint32_t asked = 0x80000000u;
    uint32_t last = atomic_load_explicit(&mark->hit_s, memory_order_relaxed);
    return last != (asked | (now_s & ~asked));
}

static void note_hit(struct shd_answerer *answerer, const struct shd_block_rule *rule, uint64_t cell, uint32_t now_s, bool refresh)
{
    uint32_t epoch = atomic_load_explicit(&((const struct shd_table_header *)answerer->table)->epoch, memory_order_relaxed);
    struct shd_mark *mark = &answerer->marks[cell];
    bool asked = !refresh_due(mark, now_s);
    shd_table_mark(answerer->marks, cell, epoch, now_s & 0x7fffffffu, rule->prefetch_gap_s);
    if (asked || refresh)
        atomic_store_explicit(&mark->hit_s, 0x80000000u | now_s, memory_order_relaxed);
}

struct freshness {
    uint32_t ttl_s;        /* to show; 0 when stale */
    bool usable, stale;
};

static struct freshness age_of(const struct shd_entry_head *head, const struct shd_block_rule *rule, uint64_t now_ms)
{
    uint64_t age_s = now_ms > head->stored_ms ? (now_ms - head->stored_ms) / 1000 : 0;
    if (age_s < head->ttl_s)
        return (struct freshness){.ttl_s = rule->keep_ttl ? head->ttl_s : head->ttl_s - (uint32_t)age_s, .usable = true};
    bool served = rule->stale_mode == SHD_STALE_IMMEDIATE && head->kind != SHD_KIND_FAILURE && age_s - head->ttl_s < rule->stale_s;
    return (struct freshness){.ttl_s = 0, .usable = served, .stale = true};
}

/* CoreDNS 1.13.2 plugin/cache/cache.go shouldPrefetch: the threshold is a share of the whole TTL, rounded up. The upstream
 * process adds up the workers' hits before it acts. */
static bool prefetch_due(const struct shd_block_rule *rule, const struct shd_entry_head *head, uint64_t now_ms)
{
    if (!rule->prefetch_hits || head->kind == SHD_KIND_FAILURE)
        return false;
    uint64_t end_ms = head->stored_ms + (uint64_t)head->ttl_s * 1000;
    uint64_t window_s = ((uint64_t)head->ttl_s * rule->prefetch_percent + 99) / 100;
    return end_ms <= now_ms + window_s * 1000;
}

static uint8_t log_class(const struct shd_entry_head *head)
{
    if (head->kind == SHD_KIND_DENIAL)
        return SHD_LOG_DENIAL;
    return head->rcode == SHD_RCODE_NOERROR ? SHD_LOG_SUCCESS : SHD_LOG_ERROR;
}

static void answer_hit(struct shd_answerer *answerer, const struct shd_query *query, const struct shd_block_rule *rule, uint64_t cell,
                       uint64_t now_ns, size_t limit, uint8_t *out, struct shd_verdict *ret)
{
    const struct shd_entry_head *head = &answerer->entry->head;
    uint64_t now_ms = now_ns / 1000000;
    struct freshness fresh = age_of(head, rule, now_ms);
    if (!fresh.usable)
        return;
    int length = shd_reply_entry(query, answerer->entry, fresh.ttl_s, SHD_REPLY_HIT, out, limit);
    if (length < 0)
        return;
    uint32_t now_s = (uint32_t)(now_ms / 1000) & 0x7fffffffu;
    if ((fresh.stale || prefetch_due(rule, head, now_ms)) && refresh_due(&answerer->marks[cell], now_s))
        ret->ask_kind = fresh.stale ? SHD_ASK_REFRESH : SHD_ASK_PREFETCH;
    note_hit(answerer, rule, cell, now_s, ret->ask_kind != 0);
    ret->action = SHD_REPLY;
    ret->rcode = head->rcode;
    ret->reply_len = (uint32_t)length;
    ret->plugin = SHD_BY_CACHE;
    ret->logged = rule->log_classes & log_class(head);
    struct shd_row *row = &answerer->rows[ret->row];
    row->cache_requests++;
    row->cache_hits[head->kind != SHD_KIND_SUCCESS]++;
    row->cache_served_stale += fresh.stale;
}

void shd_answer_begin(const struct shd_answerer *answerer, const uint8_t *packet, size_t len, uint16_t listener, int proto, int family,
                      struct shd_query *query, struct shd_lookup *lookup, struct shd_verdict *ret)
{
    *ret = (struct shd_verdict){.action = SHD_DROP, .block = -1, .row = UINT32_MAX};
    lookup->rule = NULL;
    lookup->error = shd_query_parse(packet, len, query);
    if (lookup->error < 0)
        return;
    int block = shd_rules_match(answerer->rules, query, listener, &ret->row);
    if (block < 0)
        return;
    ret->block = block;
    const struct shd_block_rule *rule = shd_rules_block(answerer->rules, (uint32_t)block);
    if (!rule->has_cache)
        return;
    uint8_t facets = (uint8_t)((query->dnssec_ok ? SHD_FACET_DO : 0) | (query->flags & SHD_FLAG_CD ? SHD_FACET_CD : 0) |
                               (family == SHD_IPV6 ? SHD_FACET_FAMILY6 : 0) | (proto == SHD_TCP ? SHD_FACET_TCP : 0));
    const struct shd_table_header *table = answerer->table;
    lookup->rule = rule;
    lookup->key_len = (uint32_t)shd_key_write(query, rule->cache_id, facets & rule->facets, lookup->key);
    lookup->hash = shd_hash(table->seed, lookup->key, lookup->key_len);
}

void shd_answer_fetch(const struct shd_answerer *answerer, const struct shd_lookup *lookups, unsigned count)
{
    /* Nothing else in these loops: a processor waits for a page's translation even here, but for those of a few turns at once. */
    for (unsigned i = 0; i < count; i++)
        if (lookups[i].rule)
            shd_table_fetch_bucket(answerer->table, lookups[i].hash);
    for (unsigned i = 0; i < count; i++)
        if (lookups[i].rule)
            shd_table_fetch_cell(answerer->table, answerer->marks, lookups[i].hash);
}

void shd_answer_end(struct shd_answerer *answerer, const struct shd_query *query, const struct shd_lookup *lookup, int proto, uint64_t now_ns,
                    uint8_t *out, size_t cap, struct shd_verdict *ret)
{
    if (lookup->error < 0) {
        reject(answerer, lookup->error, query, out, cap, ret);
        return;
    }
    if (ret->block < 0) {
        refuse(query, SHD_RCODE_REFUSED, out, cap, ret);
        return;
    }
    ret->action = SHD_ASK;
    if (!lookup->rule)
        return;
    uint64_t cell = 0;
    int found = shd_table_find(answerer->table, lookup->key, lookup->key_len, lookup->hash, answerer->entry, &cell);
    if (found == SHD_ETORN)
        answerer->process->torn_reads++;
    if (found < 0)
        return;
    size_t limit = proto == SHD_TCP ? SHD_MESSAGE_MAX : query->udp_size < answerer->udp_max ? query->udp_size : answerer->udp_max;
    answer_hit(answerer, query, lookup->rule, cell, now_ns, limit < cap ? limit : cap, out, ret);
}

void shd_answer(struct shd_answerer *answerer, const uint8_t *packet, size_t len, uint16_t listener, int proto, int family,
                uint64_t now_ns, uint8_t *out, size_t cap, struct shd_query *query, struct shd_verdict *ret)
{
    struct shd_lookup lookup;
    shd_answer_begin(answerer, packet, len, listener, proto, family, query, &lookup, ret);
    shd_answer_end(answerer, query, &lookup, proto, now_ns, out, cap, ret);
}

static void log_put(struct shd_answerer *answerer, const struct shd_query *query, const struct shd_verdict *verdict, uint16_t listener,
                    int proto, int family, const uint8_t *peer, uint8_t peer_len, const uint8_t *reply, uint64_t duration_ns,
                    uint64_t realtime_ns)
{
    struct shd_log_ring *ring = answerer->log;
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const uint32_t size = sizeof ring->records / sizeof ring->records[0];
    /* acquire: pairs with the consumer's release, so a record it has not read is not overwritten */
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) >= size) {
        answerer->process->log_dropped++;
        return;
    }
    struct shd_log_record *record = &ring->records[tail % size];
    *record = (struct shd_log_record){
        .time_ns = realtime_ns, .duration_ns = duration_ns, .block = (uint32_t)verdict->block, .request_len = query->packet_len,
        .response_len = verdict->reply_len, .listener = listener, .id = query->id, .qtype = query->qtype, .qclass = query->qclass,
        .query_flags = query->flags, .reply_flags = verdict->plugin ? shd_get16(reply + 2) : 0, .udp_size = query->udp_size, .rcode = verdict->rcode,
        .dnssec_ok = query->dnssec_ok, .proto = (uint8_t)proto, .family = (uint8_t)family, .peer_len = peer_len,
        .log_class = verdict->logged,
        .name_len = (uint8_t)query->name_len,
    };
    memcpy(record->peer, peer, peer_len <= sizeof record->peer ? peer_len : sizeof record->peer);
    memcpy(record->name, query->packet + SHD_HEADER_LEN, query->name_len);
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release); /* pairs with the acquire in shd_log_take */
}

int shd_log_take(struct shd_log_ring *ring, struct shd_log_record *ret)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&ring->tail, memory_order_acquire))
        return 0;
    *ret = ring->records[head % (sizeof ring->records / sizeof ring->records[0])];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return 1;
}

void shd_answer_count(struct shd_answerer *answerer, const struct shd_query *query, const struct shd_verdict *verdict, uint16_t listener,
                      int proto, int family, const uint8_t *peer, uint8_t peer_len, const uint8_t *reply, uint64_t duration_ns,
                      uint64_t realtime_ns)
{
    if (verdict->row != UINT32_MAX)
        shd_count_answer(&answerer->rows[verdict->row], query, proto, family, verdict->rcode, verdict->plugin, verdict->reply_len, duration_ns);
    if (verdict->logged && answerer->log)
        log_put(answerer, query, verdict, listener, proto, family, peer, peer_len, reply, duration_ns, realtime_ns);
}
