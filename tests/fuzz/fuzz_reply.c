/* Any query, any answer, any limit: a reply within the limit that parses as an answer to that query and holds the entry's
 * first records. Input: limit (2), flags (1), length of the query (2), query, answer; the answer's question is made the query's. */
#include <stdlib.h>
#include "reply.h"

#define EXPECT(claim) do { if (!(claim)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct shd_entry entry, seen;
static uint8_t answer[65535];

/* The answer at data with the query's question in place of its own 12 to 12 + question_len octets, packed. */
static int make_entry(const uint8_t *data, size_t size, const struct shd_query *query)
{
    size_t question_end = 12 + (size_t)query->question_len;
    if (size < question_end || size > sizeof answer)
        return SHD_EMALFORMED;
    memcpy(answer, data, size);
    memcpy(answer + 12, query->name, query->name_len);
    shd_put16(answer + 12 + query->name_len, query->qtype);
    shd_put16(answer + 14 + query->name_len, query->qclass);
    return shd_entry_pack(answer, size, query, &entry);
}

static void check_reply(const struct shd_query *query, const uint8_t *out, size_t len, size_t limit, uint32_t ttl_s)
{
    uint16_t flags = shd_get16(out + 2), records = (uint16_t)(shd_get16(out + 6) + shd_get16(out + 8));
    EXPECT(len <= limit && shd_get16(out) == query->id);
    EXPECT(memcmp(out + 12, query->packet + 12, query->question_len) == 0);
    int err = shd_entry_pack(out, len, query, &seen);
    if (err == SHD_ESPACE && len > 32768)
        return;                          /* as in fuzz_entry.c */
    EXPECT(err == 0);
    EXPECT(seen.head.answer_count + seen.head.authority_count == records);
    EXPECT(seen.head.place_count == records + shd_get16(out + 10) - query->has_opt);
    EXPECT(((flags ^ query->flags) & (SHD_FLAG_RD | SHD_FLAG_CD)) == 0 && !(flags & 0x7840));
    EXPECT(seen.head.place_count <= entry.head.place_count);
    if (records < entry.head.answer_count + entry.head.authority_count)
        EXPECT(flags & SHD_FLAG_TC);
    for (size_t i = 0; i < seen.head.place_count; i++)
        EXPECT(shd_get32(out + entry.places[i].ttl_at) == ttl_s);
    if (query->has_opt)
        EXPECT(out[len - 11] == 0 && shd_get16(out + len - 10) == SHD_TYPE_OPT && shd_get16(out + len - 8) == query->udp_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 5)
        return 0;
    size_t limit = shd_get16(data), query_len = shd_get16(data + 3);
    uint32_t flags = data[2] & (SHD_REPLY_HIT | SHD_REPLY_KEEP_TTL), ttl_s = data[2];
    if (query_len > size - 5)
        return 0;
    struct shd_query query;
    if (shd_query_parse(data + 5, query_len, &query) != 0)
        return 0;
    if (make_entry(data + 5 + query_len, size - 5 - query_len, &query) != 0)
        return 0;
    uint8_t *out = malloc(limit ? limit : 1);
    int len = shd_reply_entry(&query, &entry, ttl_s, flags, out, limit);
    size_t least = 12 + (size_t)query.question_len + (query.has_opt ? 11 : 0);
    EXPECT(limit < least ? len == SHD_ESPACE : len >= (int)least);
    if (len > 0)
        check_reply(&query, out, (size_t)len, limit, ttl_s);
    free(out);
    return 0;
}
