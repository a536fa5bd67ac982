/* Keys of entries, and how long an answer is kept. Must never look at a clock: what comes out is seconds from the caller's now. */
#include "entry.h"

_Static_assert(sizeof(struct shd_entry_head) == 48, "the image of an entry is drawn in entry.h");

/* ---- key ---- */

size_t shd_key_write(const struct shd_query *query, uint64_t cache_id, uint8_t facets, uint8_t *ret)
{
    memcpy(ret, &cache_id, 8);
    memcpy(ret + 8, &query->qtype, 2);
    memcpy(ret + 10, &query->qclass, 2);
    ret[12] = facets;
    memcpy(ret + 13, query->name, query->name_len);
    return 13 + (size_t)query->name_len;
}

/* ---- classes ---- */

enum {
    TYPE_NS = 2,
    TTL_DEFAULT_S = 5,       /* CoreDNS's MinimalDefaultTTL: when no record says anything */
    TTL_MOST_S = 3600,       /* its MaximumDefaulTTL: a record that lives longer counts as this */
};

/* The type asked, from the question in the wire. */
static uint16_t question_type(const struct shd_entry *entry)
{
    size_t at = SHD_HEADER_LEN;
    while (at < SHD_HEADER_LEN + SHD_NAME_MAX && entry->wire[at] != 0)
        at += (size_t)entry->wire[at] + 1;
    return shd_get16(entry->wire + at + 1);
}

static bool authority_has(const struct shd_entry *entry, uint16_t type)
{
    const struct shd_place *place = entry->places + entry->head.answer_count;
    for (size_t i = 0; i < entry->head.authority_count; i++)
        if (shd_get16(entry->wire + place[i].ttl_at - 4) == type)
            return true;
    return false;
}

/* The kind by what the answer says; NONE for what no rule keeps. *says_ttl: whether its records' TTLs count (typify.go, ttl.go). */
static int kind_of(const struct shd_entry *entry, bool *says_ttl)
{
    const struct shd_entry_head *head = &entry->head;
    uint16_t type = question_type(entry);
    bool soa = authority_has(entry, SHD_TYPE_SOA);
    *says_ttl = false;
    if (type == SHD_TYPE_AXFR || type == SHD_TYPE_IXFR)
        return SHD_KIND_NONE;
    if (head->rcode == SHD_RCODE_SERVFAIL || head->rcode == SHD_RCODE_NOTIMP)
        return SHD_KIND_FAILURE;
    if (head->rcode == SHD_RCODE_NXDOMAIN) {
        *says_ttl = soa;
        return soa ? SHD_KIND_DENIAL : SHD_KIND_NONE;
    }
    if (head->rcode != SHD_RCODE_NOERROR)
        return SHD_KIND_NONE;
    bool delegation = head->answer_count == 0 && !soa && authority_has(entry, TYPE_NS);
    *says_ttl = head->place_count > 0 && !delegation;
    return head->answer_count == 0 && soa ? SHD_KIND_DENIAL : SHD_KIND_SUCCESS;
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
    value = value < low ? low : value;
    return value > high ? high : value;
}

void shd_entry_classify(struct shd_entry *entry, const struct shd_ttl_rule *rule)
{
    struct shd_entry_head *head = &entry->head;
    bool says_ttl;
    int kind = kind_of(entry, &says_ttl);
    uint32_t ttl = says_ttl ? clamp(head->min_ttl_s, 0, TTL_MOST_S) : TTL_DEFAULT_S;
    if (kind == SHD_KIND_FAILURE)
        ttl = rule->failure_s;
    else if (kind == SHD_KIND_DENIAL)
        ttl = clamp(ttl, rule->denial_min_s, rule->denial_max_s);
    else
        ttl = clamp(ttl, rule->success_min_s, rule->success_max_s);
    bool stored = kind == SHD_KIND_SUCCESS ? rule->store_success : rule->store_denial;
    if (ttl == 0 || !stored || (head->flags & SHD_FLAG_TC))
        kind = SHD_KIND_NONE;
    head->ttl_s = ttl;
    head->kind = (uint8_t)kind;
}
