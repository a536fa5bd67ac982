/* What the hit path knows of the Plan: which server block a name belongs to, and per block how a hit is answered.
 * Private memory of each process, built once at its start from the Plan, read-only afterwards. Pure but for one allocation at creation. */
#ifndef SHD_RULES_H
#define SHD_RULES_H
#include "base.h"
#include "entry.h"

enum shd_stale_mode { SHD_STALE_NONE = 0, SHD_STALE_IMMEDIATE = 1, SHD_STALE_VERIFY = 2 };

enum shd_log_class { SHD_LOG_SUCCESS = 1, SHD_LOG_DENIAL = 2, SHD_LOG_ERROR = 4 };

struct shd_block_rule {
    uint64_t cache_id;
    uint8_t has_cache;          /* 0: every query is an ask */
    uint8_t facets;             /* enum shd_facets the block's entries vary by */
    uint8_t stale_mode;         /* enum shd_stale_mode */
    uint8_t keep_ttl;
    uint8_t log_classes;        /* enum shd_log_class: replies of these classes are logged; 0: none */
    uint8_t transport_matters;  /* forward asks over the transport the client came by (neither force_tcp nor prefer_udp) */
    uint8_t spare[2];
    uint32_t stale_s;           /* an entry may be served this long after it expired */
    uint32_t prefetch_hits;     /* 0: no prefetch */
    uint32_t prefetch_gap_s;
    uint32_t prefetch_percent;
    struct shd_ttl_rule ttl;
};

struct shd_rules;               /* opaque */

struct shd_rules *shd_rules_create(const struct shd_block_rule *blocks, uint32_t block_count);
void shd_rules_destroy(struct shd_rules *rules);
/* Names under zone (folded wire) asked on listener belong to block and are counted in row. SHD_EFULL when out of memory. */
int shd_rules_add_zone(struct shd_rules *rules, uint16_t listener, const uint8_t *zone, uint32_t zone_len, uint32_t block, uint32_t row);
/* Queries on listener that fit no zone are counted in row. */
int shd_rules_add_listener(struct shd_rules *rules, uint16_t listener, uint32_t dropped_row);

/* The block of query on listener by longest matching zone (a DS query at a zone's own apex goes to the zone above, if served):
 * its index, the counters row in *row; SHD_EREFUSED when no zone fits (*row is then the dropped row). */
int shd_rules_match(const struct shd_rules *rules, const struct shd_query *query, uint16_t listener, uint32_t *row);
const struct shd_block_rule *shd_rules_block(const struct shd_rules *rules, uint32_t block);

#endif
