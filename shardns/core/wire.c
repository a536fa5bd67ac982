/* Reading messages: the cursor, and the query parser. A parser here never trusts a length before it compared it with what is left. */
#include "wire.h"

/* ---- cursor ---- */

struct shd_cursor shd_cursor_init(const uint8_t *base, size_t len)
{
    return (struct shd_cursor){.base = base, .len = len, .at = 0, .failed = false};
}

const uint8_t *shd_cursor_bytes(struct shd_cursor *cursor, size_t n)
{
    if (cursor->failed || n > cursor->len - cursor->at) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *ret = cursor->base + cursor->at;
    cursor->at += n;
    return ret;
}

uint8_t shd_cursor_u8(struct shd_cursor *cursor)
{
    const uint8_t *at = shd_cursor_bytes(cursor, 1);
    return at ? *at : 0;
}

uint16_t shd_cursor_u16(struct shd_cursor *cursor)
{
    const uint8_t *at = shd_cursor_bytes(cursor, 2);
    return at ? shd_get16(at) : 0;
}

uint32_t shd_cursor_u32(struct shd_cursor *cursor)
{
    const uint8_t *at = shd_cursor_bytes(cursor, 4);
    return at ? shd_get32(at) : 0;
}

static size_t name_fail(struct shd_cursor *cursor)
{
    cursor->failed = true;
    return 0;
}

size_t shd_cursor_name(struct shd_cursor *cursor, uint8_t *ret)
{
    const uint8_t *base = cursor->base;
    size_t at = cursor->at, n = 0;
    size_t lowest = at;      /* every pointer must go below where the part before it began: so a loop cannot be */
    size_t after = 0;        /* where reading goes on: past the first pointer */
    while (!cursor->failed) {
        if (at >= cursor->len)
            return name_fail(cursor);
        uint8_t c = base[at];
        if (c >= 0xc0) {
            if (cursor->len - at < 2)
                return name_fail(cursor);
            size_t to = shd_get16(base + at) & 0x3fff;
            if (to >= lowest)
                return name_fail(cursor);
            after = after ? after : at + 2;
            at = lowest = to;
            continue;
        }
        /* 64 to 191: label types that were never defined (RFC 6891 s.5) */
        if (c > 63 || cursor->len - at <= c || n + c + (c ? 2 : 1) > SHD_NAME_MAX)
            return name_fail(cursor);
        memcpy(ret + n, base + at, (size_t)c + 1);
        n += (size_t)c + 1;
        at += (size_t)c + 1;
        if (c == 0) {
            cursor->at = after ? after : at;
            return n;
        }
    }
    return 0;
}

/* ---- query ---- */

/* Fold 8 octets at once: per octet, bit 7 of (v + 0x3f) says v >= 'A', of (v + 0x25) says v > 'Z'; octets of 128 and above stay. */
static inline uint64_t fold8(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = word & (0x7f * ones);
    uint64_t upper = (low + 0x3f * ones) & ~(low + 0x25 * ones) & ~word & (0x80 * ones);
    return word + (upper >> 2);
}

/* Fold len octets of from into to. Length octets are at most 63, below 'A', so a name is folded without looking at its labels.
 * at most 256 octets; readable: octets of from that may be read (for whole words at the end). */
static inline void fold_name(const uint8_t *from, size_t len, size_t readable, uint8_t *to)
{
    size_t i = 0;
    for (; i < len && i + 8 <= readable; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, 8);
        word = fold8(word);
        memcpy(to + i, &word, 8);
    }
    for (; i < len; i++)
        to[i] = shd_fold(from[i]);
}

/* The question that starts at packet + 12, into ret: its length, or 0 when it does not parse (ret then says there is none). */
static inline size_t parse_question(const uint8_t *packet, size_t len, struct shd_query *ret)
{
    const uint8_t *name = packet + SHD_HEADER_LEN;
    size_t left = len - SHD_HEADER_LEN, n = 0, labels = 0;
    for (;;) {
        if (n >= left || n >= SHD_NAME_MAX)
            return 0;
        uint8_t c = name[n];
        if (c == 0)
            break;
        if (c > 63)          /* a pointer has nothing to point to here */
            return 0;
        ret->labels[labels++] = (uint8_t)n;
        n += (size_t)c + 1;
    }
    n++;
    if (left - n < 4)
        return 0;
    fold_name(name, n, left, ret->name);
    ret->name_len = (uint16_t)n;
    ret->label_count = (uint8_t)labels;
    ret->question_len = (uint16_t)(n + 4);
    ret->qtype = shd_get16(name + n);
    ret->qclass = shd_get16(name + n + 2);
    return n + 4;
}

/* Whether len octets of options are whole options, whatever they are. RFC 6891 s.6.1.2. */
static bool options_fit(const uint8_t *options, size_t len)
{
    while (len > 0) {
        if (len < 4)
            return false;
        size_t option = 4 + (size_t)shd_get16(options + 2);
        if (option > len)
            return false;
        options += option;
        len -= option;
    }
    return true;
}

/* Take over an OPT whose type field is at fields (10 octets and rdlen more are there). */
static inline int take_opt(const uint8_t *fields, size_t rdlen, struct shd_query *ret)
{
    if (ret->has_opt)
        return SHD_EFORMERR;
    uint16_t size = shd_get16(fields + 2);
    ret->has_opt = 1;
    ret->udp_size = size < SHD_UDP_MIN ? SHD_UDP_MIN : size;
    ret->edns_version = fields[5];
    ret->dnssec_ok = fields[6] >> 7;
    /* What another version means by its data is not ours to judge: BADVERS comes first. */
    return ret->edns_version != 0 || options_fit(fields + 10, rdlen) ? 0 : SHD_EFORMERR;
}

/* One record of a query. section: 0 authority, 1 additional. */
static int parse_record(struct shd_cursor *cursor, int section, struct shd_query *ret)
{
    bool at_root = cursor->at < cursor->len && cursor->base[cursor->at] == 0;
    if (at_root) {
        cursor->at++;
    } else {
        uint8_t owner[SHD_NAME_MAX];
        shd_cursor_name(cursor, owner);
    }
    const uint8_t *fields = shd_cursor_bytes(cursor, 10);
    size_t rdlen = fields ? shd_get16(fields + 8) : 0;
    if (!shd_cursor_bytes(cursor, rdlen) || !fields)
        return SHD_EFORMERR;
    uint16_t type = shd_get16(fields);
    if (section == 0)
        return ret->qtype == SHD_TYPE_IXFR && type == SHD_TYPE_SOA ? 0 : SHD_EFORMERR;
    if (type != SHD_TYPE_OPT)
        return 0;
    return at_root ? take_opt(fields, rdlen, ret) : SHD_EFORMERR;
}

/* The records after the question, which ends at offset at. Below zero ret holds what was learnt until then. */
static int parse_records(const uint8_t *packet, size_t len, size_t at, struct shd_query *ret)
{
    uint32_t authority = shd_get16(packet + 8), additional = shd_get16(packet + 10);
    struct shd_cursor cursor = shd_cursor_init(packet, len);
    cursor.at = at;
    if (shd_get16(packet + 6) != 0 || authority > 1)
        return SHD_EFORMERR;
    for (uint32_t i = 0; i < authority + additional; i++) {
        int err = parse_record(&cursor, i >= authority, ret);
        if (err < 0)
            return err;
    }
    return cursor.at == len ? 0 : SHD_EFORMERR;
}

int shd_query_parse(const uint8_t *packet, size_t len, struct shd_query *ret)
{
    memset(ret, 0, offsetof(struct shd_query, name));
    ret->packet = packet;
    ret->packet_len = (uint32_t)len;
    ret->udp_size = SHD_UDP_MIN;
    if (len < SHD_HEADER_LEN)
        return SHD_EDROP;
    ret->id = shd_get16(packet);
    ret->flags = shd_get16(packet + 2);
    if (ret->flags & SHD_FLAG_QR)
        return SHD_EDROP;
    uint32_t questions = shd_get16(packet + 4);
    size_t question = questions == 1 ? parse_question(packet, len, ret) : 0;
    int err = SHD_EFORMERR;
    /* Without a question there may still be an OPT, and then the error reply wants one too. */
    if (question > 0 || questions == 0)
        err = parse_records(packet, len, SHD_HEADER_LEN + question, ret);
    if (ret->flags & 0x7800)
        return SHD_ENOTIMP;
    if (err < 0 || question == 0)
        return SHD_EFORMERR;
    return ret->edns_version == 0 ? 0 : SHD_EBADVERS;
}
