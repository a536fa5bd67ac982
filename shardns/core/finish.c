/* Bulk work of the upstream process: asks in, replies out. See finish.h. */
#include "outbox.h"

#include <stdlib.h>
#include <time.h>

#include "finish.h"
#include "hash.h"
#include "reply.h"

_Static_assert(sizeof(struct shd_taken) == 600, "Python unpacks this");

enum {
    FLIGHT_RD = 272,
    FLIGHT_TRANSPORT = 273,
    UPSTREAM_UDP_SIZE = 1232,   /* no fragments on any usual path (DNS flag day 2020) */
};

/* Nobody waits for an ask this old; and if an ask should ever kill the upstream process, it does so only this long. */
static const uint64_t ask_expiry_ns = 10ull * 1000 * 1000 * 1000;

/* One client that is to be answered, wherever its query came from. */
struct client {
    struct shd_query query;
    const uint8_t *peer;
    uint64_t arrived_ns;
    uint32_t row;
    int block;
    uint16_t listener;
    uint8_t peer_len, family, proto;
};

int shd_finish_create(struct shd_finish *finish)
{
    finish->outbox = aligned_alloc(64, (sizeof *finish->outbox + 63) / 64 * 64);
    finish->in_hand = calloc(SHD_SLOTS_MAX, SHD_ASKS);
    finish->places = calloc(SHD_ASKS, sizeof *finish->places);
    finish->spare = calloc(1, sizeof *finish->spare);
    if (!finish->outbox || !finish->in_hand || !finish->places || !finish->spare) {
        shd_finish_destroy(finish);
        return SHD_EFULL;
    }
    finish->outbox->count = 0;
    finish->outbox->used = 0;
    finish->outbox->fd = -1;
    return 0;
}

void shd_finish_destroy(struct shd_finish *finish)
{
    free(finish->outbox);
    free(finish->in_hand);
    free(finish->places);
    free(finish->spare);
    finish->spare = NULL;
    finish->outbox = NULL;
    finish->in_hand = NULL;
    finish->places = NULL;
}

static struct shd_ask_done *done_of(struct shd_finish *finish, uint32_t slot) { return &finish->own->done[slot]; }

/* The ask of waiter needs nothing more: its place in the ring is free. */
static void release(struct shd_finish *finish, uint32_t waiter)
{
    uint32_t slot = waiter >> 12, place = waiter & (SHD_ASKS - 1);
    finish->in_hand[slot * SHD_ASKS + place] = 0;
    shd_ask_finish(&finish->slots[slot]->ring, done_of(finish, slot), place);
}

void shd_finish_flush(struct shd_finish *finish)
{
    if (finish->outbox->count)
        shd_outbox_flush(finish->outbox, &finish->own->process);
    for (uint32_t i = 0; i < finish->waiters_sent_count; i++)
        release(finish, finish->waiters_sent[i]);
    finish->waiters_sent_count = 0;
}

static uint8_t family_of(const uint8_t *peer)
{
    union shd_address address;
    memcpy(&address, peer, sizeof address);
    return address.any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&address.in6.sin6_addr) ? SHD_IPV4 : SHD_IPV6;
}

/* The client behind an ask; false if the ring's bytes are no query (a worker wrote nonsense). */
static bool client_of_ask(struct shd_finish *finish, const struct shd_ask *ask, struct client *ret)
{
    if (ask->wire_len > SHD_ASK_WIRE || ask->peer_len > sizeof ask->peer || shd_query_parse(ask->wire, ask->wire_len, &ret->query) < 0)
        return false;
    ret->peer = ask->peer;
    ret->peer_len = ask->peer_len;
    ret->arrived_ns = ask->arrived_ns;
    ret->listener = ask->listener;
    ret->family = family_of(ask->peer);
    ret->proto = SHD_UDP;
    ret->block = shd_rules_match(finish->rules, &ret->query, ret->listener, &ret->row);
    return true;
}

static uint8_t facets_of(const struct client *client, const struct shd_block_rule *rule)
{
    uint8_t facets = (uint8_t)((client->query.dnssec_ok ? SHD_FACET_DO : 0) | (client->query.flags & SHD_FLAG_CD ? SHD_FACET_CD : 0) |
                               (client->family == SHD_IPV6 ? SHD_FACET_FAMILY6 : 0) | (client->proto == SHD_TCP ? SHD_FACET_TCP : 0));
    return facets & rule->facets;
}

/* The message to send upstream. AD is always set: it only says that we understand AD in the answer (RFC 6840 s.5.7), and the entry
 * must serve clients that ask for it as well as those that do not. */
static uint16_t query_write(const struct shd_query *query, uint8_t *out)
{
    memset(out, 0, SHD_HEADER_LEN);
    shd_put16(out + 2, (uint16_t)((query->flags & (SHD_FLAG_RD | SHD_FLAG_CD)) | SHD_FLAG_AD));
    shd_put16(out + 4, 1);
    memcpy(out + SHD_HEADER_LEN, query->name, query->name_len);
    uint8_t *at = out + SHD_HEADER_LEN + query->name_len;
    shd_put16(at, query->qtype);
    shd_put16(at + 2, query->qclass);
    at += 4;
    if (query->has_opt) {
        shd_put16(out + 10, 1);
        at[0] = 0;
        shd_put16(at + 1, SHD_TYPE_OPT);
        shd_put16(at + 3, UPSTREAM_UDP_SIZE);
        shd_put32(at + 5, query->dnssec_ok ? 0x8000 : 0);
        shd_put16(at + 9, 0);
        at += SHD_OPT_LEN;
    }
    return (uint16_t)(at - out);
}

static void taken_fill(struct shd_finish *finish, const struct client *client, struct shd_taken *ret)
{
    const struct shd_block_rule *rule = shd_rules_block(finish->rules, (uint32_t)client->block);
    memset(ret, 0, offsetof(struct shd_taken, query));
    size_t key_len = shd_key_write(&client->query, rule->cache_id, facets_of(client, rule), ret->flight);
    ret->name_len = (uint8_t)(key_len - 13);
    ret->flight[FLIGHT_RD] = (client->query.flags & SHD_FLAG_RD) != 0;
    ret->flight[FLIGHT_TRANSPORT] = rule->transport_matters ? client->proto : 0;
    ret->block = (uint32_t)client->block;
    ret->row = client->row;
    ret->qtype = client->query.qtype;
    ret->qclass = client->query.qclass;
    ret->over_tcp = client->proto;
    ret->has_opt = client->query.has_opt;
    ret->query_len = query_write(&client->query, ret->query);
}

static size_t flight_key_len(const uint8_t *flight)
{
    size_t at = 13;
    while (flight[at])
        at += (size_t)flight[at] + 1;
    return at + 1;
}

int shd_finish_recall(struct shd_finish *finish, const uint8_t *flight, uint32_t block, uint64_t now_ns)
{
    const struct shd_block_rule *rule = shd_rules_block(finish->rules, block);
    if (!rule || !rule->has_cache)
        return 0;
    const struct shd_table_header *table = finish->table;
    size_t key_len = flight_key_len(flight);
    if (shd_table_find(table, flight, key_len, shd_hash(table->seed, flight, key_len), finish->entry, NULL) < 0)
        return 0;
    const struct shd_entry_head *head = &finish->entry->head;
    uint64_t now_ms = now_ns / 1000000;
    uint64_t age_s = now_ms > head->stored_ms ? (now_ms - head->stored_ms) / 1000 : 0;
    if (age_s < head->ttl_s)
        return 1;
    return rule->stale_mode != SHD_STALE_NONE && head->kind != SHD_KIND_FAILURE && age_s - head->ttl_s < rule->stale_s ? 2 : 0;
}

/* What a reply with the entry in hand shows as TTL. */
static uint32_t shown_ttl(const struct shd_finish *finish, const struct shd_block_rule *rule, int how, uint64_t now_ns)
{
    const struct shd_entry_head *head = &finish->entry->head;
    if (how == SHD_FROM_STALE)
        return 0;
    if (how == SHD_FROM_UPSTREAM || rule->keep_ttl)
        return head->ttl_s;
    uint64_t now_ms = now_ns / 1000000;
    uint64_t age_s = now_ms > head->stored_ms ? (now_ms - head->stored_ms) / 1000 : 0;
    return age_s < head->ttl_s ? head->ttl_s - (uint32_t)age_s : 1; /* it was fresh when it was found */
}

/* CoreDNS counts a query that reached the cache once: as a hit, or as a miss. */
static void count_cache(struct shd_row *row, const struct shd_block_rule *rule, int how, uint8_t kind)
{
    if (!rule->has_cache)
        return;
    row->cache_requests++;
    if (how == SHD_FROM_UPSTREAM) {
        row->cache_misses++;
        return;
    }
    row->cache_hits[kind != SHD_KIND_SUCCESS]++;
    row->cache_served_stale += how == SHD_FROM_STALE;
}

/* Write client's reply into out: with the entry in hand (rcode < 0), or an error. Counts and logs it. 0: nothing can be sent. */
static uint32_t reply_write(struct shd_finish *finish, const struct client *client, int how, int rcode, int plugin, uint64_t now_ns, uint8_t *out,
                            size_t cap)
{
    const struct shd_block_rule *rule = client->block >= 0 ? shd_rules_block(finish->rules, (uint32_t)client->block) : NULL;
    const struct shd_entry_head *head = &finish->entry->head;
    struct shd_verdict verdict = {.action = SHD_REPLY, .block = client->block, .row = client->row, .plugin = (uint8_t)plugin};
    int length;
    if (rcode < 0 && rule) {
        size_t limit = client->proto == SHD_TCP ? cap : client->query.udp_size < finish->udp_max ? client->query.udp_size : finish->udp_max;
        uint32_t flags = (how != SHD_FROM_UPSTREAM ? SHD_REPLY_HIT : 0) | (rule->has_cache ? 0 : SHD_REPLY_RAW_TTL);
        length = shd_reply_entry(&client->query, finish->entry, shown_ttl(finish, rule, how, now_ns), flags, out, limit);
        verdict.rcode = head->rcode;
        uint8_t class = head->rcode == SHD_RCODE_NOERROR && head->kind != SHD_KIND_DENIAL ? SHD_LOG_SUCCESS
                        : head->kind == SHD_KIND_DENIAL                                   ? SHD_LOG_DENIAL
                                                                                          : SHD_LOG_ERROR;
        verdict.logged = rule->log_classes & class;
    } else {
        rcode = rcode < 0 ? SHD_RCODE_REFUSED : rcode;
        length = shd_reply_error(&client->query, rcode, out);
        verdict.rcode = (uint16_t)rcode;
        verdict.logged = rule ? rule->log_classes & SHD_LOG_ERROR : 0;
    }
    if (length <= 0)
        return 0;
    verdict.reply_len = (uint32_t)length;
    if (rule && client->row != UINT32_MAX)
        count_cache(&finish->own->rows[client->row], rule, how, rcode < 0 ? head->kind : 0);
    struct shd_answerer counting = {.rows = finish->own->rows, .process = &finish->own->process, .log = finish->log};
    uint64_t duration_ns = now_ns > client->arrived_ns ? now_ns - client->arrived_ns : 0;
    struct timespec wall = {0};
    if (verdict.logged && finish->log)
        clock_gettime(CLOCK_REALTIME, &wall);
    shd_answer_count(&counting, &client->query, &verdict, client->listener, client->proto, client->family, client->peer, client->peer_len, out,
                     duration_ns, (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec);
    return verdict.reply_len;
}

/* Put client's reply into the outbox of its socket; the ask stays open until the reply has left. */
static void reply_queue(struct shd_finish *finish, const struct client *client, const struct shd_ask *ask, uint32_t waiter, int how, int rcode,
                        int plugin, uint64_t now_ns)
{
    uint32_t worker = (waiter >> 12) % finish->worker_count;
    int fd = client->listener < SHD_LISTENERS_MAX ? finish->fds[client->listener][worker] : -1;
    if (finish->outbox->count && finish->outbox->fd != fd)
        shd_finish_flush(finish);
    finish->outbox->fd = fd;
    if (fd >= 0) {
        uint8_t *out = shd_outbox_room(finish->outbox);
        uint32_t length = reply_write(finish, client, how, rcode, plugin, now_ns, out, SHD_REPLY_ROOM);
        struct shd_local local = {.family = ask->local_family, .ifindex = ask->local_ifindex};
        memcpy(local.address, ask->local, sizeof local.address);
        if (length)
            shd_outbox_add(finish->outbox, length, ask->peer, ask->peer_len, &local);
    }
    finish->waiters_sent[finish->waiters_sent_count++] = waiter;
    if (finish->waiters_sent_count == SHD_BATCH)
        shd_finish_flush(finish);
}

static void reply_all(struct shd_finish *finish, const uint32_t *waiters, uint32_t count, int how, int rcode, int plugin, uint64_t now_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct shd_ask *ask = &finish->slots[waiters[i] >> 12]->ring.asks[waiters[i] & (SHD_ASKS - 1)];
        struct client client;
        if (ask->kind == SHD_ASK_CLIENT && client_of_ask(finish, ask, &client))
            reply_queue(finish, &client, ask, waiters[i], how, rcode, plugin, now_ns);
        else
            release(finish, waiters[i]);
    }
}

void shd_finish_reply(struct shd_finish *finish, const uint32_t *waiters, uint32_t count, int how, int plugin, uint64_t now_ns)
{
    reply_all(finish, waiters, count, how, -1, plugin, now_ns);
}

void shd_finish_error(struct shd_finish *finish, const uint32_t *waiters, uint32_t count, int rcode, int plugin, uint64_t now_ns)
{
    reply_all(finish, waiters, count, SHD_FROM_UPSTREAM, rcode, plugin, now_ns);
}

int shd_finish_wire(struct shd_finish *finish, const uint8_t *packet, size_t len, uint16_t listener, int family, const uint8_t *peer,
                    uint8_t peer_len, int how, int rcode, int plugin, uint64_t arrived_ns, uint64_t now_ns, uint8_t *out)
{
    struct client client = {.peer = peer, .peer_len = peer_len, .arrived_ns = arrived_ns, .listener = listener, .family = (uint8_t)family,
                            .proto = SHD_TCP};
    if (shd_query_parse(packet, len, &client.query) < 0)
        return SHD_EDROP;
    client.block = shd_rules_match(finish->rules, &client.query, listener, &client.row);
    return (int)reply_write(finish, &client, how, rcode, plugin, now_ns, out, SHD_MESSAGE_MAX);
}

/* ---- taking ---- */

/* Whether a refresh or prefetch is still wanted: another may have been quicker. Prefetch only acts on what all workers' marks add up to. */
static bool refresh_wanted(struct shd_finish *finish, const struct shd_block_rule *rule, const struct shd_taken *taken, uint8_t kind,
                           uint64_t now_ns)
{
    const struct shd_table_header *table = finish->table;
    size_t key_len = flight_key_len(taken->flight);
    uint64_t cell = 0;
    if (!rule->has_cache ||
        shd_table_find(table, taken->flight, key_len, shd_hash(table->seed, taken->flight, key_len), finish->entry, &cell) < 0)
        return false;
    const struct shd_entry_head *head = &finish->entry->head;
    uint64_t end_ms = head->stored_ms + (uint64_t)head->ttl_s * 1000, now_ms = now_ns / 1000000;
    if (kind == SHD_ASK_REFRESH)
        return end_ms <= now_ms;
    uint64_t window_s = ((uint64_t)head->ttl_s * rule->prefetch_percent + 99) / 100;
    return end_ms <= now_ms + window_s * 1000 && shd_writer_hits(finish->writer, cell) >= rule->prefetch_hits;
}

enum taken { TAKEN_FLIGHT, TAKEN_FRESH, TAKEN_REFUSED, TAKEN_NOTHING };

/* What is to be done with a client's query that a worker could not answer. */
static enum taken take_client(struct shd_finish *finish, const struct client *client, uint8_t kind, uint64_t now_ns, struct shd_taken *ret)
{
    if (client->block < 0)
        return kind == SHD_ASK_CLIENT ? TAKEN_REFUSED : TAKEN_NOTHING;
    taken_fill(finish, client, ret);
    ret->kind = kind;
    const struct shd_block_rule *rule = shd_rules_block(finish->rules, ret->block);
    if (kind == SHD_ASK_CLIENT)
        return shd_finish_recall(finish, ret->flight, ret->block, now_ns) == 1 ? TAKEN_FRESH : TAKEN_FLIGHT;
    if (!refresh_wanted(finish, rule, ret, kind, now_ns))
        return TAKEN_NOTHING;
    if (kind == SHD_ASK_PREFETCH)
        finish->own->rows[ret->row].cache_prefetches++;
    return TAKEN_FLIGHT;
}

/* 1 if ret was filled, 0 if the ask needs no flight. */
static int take_place(struct shd_finish *finish, uint32_t slot, uint32_t place, uint64_t now_ns, struct shd_taken *ret)
{
    const struct shd_ask *ask = &finish->slots[slot]->ring.asks[place];
    uint32_t waiter = slot << 12 | place;
    struct client client;
    if (finish->in_hand[slot * SHD_ASKS + place])
        return 0;
    finish->in_hand[slot * SHD_ASKS + place] = 1;
    if (!client_of_ask(finish, ask, &client) || now_ns > ask->arrived_ns + ask_expiry_ns) {
        release(finish, waiter);
        return 0;
    }
    switch (take_client(finish, &client, ask->kind, now_ns, ret)) {
    case TAKEN_FLIGHT:
        ret->waiter = waiter;
        return 1;
    case TAKEN_FRESH:
        reply_queue(finish, &client, ask, waiter, SHD_FROM_TABLE, -1, SHD_BY_CACHE, now_ns);
        return 0;
    case TAKEN_REFUSED:
        reply_queue(finish, &client, ask, waiter, SHD_FROM_UPSTREAM, SHD_RCODE_REFUSED, SHD_BY_NONE, now_ns);
        return 0;
    default:
        release(finish, waiter);
        return 0;
    }
}

int shd_take(struct shd_finish *finish, uint64_t now_ns, struct shd_taken *ret, int cap, int *more)
{
    int count = 0;
    *more = 0;
    for (uint32_t slot = 0; slot < finish->slot_count; slot++) {
        const struct shd_ask_ring *ring = &finish->slots[slot]->ring;
        uint32_t scans = atomic_load_explicit(&ring->scans, memory_order_acquire) + 1;
        int room = cap - count, places;
        if (finish->scans[slot] != scans && room >= SHD_ASKS) {
            finish->scans[slot] = scans;
            places = shd_ask_scan(ring, done_of(finish, slot), finish->places);
        } else if (finish->scans[slot] != scans) {
            *more = 1; /* a scan wants a whole ring's room: at the next call */
            continue;
        } else {
            places = shd_ask_take(ring, done_of(finish, slot), finish->places, room < 512 ? room : 512);
            *more |= places == 512 || places == room;
        }
        for (int i = 0; i < places; i++)
            count += take_place(finish, slot, finish->places[i], now_ns, &ret[count]);
    }
    return count;
}

int shd_take_waiting(const struct shd_finish *finish)
{
    atomic_thread_fence(memory_order_seq_cst); /* after own->sleeping was set; pairs with the fence in serve.c's wake_upstream */
    for (uint32_t slot = 0; slot < finish->slot_count; slot++) {
        const struct shd_ask_ring *ring = &finish->slots[slot]->ring;
        if (shd_ask_waiting(ring, &finish->own->done[slot]) || atomic_load(&ring->scans) + 1 != finish->scans[slot])
            return 1;
    }
    return 0;
}

int shd_take_wire(struct shd_finish *finish, const uint8_t *packet, size_t len, uint16_t listener, int family, uint8_t ask_kind,
                  const uint8_t *peer, uint8_t peer_len, uint64_t arrived_ns, uint64_t now_ns, struct shd_taken *ret, uint8_t *out)
{
    struct client client = {.peer = peer, .peer_len = peer_len, .arrived_ns = arrived_ns, .listener = listener, .family = (uint8_t)family,
                            .proto = SHD_TCP};
    if (shd_query_parse(packet, len, &client.query) < 0)
        return SHD_EDROP;
    client.block = shd_rules_match(finish->rules, &client.query, listener, &client.row);
    switch (take_client(finish, &client, ask_kind, now_ns, ret)) {
    case TAKEN_FLIGHT:
        return 0;
    case TAKEN_FRESH:
        return (int)reply_write(finish, &client, SHD_FROM_TABLE, -1, SHD_BY_CACHE, now_ns, out, SHD_MESSAGE_MAX);
    case TAKEN_REFUSED:
        return (int)reply_write(finish, &client, SHD_FROM_UPSTREAM, SHD_RCODE_REFUSED, SHD_BY_NONE, now_ns, out, SHD_MESSAGE_MAX);
    default:
        return SHD_EDROP;
    }
}

/* ---- answers ---- */

/* The question of a flight, as the entry packer wants it. */
static void question_of(const uint8_t *flight, struct shd_query *ret)
{
    size_t key_len = flight_key_len(flight);
    memset(ret, 0, offsetof(struct shd_query, name));
    memcpy(&ret->qtype, flight + 8, 2);
    memcpy(&ret->qclass, flight + 10, 2);
    ret->name_len = (uint16_t)(key_len - 13);
    ret->question_len = ret->name_len + 4;
    memcpy(ret->name, flight + 13, ret->name_len);
}

/* Whether the answer in hand, a failure, would hide one that can still be served. */
static bool hides(struct shd_finish *finish, const struct shd_block_rule *rule, const uint8_t *flight, size_t key_len, uint64_t hash,
                  struct shd_entry *scratch, uint64_t now_ms)
{
    if (shd_table_find(finish->table, flight, key_len, hash, scratch, NULL) < 0 || scratch->head.kind == SHD_KIND_FAILURE)
        return false;
    uint64_t age_s = now_ms > scratch->head.stored_ms ? (now_ms - scratch->head.stored_ms) / 1000 : 0;
    return age_s < scratch->head.ttl_s || (rule->stale_mode != SHD_STALE_NONE && age_s - scratch->head.ttl_s < rule->stale_s);
}

static bool storable(const struct shd_entry_head *head, uint32_t stores)
{
    static const uint8_t bit[] = {
        [SHD_KIND_NONE] = 0, [SHD_KIND_SUCCESS] = SHD_STORE_SUCCESS, [SHD_KIND_DENIAL] = SHD_STORE_DENIAL, [SHD_KIND_FAILURE] = SHD_STORE_FAILURE};
    return (stores & bit[head->kind]) != 0;
}

int shd_finish_accept(struct shd_finish *finish, const uint8_t *wire, size_t len, const uint8_t *flight, uint32_t block, uint32_t stores,
                      uint64_t now_ns)
{
    const struct shd_block_rule *rule = shd_rules_block(finish->rules, block);
    struct shd_query question;
    question_of(flight, &question);
    int error = shd_entry_pack(wire, len, &question, finish->entry);
    if (error < 0)
        return error;
    struct shd_entry *entry = finish->entry;
    shd_entry_classify(entry, &rule->ttl);
    entry->head.stored_ms = now_ns / 1000000;
    if (!rule->has_cache || !flight[FLIGHT_RD] || !storable(&entry->head, stores))
        return entry->head.kind;
    size_t key_len = flight_key_len(flight);
    const struct shd_table_header *table = finish->table;
    uint64_t hash = shd_hash(table->seed, flight, key_len);
    if (entry->head.kind == SHD_KIND_FAILURE && hides(finish, rule, flight, key_len, hash, finish->spare, entry->head.stored_ms))
        return entry->head.kind;
    memset(entry->key, 0, sizeof entry->key);
    memcpy(entry->key, flight, key_len);
    entry->head.key_len = (uint16_t)key_len;
    entry->head.hash = hash;
    /* Too large to keep is no error: the clients get it all the same. */
    (void)shd_writer_store(finish->writer, entry, hash, finish->caps[block], entry->head.stored_ms);
    return entry->head.kind;
}
