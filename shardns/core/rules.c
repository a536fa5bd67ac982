/* Longest matching zone: an open-addressed table of (listener, zone), probed only at the depths (label counts) that occur.
 * The zones come from the operator's configuration, so this hash needs no key. */
#include "rules.h"

#include <stdlib.h>

struct zone_rule {
    uint16_t listener;
    uint8_t zone_len;
    uint32_t block;
    uint32_t row;
    uint8_t zone[SHD_NAME_MAX];
};

struct shd_rules {
    struct shd_block_rule *blocks;
    uint32_t block_count;
    struct zone_rule *zones;
    uint32_t zone_count;
    uint32_t *index;             /* zone number + 1; 0: free */
    uint32_t index_mask;
    uint64_t depths[2];          /* bit d: some zone has d labels (a name has at most 127) */
    uint32_t dropped[SHD_LISTENERS_MAX];
};

static uint64_t zone_hash(uint16_t listener, const uint8_t *zone, size_t len)
{
    uint64_t hash = 0x9e3779b97f4a7c15ULL ^ listener ^ ((uint64_t)len << 32);
    while (len >= 8) {
        uint64_t word;
        memcpy(&word, zone, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
        hash ^= hash >> 32;
        zone += 8;
        len -= 8;
    }
    uint64_t word = 0;
    memcpy(&word, zone, len);
    hash = (hash ^ word) * 0xff51afd7ed558ccdULL;
    return hash ^ (hash >> 32);
}

struct shd_rules *shd_rules_create(const struct shd_block_rule *blocks, uint32_t block_count)
{
    struct shd_rules *rules = calloc(1, sizeof *rules);
    if (!rules)
        return NULL;
    rules->blocks = calloc(block_count ? block_count : 1, sizeof *blocks);
    rules->index = calloc(64, sizeof *rules->index);
    rules->index_mask = 63;
    if (!rules->blocks || !rules->index) {
        shd_rules_destroy(rules);
        return NULL;
    }
    memcpy(rules->blocks, blocks, block_count * sizeof *blocks);
    rules->block_count = block_count;
    memset(rules->dropped, 0xff, sizeof rules->dropped);
    return rules;
}

void shd_rules_destroy(struct shd_rules *rules)
{
    if (!rules)
        return;
    free(rules->blocks);
    free(rules->zones);
    free(rules->index);
    free(rules);
}

static void index_put(struct shd_rules *rules, uint32_t number)
{
    const struct zone_rule *zone = &rules->zones[number];
    uint32_t at = (uint32_t)zone_hash(zone->listener, zone->zone, zone->zone_len) & rules->index_mask;
    while (rules->index[at])
        at = (at + 1) & rules->index_mask;
    rules->index[at] = number + 1;
}

/* Keep the index at most half full. */
static int index_grow(struct shd_rules *rules)
{
    if (2 * (rules->zone_count + 1) <= rules->index_mask + 1)
        return 0;
    uint32_t size = 2 * (rules->index_mask + 1);
    uint32_t *index = calloc(size, sizeof *index);
    if (!index)
        return SHD_EFULL;
    free(rules->index);
    rules->index = index;
    rules->index_mask = size - 1;
    for (uint32_t i = 0; i < rules->zone_count; i++)
        index_put(rules, i);
    return 0;
}

static uint32_t label_count(const uint8_t *zone)
{
    uint32_t labels = 0;
    for (; *zone; zone += *zone + 1)
        labels++;
    return labels;
}

int shd_rules_add_zone(struct shd_rules *rules, uint16_t listener, const uint8_t *zone, uint32_t zone_len, uint32_t block, uint32_t row)
{
    if (zone_len == 0 || zone_len > SHD_NAME_MAX || block >= rules->block_count || index_grow(rules) < 0)
        return SHD_EFULL;
    struct zone_rule *zones = realloc(rules->zones, (rules->zone_count + 1) * sizeof *zones);
    if (!zones)
        return SHD_EFULL;
    rules->zones = zones;
    struct zone_rule *added = &zones[rules->zone_count];
    added->listener = listener;
    added->zone_len = (uint8_t)zone_len;
    added->block = block;
    added->row = row;
    memcpy(added->zone, zone, zone_len);
    uint32_t depth = label_count(added->zone);
    rules->depths[depth / 64] |= 1ULL << (depth % 64);
    index_put(rules, rules->zone_count++);
    return 0;
}

int shd_rules_add_listener(struct shd_rules *rules, uint16_t listener, uint32_t dropped_row)
{
    if (listener >= SHD_LISTENERS_MAX)
        return SHD_EFULL;
    rules->dropped[listener] = dropped_row;
    return 0;
}

static const struct zone_rule *zone_find(const struct shd_rules *rules, uint16_t listener, const uint8_t *zone, size_t len)
{
    uint32_t at = (uint32_t)zone_hash(listener, zone, len) & rules->index_mask;
    for (; rules->index[at]; at = (at + 1) & rules->index_mask) {
        const struct zone_rule *rule = &rules->zones[rules->index[at] - 1];
        if (rule->listener == listener && rule->zone_len == len && memcmp(rule->zone, zone, len) == 0)
            return rule;
    }
    return NULL;
}

int shd_rules_match(const struct shd_rules *rules, const struct shd_query *query, uint16_t listener, uint32_t *row)
{
    const struct zone_rule *apex = NULL, *found = NULL;
    uint32_t labels = query->label_count;
    for (int depth = (int)labels; depth >= 0; depth--) {
        if (!(rules->depths[depth / 64] >> (depth % 64) & 1))
            continue;
        size_t start = depth ? query->labels[labels - (uint32_t)depth] : (size_t)query->name_len - 1;
        found = zone_find(rules, listener, query->name + start, query->name_len - start);
        /* A DS record lives on the parent's side of the cut (RFC 4035 s.3.1.4.1). */
        if (found && query->qtype == SHD_TYPE_DS && depth == (int)labels && depth > 0) {
            apex = found;
            found = NULL;
        }
        if (found)
            break;
    }
    found = found ? found : apex;
    *row = found ? found->row : rules->dropped[listener % SHD_LISTENERS_MAX];
    return found ? (int)found->block : SHD_EREFUSED;
}

const struct shd_block_rule *shd_rules_block(const struct shd_rules *rules, uint32_t block)
{
    return block < rules->block_count ? &rules->blocks[block] : NULL;
}
