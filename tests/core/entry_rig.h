/* One question, an answer to it built by hand, and the entry that it becomes, for the C tests of entries. */
#ifndef ENTRY_RIG_H
#define ENTRY_RIG_H
#include "check.h"
#include "entry.h"
#include "message.h"

enum { A = 1, NS = 2, CNAME = 5, SOA = 6, MX = 15, AAAA = 28, SRV = 33 };

static struct message m;
static struct shd_query question;
static struct shd_entry entry, again;

/* Ask name, and begin its answer in m. */
static inline void begin(const char *name, unsigned type, unsigned flags)
{
    static struct message asked;
    message_begin(&asked, 1, 0);
    message_counts(&asked, 1, 0, 0, 0);
    put_question(&asked, name, type);
    CHECK_EQ(shd_query_parse(asked.wire, asked.len, &question), 0);
    message_begin(&m, 0xabcd, SHD_FLAG_QR | flags);
    message_counts(&m, 1, 0, 0, 0);
    put_question(&m, name, type);
}

/* What packing m's first len octets returns; they become entry. */
static inline int pack(size_t len)
{
    uint8_t *wire = exact(m.wire, len);
    memset(&entry, 0xee, sizeof entry.head + sizeof entry.key + 1024);
    int ret = shd_entry_pack(wire, len, &question, &entry);
    free(wire);
    return ret;
}

/* The answer begun becomes one with a SOA (TTL, MINIMUM) in authority. */
static inline void put_soa(uint32_t ttl, uint32_t minimum)
{
    put_text_name(&m, "example.org");
    size_t at = put_fields(&m, SOA, ttl);
    put_text_name(&m, "ns.example.org");
    put_text_name(&m, "hostmaster.example.org");
    for (uint32_t i = 0; i < 4; i++)
        put_u32(&m, 7);
    put_u32(&m, minimum);
    rdata_end(&m, at);
    shd_put16(m.wire + 8, (uint16_t)(shd_get16(m.wire + 8) + 1));
}

/* Packing an entry's own wire gives the same wire: its pointers are right and there is nothing left to compress. */
static inline void check_stable(void)
{
    CHECK_EQ(shd_entry_pack(entry.wire, entry.head.wire_len, &question, &again), 0);
    CHECK_EQ(again.head.wire_len, entry.head.wire_len);
    CHECK(memcmp(again.wire, entry.wire, entry.head.wire_len) == 0);
    CHECK(memcmp(again.places, entry.places, entry.head.place_count * sizeof entry.places[0]) == 0);
}

/* What is packed from m, from octet 12 on, is exactly the octets of wanted. */
static inline void check_wire(const struct message *wanted)
{
    CHECK_EQ(entry.head.wire_len, wanted->len);
    CHECK(memcmp(entry.wire + 12, wanted->wire + 12, wanted->len - 12) == 0);
}

#endif
