/* Writing replies. A reply is the entry's wire, copied once and patched; it must never read or write past the lengths given, even
 * for an entry that contradicts itself (it comes out of memory that another process writes). */
#include "reply.h"

/* The OPT of a reply: the client's own size and DO back, version 0, no options (RFC 6891 s.6.1.2). */
static void put_opt(const struct shd_query *query, int rcode, uint8_t *at)
{
    at[0] = 0;
    shd_put16(at + 1, SHD_TYPE_OPT);
    shd_put16(at + 3, query->udp_size);
    at[5] = (uint8_t)(rcode >> 4);
    at[6] = 0;
    at[7] = query->dnssec_ok ? 0x80 : 0;
    memset(at + 8, 0, 3);
}

/* Header flags of a reply from entry, RD and CD as asked, TC apart. */
static uint16_t entry_flags(const struct shd_query *query, const struct shd_entry_head *head, uint32_t flags, int rcode)
{
    uint16_t keep = SHD_FLAG_AA | SHD_FLAG_TC | SHD_FLAG_RA;
    if (query->dnssec_ok || (query->flags & SHD_FLAG_AD))
        keep |= SHD_FLAG_AD;             /* RFC 6840 s.5.7 */
    uint16_t ret = SHD_FLAG_QR | (query->flags & (SHD_FLAG_RD | SHD_FLAG_CD)) | (head->flags & keep);
    if (flags & SHD_REPLY_HIT)
        ret |= SHD_FLAG_AA;
    return (uint16_t)(ret | (rcode & 15));
}

/* How many of the entry's records fit in limit octets, from the front. */
static uint32_t records_that_fit(const struct shd_entry *entry, size_t limit)
{
    uint32_t count = entry->head.place_count;
    while (count > 0 && entry->places[count - 1].end_at > limit)
        count--;
    return count;
}

/* Whether the parts of an entry fit each other and the memory they are in. */
static bool entry_is_sound(const struct shd_query *query, const struct shd_entry *entry)
{
    const struct shd_entry_head *head = &entry->head;
    return query->question_len >= 5 && query->question_len <= SHD_NAME_MAX + 4 && head->wire_len <= SHD_MESSAGE_MAX &&
           head->wire_len >= (uint32_t)SHD_HEADER_LEN + query->question_len &&
           head->place_count <= sizeof entry->places / sizeof entry->places[0] &&
           (uint32_t)head->answer_count + head->authority_count <= head->place_count;
}

/* Write the three counts for a reply of the first `kept` records. Returns whether an answer or authority record was cut. */
static bool put_counts(const struct shd_entry_head *head, uint32_t kept, uint8_t *out)
{
    uint32_t answer = head->answer_count, named = answer + head->authority_count;
    uint32_t answers = kept < answer ? kept : answer;
    uint32_t upper = kept < named ? kept : named;
    shd_put16(out + 6, (uint16_t)answers);
    shd_put16(out + 8, (uint16_t)(upper - answers));
    shd_put16(out + 10, (uint16_t)(kept - upper));
    return upper < named;
}

/* Set the TTL of the first `count` records; false if one lies outside len octets. */
static bool put_ttls(const struct shd_entry *entry, uint32_t count, uint32_t ttl_s, uint8_t *out, size_t len)
{
    for (uint32_t i = 0; i < count; i++) {
        size_t at = entry->places[i].ttl_at;
        if (at + 4 > len)
            return false;
        shd_put32(out + at, ttl_s);
    }
    return true;
}

int shd_reply_entry(const struct shd_query *query, const struct shd_entry *entry, uint32_t ttl_s, uint32_t flags, uint8_t *out, size_t limit)
{
    const struct shd_entry_head *head = &entry->head;
    if (!entry_is_sound(query, entry))
        return SHD_EMALFORMED;
    size_t opt = query->has_opt ? SHD_OPT_LEN : 0, least = SHD_HEADER_LEN + query->question_len;
    if (limit < least + opt)
        return SHD_ESPACE;
    uint32_t kept = head->place_count;
    size_t len = head->wire_len;
    if (len + opt > limit) {
        kept = records_that_fit(entry, limit - opt);
        len = kept > 0 ? entry->places[kept - 1].end_at : least;
    }
    if (len < least)
        return SHD_EMALFORMED;
    memcpy(out, entry->wire, len);
    /* Without OPT an extended rcode has no place: its low bits would say something else. */
    int rcode = head->rcode > 15 && opt == 0 ? SHD_RCODE_SERVFAIL : head->rcode;
    shd_put16(out, query->id);
    bool cut = put_counts(head, kept, out);
    shd_put16(out + 2, (uint16_t)(entry_flags(query, head, flags, rcode) | (cut ? SHD_FLAG_TC : 0)));
    memcpy(out + SHD_HEADER_LEN, query->packet + SHD_HEADER_LEN, query->question_len);
    if (!(flags & SHD_REPLY_RAW_TTL) && !put_ttls(entry, kept, ttl_s, out, len))
        return SHD_EMALFORMED;
    if (opt > 0) {
        put_opt(query, rcode, out + len);
        shd_put16(out + 10, (uint16_t)(shd_get16(out + 10) + 1));
    }
    return (int)(len + opt);
}

int shd_reply_error(const struct shd_query *query, int rcode, uint8_t *out)
{
    bool opt = query->has_opt || rcode > 15;
    size_t len = SHD_HEADER_LEN + query->question_len;
    uint16_t kept = query->flags & (0x7800 | SHD_FLAG_RD | SHD_FLAG_CD);
    memset(out, 0, SHD_HEADER_LEN);
    shd_put16(out, query->id);
    shd_put16(out + 2, (uint16_t)(SHD_FLAG_QR | kept | (rcode & 15)));
    shd_put16(out + 4, query->question_len > 0);
    shd_put16(out + 10, opt);
    memcpy(out + SHD_HEADER_LEN, query->packet + SHD_HEADER_LEN, query->question_len);
    if (opt)
        put_opt(query, rcode, out + len);
    return (int)(len + (opt ? SHD_OPT_LEN : 0));
}
