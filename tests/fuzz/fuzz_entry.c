/* Any octets as an upstream's answer: refused, or an entry whose parts agree and whose own wire packs into the same records.
 * Input: an answer. What was asked is its own question, where it has one, else example.org A. */
#include <stdlib.h>
#include "entry.h"

#define EXPECT(claim) do { if (!(claim)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct shd_entry entry, again;

static void ask(const uint8_t *data, size_t size, struct shd_query *ret)
{
    static const uint8_t other[] = "\0\0\1\0\0\1\0\0\0\0\0\0\7example\3org\0\0\1\0\1";
    static uint8_t asked[12 + 259];
    size_t n = size < sizeof asked ? size : sizeof asked;
    if (n >= 12) {
        memcpy(asked, data, n);
        memcpy(asked, other, 12);
        shd_query_parse(asked, n, ret);
        if (ret->question_len > 0)
            return;
    }
    EXPECT(shd_query_parse(other, sizeof other - 1, ret) == 0);
}

static void check_entry(const struct shd_entry *e, const struct shd_query *asked)
{
    const struct shd_entry_head *head = &e->head;
    size_t at = 12 + (size_t)asked->question_len;
    EXPECT(head->wire_len <= SHD_MESSAGE_MAX && head->place_count >= head->answer_count + head->authority_count);
    EXPECT(memcmp(e->wire + 12, asked->name, asked->name_len) == 0);
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < head->place_count; i++) {
        size_t ttl_at = e->places[i].ttl_at, end_at = e->places[i].end_at;
        EXPECT(ttl_at >= at + 5 && end_at == ttl_at + 6 + shd_get16(e->wire + ttl_at + 4) && end_at <= head->wire_len);
        EXPECT(shd_get16(e->wire + ttl_at - 4) != SHD_TYPE_OPT && shd_get32(e->wire + ttl_at) < 0x80000000u);
        least = shd_get32(e->wire + ttl_at) < least ? shd_get32(e->wire + ttl_at) : least;
        at = end_at;
    }
    EXPECT(at == head->wire_len && head->min_ttl_s <= least);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shd_query asked;
    ask(data, size, &asked);
    int err = shd_entry_pack(data, size, &asked, &entry);
    EXPECT(err == 0 || err == SHD_EMALFORMED || err == SHD_EMISMATCH || err == SHD_ESPACE);
    if (err < 0)
        return 0;
    check_entry(&entry, &asked);
    static const struct shd_ttl_rule rule = {5, 3600, 5, 1800, 5, 1, 1};
    shd_entry_classify(&entry, &rule);
    EXPECT(entry.head.kind <= SHD_KIND_FAILURE && (entry.head.ttl_s >= 5 && entry.head.ttl_s <= 3600));
    err = shd_entry_pack(entry.wire, entry.head.wire_len, &asked, &again);
    if (err == SHD_ESPACE && entry.head.wire_len > 32768)
        return 0;                        /* the suffix table is as large as the message asks for: another size, other misses */
    EXPECT(err == 0);
    check_entry(&again, &asked);
    EXPECT(again.head.place_count == entry.head.place_count && again.head.answer_count == entry.head.answer_count);
    EXPECT(again.head.min_ttl_s == entry.head.min_ttl_s);
    return 0;
}
