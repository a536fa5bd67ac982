/* SipHash-1-3: one round per word, three at the end. The variant hash tables use: keyed, and about twice as fast as 2-4.
 * Aumasson and Bernstein, "SipHash: a fast short-input PRF". Must never see an unbounded length or keep state. */
#include "hash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t word, int bits)
{
    return (word << bits) | (word >> (64 - bits));
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

/* 8 octets as a little-endian word, on any machine; compilers make one load of it. */
static inline uint64_t word_of(const uint8_t *bytes)
{
    uint64_t ret = 0;
    for (int i = 0; i < 8; i++)
        ret |= (uint64_t)bytes[i] << (8 * i);
    return ret;
}

/* The `left` (0 to 7) octets at bytes, the last of len, as a word. One load that reaches back over octets already taken,
 * where there are any: a loop over the octets costs as much as the whole hash of a short key. */
static inline uint64_t tail_of(const uint8_t *bytes, size_t left, size_t len)
{
    if (left == 0)
        return 0;
    if (len >= 8)
        return word_of(bytes + left - 8) >> (64 - 8 * left);
    uint64_t ret = 0;
    for (size_t i = 0; i < left; i++)
        ret |= (uint64_t)bytes[i] << (8 * i);
    return ret;
}

uint64_t shd_hash(const uint64_t seed[2], const uint8_t *bytes, size_t len)
{
    struct sip s = {
        .v0 = seed[0] ^ 0x736f6d6570736575u,
        .v1 = seed[1] ^ 0x646f72616e646f6du,
        .v2 = seed[0] ^ 0x6c7967656e657261u,
        .v3 = seed[1] ^ 0x7465646279746573u,
    };
    size_t left = len;
    for (; left >= 8; bytes += 8, left -= 8) {
        uint64_t word = word_of(bytes);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    uint64_t last = ((uint64_t)(len & 0xff) << 56) | tail_of(bytes, left, len);
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
