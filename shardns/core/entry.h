/* An entry: a stored answer, finished, as the client gets it but for what differs per reply.
 *
 * Image of an entry in memory, all parts padded to 8 octets (so that they can be copied word by word):
 *
 *   struct shd_entry_head (48 octets) | key | wire | record places
 *
 *   key            cache id (8), type (2), class (2), all in native order; facets (1), folded name
 *   wire           the message: header with id 0, the question folded, records, no OPT; compressed by us,
 *                  every name pointer points into this wire
 *   record places  one struct shd_place per record, in order of the message
 */
#ifndef SHD_ENTRY_H
#define SHD_ENTRY_H
#include "base.h"
#include "wire.h"

enum shd_kind {
    SHD_KIND_NONE = 0,       /* must not be stored */
    SHD_KIND_SUCCESS = 1,
    SHD_KIND_DENIAL = 2,     /* NXDOMAIN or NODATA, with SOA */
    SHD_KIND_FAILURE = 3,    /* SERVFAIL or NOTIMP; counted as denial, as CoreDNS does */
};

enum shd_facets {            /* bits of a key's facets octet */
    SHD_FACET_DO = 1,
    SHD_FACET_CD = 2,
    SHD_FACET_FAMILY6 = 4,   /* the client came over IPv6 (only where a plugin varies by it) */
    SHD_FACET_TCP = 8,       /* the client came over TCP (likewise) */
};

struct shd_place {
    uint16_t ttl_at;         /* offset in wire of the record's TTL */
    uint16_t end_at;         /* offset in wire just past the record */
};

struct shd_entry_head {      /* 48 octets, 6 words */
    uint64_t hash;           /* of the key */
    uint64_t stored_ms;      /* CLOCK_MONOTONIC, milliseconds */
    uint32_t ttl_s;          /* seconds from stored_ms for which the entry is fresh; also the TTL shown at age 0 */
    uint32_t wire_len;
    uint16_t key_len;
    uint16_t place_count;    /* records: answer, authority, additional together */
    uint16_t answer_count;
    uint16_t authority_count;
    uint16_t flags;          /* header flags of the answer as the upstream gave them (AA, RA, AD, TC; no id, RD, CD) */
    uint8_t rcode;
    uint8_t kind;            /* enum shd_kind */
    uint32_t min_ttl_s;      /* smallest TTL over all records and the MINIMUM of SOAs in authority (RFC 2308 s.5); 0xffffffff without records */
    uint32_t rotate_at;      /* reserved for record rotation: 0 */
    uint32_t spare;
};

/* A private copy of an entry, the caller's memory (one per thread; too big for a stack). */
struct shd_entry {
    struct shd_entry_head head;
    uint8_t key[272];
    uint8_t wire[65544];
    struct shd_place places[8192];
};

/* How a block's cache holds answers (CoreDNS 1.13.2 plugin/cache): seconds. */
struct shd_ttl_rule {
    uint32_t success_min_s, success_max_s;
    uint32_t denial_min_s, denial_max_s;
    uint32_t failure_s;              /* 0: SERVFAIL is not kept */
    uint8_t store_success, store_denial;   /* 0: `disable` for this name (the caller looks that up) */
};

/* Write the key of query under cache_id into ret (SHD_KEY_MAX octets at least); returns its length. */
size_t shd_key_write(const struct shd_query *query, uint64_t cache_id, uint8_t facets, uint8_t *ret);

/* Make an entry of an upstream's answer: check every record, drop OPT, TSIG and SIG(0), decompress and compress again with
 * names ours (their case kept, the question folded). A TTL with the top bit set is 0 (RFC 2181 s.8). ret->head.hash, stored_ms, ttl_s, key_len
 * and kind are left 0; key is not touched.
 *
 * question: the folded name, type and class that were asked. The answer's must be equal without case, else SHD_EMISMATCH; FORMERR, NOTIMP,
 *           SERVFAIL and REFUSED may come without one, and then get this one.
 * Octets after the last record that is counted are passed over, as CoreDNS and unbound do.
 * Returns 0, SHD_EMALFORMED (does not parse; not a response; another opcode; fewer records than are counted; two OPTs; an rcode above 255),
 * SHD_EMISMATCH, SHD_ESPACE (larger than 65,535 when its names are written out). Below zero ret holds nothing of use.
 * Names inside the record data of the types of RFC 1035 and RFC 3597 s.4 are decompressed; only those of RFC 1035 are compressed. */
int shd_entry_pack(const uint8_t *wire, size_t len, const struct shd_query *question, struct shd_entry *ret);

/* Decide kind and ttl_s by rule (CoreDNS 1.13.2 plugin/pkg/response/typify.go, plugin/pkg/dnsutil/ttl.go): sets both in entry.
 * SHD_KIND_NONE for TC, AXFR/IXFR, NXDOMAIN without SOA, REFUSED, FORMERR and every other rcode, what the rule does not store, a TTL of 0.
 * ttl_s is set in either case: what is shown to the client on the miss. A success lives min_ttl_s held between the rule's bounds, where more
 * than 3,600 s counts as that; 5 s stand in for it where CoreDNS lets no record say (an empty NOERROR without SOA, a delegation).
 * DIFFERS: a denial ends with SOA MINIMUM too (RFC 2308 s.5). DIFFERS: expired RRSIGs are kept (no wall clock here); validators refuse them. */
void shd_entry_classify(struct shd_entry *entry, const struct shd_ttl_rule *rule);

#endif
