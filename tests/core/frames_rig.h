/* An answerer for the tests of frames: www.example.org A is in its table, example.org is served on listener 0 by block 0. */
#ifndef FRAMES_RIG_H
#define FRAMES_RIG_H
#include "frames.h"
#include "message.h"
#include "table_rig.h"

enum { FRAMES_ROW = 1, FRAMES_DROPPED_ROW = 2 };

struct frames_rig {
    struct rig table;
    struct shd_cap cap;
    struct shd_rules *rules;
    struct shd_row rows[3];
    struct shd_process_counters process;
    struct shd_log_ring log;
    struct shd_entry entry;
    struct shd_answerer answerer;
    struct shd_client client;
    uint8_t *out;                /* malloc'd at its exact size, so that the sanitizer sees a write past it */
    struct shd_frames frames;
};

static inline void frames_question(struct message *m, unsigned id, const char *name)
{
    message_begin(m, id, SHD_FLAG_RD);
    message_counts(m, 1, 0, 0, 0);
    put_question(m, name, 1);
}

/* Store a NOERROR answer to name with count A records. */
static inline void frames_store(struct frames_rig *rig, const char *name, unsigned count)
{
    struct message m;
    struct shd_query query;
    struct shd_block_rule rule = {.cache_id = 7, .ttl = {.success_max_s = 3600, .store_success = 1}};
    frames_question(&m, 0, name);
    (void)!shd_query_parse(m.wire, m.len, &query);
    rig->entry.head.key_len = (uint16_t)shd_key_write(&query, rule.cache_id, 0, rig->entry.key);
    uint8_t key[SHD_KEY_MAX];
    size_t key_len = rig->entry.head.key_len;
    memcpy(key, rig->entry.key, key_len);
    shd_put16(m.wire + 2, SHD_FLAG_RA | 0x8000);
    message_counts(&m, 1, count, 0, 0);
    for (unsigned i = 0; i < count; i++) {
        put_to(&m, 12);
        put_a(&m, 60, 0xc0000200u + i);
    }
    (void)!shd_entry_pack(m.wire, m.len, &query, &rig->entry);
    shd_entry_classify(&rig->entry, &rule.ttl);
    memcpy(rig->entry.key, key, key_len);
    rig->entry.head.key_len = (uint16_t)key_len;
    rig->entry.head.hash = rig_hash(key, key_len);
    (void)!rig_store(&rig->table, &rig->entry, 0, 0);
}

static inline void frames_rig_init(struct frames_rig *rig, const struct shd_block_rule *block)
{
    memset(rig, 0, sizeof(*rig));
    rig->cap = (struct shd_cap){.cache_id = 7, .success_cap = 100, .denial_cap = 100};
    rig_init(&rig->table, 4 << 20, calloc(1, rig_size(4 << 20)), &rig->cap, 1);
    struct message zone = {.len = 0};
    put_text_name(&zone, "example.org");
    rig->rules = shd_rules_create(block, 1);
    (void)!shd_rules_add_zone(rig->rules, 0, zone.wire, (uint32_t)zone.len, 0, FRAMES_ROW);
    (void)!shd_rules_add_listener(rig->rules, 0, FRAMES_DROPPED_ROW);
    rig->answerer = (struct shd_answerer){.rules = rig->rules, .table = rig->table.segment, .marks = rig->table.marks[0], .rows = rig->rows,
                                          .process = &rig->process, .log = &rig->log, .entry = &rig->entry, .udp_max = 4096};
    rig->client = (struct shd_client){.listener = 0, .family = SHD_IPV4, .peer_len = 16};
    rig->out = malloc(SHD_FRAMES_OUT);
    frames_store(rig, "www.example.org", 1);
}

static inline void frames_rig_deinit(struct frames_rig *rig)
{
    shd_rules_destroy(rig->rules);
    rig_deinit(&rig->table);
    free(rig->table.segment);
    free(rig->out);
}

#endif
