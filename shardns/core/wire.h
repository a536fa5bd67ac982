/* Reading messages off the wire: a bounded cursor with a sticky error, and the query parser.
 * Pure; never reads past the length given; allocates nothing. */
#ifndef SHD_WIRE_H
#define SHD_WIRE_H
#include "base.h"

enum shd_wire_const {
    SHD_HEADER_LEN = 12,
    SHD_OPT_LEN = 11,
    SHD_UDP_MIN = 512,       /* what a client without EDNS takes (RFC 1035 s.4.2.1) */
    SHD_FLAG_QR = 0x8000,
    SHD_FLAG_AA = 0x0400,
    SHD_FLAG_TC = 0x0200,
    SHD_FLAG_RD = 0x0100,
    SHD_FLAG_RA = 0x0080,
    SHD_FLAG_AD = 0x0020,
    SHD_FLAG_CD = 0x0010,
    SHD_TYPE_SOA = 6,
    SHD_TYPE_OPT = 41,
    SHD_TYPE_DS = 43,
    SHD_TYPE_IXFR = 251,
    SHD_TYPE_AXFR = 252,
    SHD_TYPE_TSIG = 250,
    SHD_RCODE_NOERROR = 0,
    SHD_RCODE_FORMERR = 1,
    SHD_RCODE_SERVFAIL = 2,
    SHD_RCODE_NXDOMAIN = 3,
    SHD_RCODE_NOTIMP = 4,
    SHD_RCODE_REFUSED = 5,
    SHD_RCODE_BADVERS = 16,
};

/* One question received, with what may change its answer. */
struct shd_query {
    const uint8_t *packet;     /* the caller's memory; the question in the client's own case is at packet + 12 */
    uint32_t packet_len;
    uint16_t id;
    uint16_t flags;            /* as received, host order */
    uint16_t qtype;
    uint16_t qclass;
    uint16_t name_len;         /* octets, root label included; 0: the question was not parsed */
    uint16_t question_len;     /* name_len + 4; 0: there is none to echo */
    uint16_t udp_size;         /* from OPT, at least 512; 512 without OPT */
    uint8_t has_opt;           /* the client sent an OPT record */
    uint8_t edns_version;
    uint8_t dnssec_ok;         /* DO (RFC 3225) */
    uint8_t label_count;       /* root not counted */
    uint8_t name[256];         /* the name folded to lower case, wire form; past name_len: anything */
    uint8_t labels[128];       /* offset in name of each label, first to last */
};

/* Parse packet as a query into ret.
 *
 * Returns 0; SHD_EDROP (shorter than a header, or QR set); SHD_ENOTIMP (opcode not QUERY);
 * SHD_EFORMERR (question count not 1, compressed or overlong question name, a record that runs past the end,
 * two OPTs, an OPT whose owner is not the root, options that do not fit their OPT, answer or authority records in a
 * query (but for IXFR's SOA), octets after the last record); SHD_EBADVERS. Other records in additional, as TSIG and
 * SIG(0), are read over. The opcode is judged before the rest, the EDNS version after it. Below zero other than SHD_EDROP
 * ret is filled as far as a reply needs it (id, flags, question when it parsed, has_opt).
 * RFC 1035 s.4, RFC 6891 s.6.1.1 and 6.1.3, RFC 9619. */
int shd_query_parse(const uint8_t *packet, size_t len, struct shd_query *ret);

#ifndef SHD_CDEF
/* A bounded reader. After the first read past the end `failed` stays set and every read gives 0,
 * so a parser checks once, at its end. */
struct shd_cursor {
    const uint8_t *base;
    size_t len;
    size_t at;
    bool failed;
};

struct shd_cursor shd_cursor_init(const uint8_t *base, size_t len);
uint8_t shd_cursor_u8(struct shd_cursor *cursor);
uint16_t shd_cursor_u16(struct shd_cursor *cursor);
uint32_t shd_cursor_u32(struct shd_cursor *cursor);
/* The address of the next n octets, then past them; NULL (and failed) when there are fewer. */
const uint8_t *shd_cursor_bytes(struct shd_cursor *cursor, size_t n);
/* Read a name that may be compressed into ret (at least 255 octets), uncompressed, case kept; returns its length, 0 on failure.
 * Pointers must point before the part of the name they end (so loops end); the whole is at most 255 octets, labels at most 63. */
size_t shd_cursor_name(struct shd_cursor *cursor, uint8_t *ret);

static inline uint8_t shd_fold(uint8_t octet)
{
    return (octet >= 'A' && octet <= 'Z') ? (uint8_t)(octet + 32) : octet;
}
static inline uint16_t shd_get16(const uint8_t *at) { return (uint16_t)((at[0] << 8) | at[1]); }
static inline uint32_t shd_get32(const uint8_t *at) { return ((uint32_t)shd_get16(at) << 16) | shd_get16(at + 2); }
static inline void shd_put16(uint8_t *at, uint16_t v) { at[0] = (uint8_t)(v >> 8); at[1] = (uint8_t)v; }
static inline void shd_put32(uint8_t *at, uint32_t v) { shd_put16(at, (uint16_t)(v >> 16)); shd_put16(at + 2, (uint16_t)v); }
#endif

#endif
