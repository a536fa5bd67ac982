/* Making entries of upstream answers: shd_entry_pack of entry.h.
 *
 * It reads the answer once, record by record, and writes it anew; it never copies a name it did not decode, because
 * a pointer of the upstream's means nothing in our wire. Names are compressed through a table of suffixes: a hash set of
 * (offset of the label, offset of the suffix after it) pairs, so a lookup compares one label at a time, last to first, and the
 * deepest hit is the longest suffix already written. It lives on the stack, is cleared as far as the message's size asks for, and
 * probes a bounded number of places: what it cannot hold stays uncompressed. */
#include "entry.h"

enum {
    SUFFIXES_MIN = 128,      /* powers of two */
    SUFFIXES_MAX = 2048,
    PROBES = 16,
    POINTER_MAX = 0x3fff,    /* 14 bits (RFC 1035 s.4.1.4) */
};

struct suffix {
    uint16_t at;             /* offset of the suffix's first label in the wire; 0: empty place */
    uint16_t parent;         /* `at` of the suffix after that label; 0: the root */
};

struct packer {
    struct shd_cursor in;
    struct shd_entry *ret;
    uint32_t at;             /* octets of ret->wire written */
    bool full;               /* sticky: the wire would pass 65,535 octets */
    bool has_opt;
    uint16_t extended_rcode; /* of OPT, already shifted */
    uint16_t memo_in;        /* the last owner that was a bare pointer in the answer, and the pointer to the same name in ours: */
    uint16_t memo_out;       /*   a set's records repeat it; both 0: none */
    uint32_t mask;           /* places of suffixes in use, minus one */
    uint8_t name_len;
    uint8_t name[256];       /* the name in hand, decoded */
    struct suffix suffixes[SUFFIXES_MAX];
};

/* What stands in a type's RDATA: `before` octets, character strings, names, `after` octets, and if `open` whatever follows. */
struct layout {
    uint8_t before, strings, names, after;
    bool compress, open;
};

/* Types whose names must be decompressed (RFC 1035 s.3.3, RFC 3597 s.4); those of RFC 1035 alone may be compressed again.
 * KX and DNAME are not in RFC 3597's list, but their own texts (RFC 2230 s.3.1, RFC 6672 s.2.5) speak of receivers that meet
 * compressed ones. A and AAAA of class IN are here so that their length is checked. */
static const struct layout layouts[] = {
    [1] = {.before = 4},                                     /* A */
    [2] = {.names = 1, .compress = true},                    /* NS */
    [3] = {.names = 1, .compress = true},                    /* MD */
    [4] = {.names = 1, .compress = true},                    /* MF */
    [5] = {.names = 1, .compress = true},                    /* CNAME */
    [6] = {.names = 2, .after = 20, .compress = true},       /* SOA */
    [7] = {.names = 1, .compress = true},                    /* MB */
    [8] = {.names = 1, .compress = true},                    /* MG */
    [9] = {.names = 1, .compress = true},                    /* MR */
    [12] = {.names = 1, .compress = true},                   /* PTR */
    [14] = {.names = 2, .compress = true},                   /* MINFO */
    [15] = {.before = 2, .names = 1, .compress = true},      /* MX */
    [17] = {.names = 2},                                     /* RP */
    [18] = {.before = 2, .names = 1},                        /* AFSDB */
    [21] = {.before = 2, .names = 1},                        /* RT */
    [24] = {.before = 18, .names = 1, .open = true},         /* SIG */
    [26] = {.before = 2, .names = 2},                        /* PX */
    [28] = {.before = 16},                                   /* AAAA */
    [30] = {.names = 1, .open = true},                       /* NXT */
    [33] = {.before = 6, .names = 1},                        /* SRV */
    [35] = {.before = 4, .strings = 3, .names = 1},          /* NAPTR */
    [36] = {.before = 2, .names = 1},                        /* KX */
    [39] = {.names = 1},                                     /* DNAME */
};

enum { TYPE_A = 1, TYPE_SIG = 24, TYPE_AAAA = 28, TYPE_LAYOUT_END = sizeof layouts / sizeof layouts[0], CLASS_IN = 1 };

static struct layout layout_of(uint16_t type, uint16_t class)
{
    static const struct layout opaque = {.open = true};
    if (type >= TYPE_LAYOUT_END || (class != CLASS_IN && (type == TYPE_A || type == TYPE_AAAA)))
        return opaque;
    struct layout ret = layouts[type];
    ret.open |= ret.before == 0 && ret.names == 0;
    return ret;
}

/* ---- suffixes ---- */

static inline uint64_t load(const uint8_t *at, size_t n)
{
    if (n == 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        return word;
    }
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, at, 4);
        memcpy(&last, at + n - 4, 4);
        return ((uint64_t)first << 32) | last;
    }
    return ((uint64_t)at[0] << 16) | ((uint64_t)at[n / 2] << 8) | at[n - 1];
}

/* Not keyed: whoever finds collisions gains that PROBES places are looked at and a name is left uncompressed. */
static inline uint32_t suffix_hash(uint16_t parent, const uint8_t *label)
{
    const uint64_t lower = 0x2020202020202020u;     /* enough of folding for a hash */
    uint64_t hash = parent + 0x9e3779b97f4a7c15u;
    size_t n = (size_t)label[0] + 1;
    for (size_t i = 0; i < n; i += 8) {
        hash = (hash ^ (load(label + i, n - i < 8 ? n - i : 8) | lower)) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static inline bool same_label(const uint8_t *a, const uint8_t *b)
{
    if (a[0] != b[0])
        return false;
    if (memcmp(a + 1, b + 1, a[0]) == 0)
        return true;
    for (size_t i = 1; i <= a[0]; i++)
        if (shd_fold(a[i]) != shd_fold(b[i]))
            return false;
    return true;
}

/* The place of label before the suffix `parent`: where it is, or an empty one for it; NULL when the probes ran out. */
static inline struct suffix *suffix_find(struct packer *p, uint16_t parent, const uint8_t *label)
{
    uint32_t hash = suffix_hash(parent, label);
    for (uint32_t i = 0; i < PROBES; i++) {
        struct suffix *place = &p->suffixes[(hash + i) & p->mask];
        if (place->at == 0 || (place->parent == parent && same_label(p->ret->wire + place->at, label)))
            return place;
    }
    return NULL;
}

static void suffixes_init(struct packer *p, size_t len)
{
    uint32_t size = SUFFIXES_MIN;
    while (size < SUFFIXES_MAX && size < len / 4)
        size *= 2;
    p->mask = size - 1;
    memset(p->suffixes, 0, size * sizeof p->suffixes[0]);
}

/* ---- writing ---- */

static inline void put(struct packer *p, const uint8_t *bytes, size_t n)
{
    if (p->full || n > SHD_MESSAGE_MAX - p->at) {
        p->full = true;
        return;
    }
    memcpy(p->ret->wire + p->at, bytes, n);
    p->at += (uint32_t)n;
}

static void put_pointer(struct packer *p, uint16_t to)
{
    uint8_t pointer[2] = {(uint8_t)(0xc0 | (to >> 8)), (uint8_t)to};
    put(p, pointer, 2);
}

/* Note the first `count` labels of the name in hand, now written at offset start, as suffixes before `parent`. */
static void note_suffixes(struct packer *p, const uint8_t *labels, size_t count, uint32_t start, uint16_t parent)
{
    for (size_t i = count; i-- > 0;) {
        uint32_t at = start + labels[i];
        struct suffix *place = at <= POINTER_MAX ? suffix_find(p, parent, p->name + labels[i]) : NULL;
        if (place == NULL)
            return;
        if (place->at == 0)
            *place = (struct suffix){.at = (uint16_t)at, .parent = parent};
        parent = place->at;
    }
}

/* Write the name in hand: as a pointer, or labels and a pointer, if compress. Returns an offset in the wire at which the whole
 * name stands, 0 if there is none that a pointer can reach. */
static uint16_t put_name(struct packer *p, bool compress)
{
    uint8_t labels[128];
    size_t count = 0, n = 0;
    for (; p->name[n] != 0; n += (size_t)p->name[n] + 1)
        labels[count++] = (uint8_t)n;
    labels[count] = (uint8_t)n;
    uint16_t parent = 0;
    size_t fresh = count;    /* labels before the known suffix */
    while (fresh > 0) {
        struct suffix *place = suffix_find(p, parent, p->name + labels[fresh - 1]);
        if (place == NULL || place->at == 0)
            break;
        parent = place->at;
        fresh--;
    }
    uint32_t start = p->at;
    if (compress && parent != 0) {
        put(p, p->name, labels[fresh]);
        put_pointer(p, parent);
    } else {
        put(p, p->name, p->name_len);
    }
    if (p->full)
        return 0;
    note_suffixes(p, labels, fresh, start, parent);
    if (fresh == 0)
        return parent;
    return start <= POINTER_MAX ? (uint16_t)start : 0;
}

/* ---- reading ---- */

/* Read the owner of the next record into the name in hand. Returns what it is as a bare pointer (two octets as they stand), else 0.
 * A pointer seen just before is not decoded again: name_len is then 0. */
static inline uint16_t read_owner(struct packer *p)
{
    uint16_t pointer = 0;
    if (!p->in.failed && p->in.len - p->in.at >= 2 && p->in.base[p->in.at] >= 0xc0)
        pointer = shd_get16(p->in.base + p->in.at);
    p->name_len = 0;
    if (pointer != 0 && pointer == p->memo_in)
        p->in.at += 2;
    else
        p->name_len = (uint8_t)shd_cursor_name(&p->in, p->name);
    return pointer;
}

static void put_owner(struct packer *p, uint16_t pointer)
{
    if (p->name_len == 0) {
        put_pointer(p, p->memo_out);
        return;
    }
    uint16_t to = put_name(p, true);
    if (pointer != 0 && to != 0) {
        p->memo_in = pointer;
        p->memo_out = to;
    }
}

/* Copy the next n octets of the answer. */
static inline void copy(struct packer *p, size_t n)
{
    const uint8_t *bytes = shd_cursor_bytes(&p->in, n);
    if (bytes)
        put(p, bytes, n);
}

/* Copy the RDATA of rdlen octets (they are there), its names written anew. */
static void pack_rdata(struct packer *p, uint16_t type, uint16_t class, size_t rdlen)
{
    struct layout layout = layout_of(type, class);
    size_t whole = p->in.len, end = p->in.at + rdlen;
    p->in.len = end;         /* nothing of it may run past its own end */
    copy(p, layout.before);
    for (int i = 0; i < layout.strings; i++) {
        uint8_t n = p->in.at < end ? p->in.base[p->in.at] : 0;
        copy(p, (size_t)n + 1);
    }
    for (int i = 0; i < layout.names; i++) {
        p->name_len = (uint8_t)shd_cursor_name(&p->in, p->name);
        if (p->name_len != 0)
            put_name(p, layout.compress);
    }
    copy(p, layout.after);
    if (layout.open && !p->in.failed)
        copy(p, end - p->in.at);
    if (p->in.at != end)
        p->in.failed = true;
    p->in.len = whole;
}

/* Whether a record is the message's wrapping and not its contents; OPT's rcode bits are taken over. */
static bool drop_record(struct packer *p, int section, const uint8_t *fields)
{
    uint16_t type = shd_get16(fields);
    if (type == SHD_TYPE_TSIG)
        return true;
    /* SIG(0), a signature of the message (RFC 2931 s.3): type covered is 0 */
    if (type == TYPE_SIG && shd_get16(fields + 8) >= 2 && shd_get16(fields + 10) == 0)
        return true;
    if (type != SHD_TYPE_OPT)
        return false;
    if (section == 2) {
        p->in.failed |= p->has_opt;
        p->has_opt = true;
        p->extended_rcode = (uint16_t)(fields[4] << 4);
    }
    return true;
}

/* A record's TTL; one with the top bit set is 0 (RFC 2181 s.8). */
static inline uint32_t ttl_of(const uint8_t *at)
{
    uint32_t ttl = shd_get32(at);
    return ttl & 0x80000000u ? 0 : ttl;
}

static inline void note_ttl(struct shd_entry_head *head, uint32_t ttl)
{
    if (ttl < head->min_ttl_s)
        head->min_ttl_s = ttl;
}

/* One record of section (0 answer, 1 authority, 2 additional); failures are sticky in p. */
static void pack_record(struct packer *p, int section)
{
    struct shd_entry *ret = p->ret;
    uint16_t pointer = read_owner(p);
    const uint8_t *fields = shd_cursor_bytes(&p->in, 10);
    size_t rdlen = fields ? shd_get16(fields + 8) : 0;
    if (!fields || rdlen > p->in.len - p->in.at) {
        p->in.failed = true;
        return;
    }
    if (drop_record(p, section, fields)) {
        p->in.at += rdlen;
        return;
    }
    uint16_t type = shd_get16(fields);
    uint32_t ttl = ttl_of(fields + 4);
    put_owner(p, pointer);
    uint32_t at = p->at;
    put(p, fields, 10);
    pack_rdata(p, type, shd_get16(fields + 2), rdlen);
    if (p->full || p->in.failed)
        return;
    shd_put32(ret->wire + at + 4, ttl);
    shd_put16(ret->wire + at + 8, (uint16_t)(p->at - at - 10));
    note_ttl(&ret->head, ttl);
    if (section == 1 && type == SHD_TYPE_SOA)
        note_ttl(&ret->head, ttl_of(ret->wire + p->at - 4));
    /* 65,535 octets hold at most 5,957 records, so places cannot overflow */
    ret->places[ret->head.place_count++] = (struct shd_place){.ttl_at = (uint16_t)(at + 4), .end_at = (uint16_t)p->at};
    if (section == 0)
        ret->head.answer_count++;
    else if (section == 1)
        ret->head.authority_count++;
}

/* Whether rcode says that the server may not have understood the question, and so need not repeat it. */
static bool may_lack_question(int rcode)
{
    return rcode == SHD_RCODE_FORMERR || rcode == SHD_RCODE_NOTIMP || rcode == SHD_RCODE_SERVFAIL || rcode == SHD_RCODE_REFUSED;
}

/* Check the answer's question against the one asked and step over it. */
static int check_question(struct packer *p, const struct shd_query *question)
{
    const uint8_t *base = p->in.base, *asked = base + SHD_HEADER_LEN;
    uint16_t count = shd_get16(base + 4);
    if (count == 0)
        return may_lack_question(base[3] & 15) ? 0 : SHD_EMISMATCH;
    if (count != 1)
        return SHD_EMALFORMED;
    if (p->in.len - SHD_HEADER_LEN >= question->question_len) {
        uint8_t differ = 0;
        for (size_t i = 0; i < question->name_len; i++)
            differ |= shd_fold(asked[i]) ^ question->name[i];
        const uint8_t *end = asked + question->name_len;
        if (!differ && shd_get16(end) == question->qtype && shd_get16(end + 2) == question->qclass) {
            p->in.at += question->question_len;
            p->memo_in = p->memo_out = 0xc000 | SHD_HEADER_LEN;
            return 0;
        }
    }
    shd_cursor_name(&p->in, p->name);
    return shd_cursor_bytes(&p->in, 4) ? SHD_EMISMATCH : SHD_EMALFORMED;
}

/* Begin the wire: room for the header, the question as asked, its suffixes known. */
static void put_question(struct packer *p, const struct shd_query *question)
{
    uint8_t *wire = p->ret->wire, *end = wire + SHD_HEADER_LEN + question->name_len;
    memcpy(wire + SHD_HEADER_LEN, question->name, question->name_len);
    shd_put16(end, question->qtype);
    shd_put16(end + 2, question->qclass);
    memcpy(p->name, question->name, question->name_len);
    p->at = SHD_HEADER_LEN + question->question_len;
    note_suffixes(p, question->labels, question->label_count, SHD_HEADER_LEN, 0);
}

static void put_header(struct shd_entry *ret)
{
    struct shd_entry_head *head = &ret->head;
    shd_put16(ret->wire, 0);
    shd_put16(ret->wire + 2, (uint16_t)(SHD_FLAG_QR | head->flags | (head->rcode & 15)));
    shd_put16(ret->wire + 4, 1);
    shd_put16(ret->wire + 6, head->answer_count);
    shd_put16(ret->wire + 8, head->authority_count);
    shd_put16(ret->wire + 10, (uint16_t)(head->place_count - head->answer_count - head->authority_count));
}

int shd_entry_pack(const uint8_t *wire, size_t len, const struct shd_query *question, struct shd_entry *ret)
{
    ret->head = (struct shd_entry_head){.min_ttl_s = UINT32_MAX};
    if (len < SHD_HEADER_LEN || len > SHD_MESSAGE_MAX || question->question_len == 0)
        return SHD_EMALFORMED;
    uint16_t flags = shd_get16(wire + 2);
    if (!(flags & SHD_FLAG_QR) || (flags & 0x7800))
        return SHD_EMALFORMED;
    struct packer p;         /* not initialised as a whole: the suffixes are 8 KiB */
    p.in = shd_cursor_init(wire, len);
    p.in.at = SHD_HEADER_LEN;
    p.ret = ret;
    p.full = p.has_opt = false;
    p.extended_rcode = p.memo_in = p.memo_out = 0;
    int err = check_question(&p, question);
    if (err < 0)
        return err;
    suffixes_init(&p, len);
    put_question(&p, question);
    for (int section = 0; section < 3; section++)
        for (uint32_t n = shd_get16(wire + 6 + 2 * section); n > 0 && !p.in.failed && !p.full; n--)
            pack_record(&p, section);
    uint32_t rcode = (flags & 15u) | p.extended_rcode;
    if (p.in.failed || rcode > UINT8_MAX)
        return SHD_EMALFORMED;
    if (p.full)
        return SHD_ESPACE;
    ret->head.rcode = (uint8_t)rcode;
    ret->head.flags = flags & (SHD_FLAG_AA | SHD_FLAG_TC | SHD_FLAG_RA | SHD_FLAG_AD);
    ret->head.wire_len = p.at;
    put_header(ret);
    memset(ret->wire + p.at, 0, 8);    /* the table copies whole words */
    return 0;
}
