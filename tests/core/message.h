/* Building messages by hand, well-formed or not, for the C tests. */
#ifndef MESSAGE_H
#define MESSAGE_H
#include <stdlib.h>
#include "wire.h"

struct message {
    uint8_t wire[70000];
    size_t len;
};

static inline void put_u8(struct message *m, unsigned v) { m->wire[m->len++] = (uint8_t)v; }
static inline void put_u16(struct message *m, unsigned v) { put_u8(m, v >> 8); put_u8(m, v & 0xff); }
static inline void put_u32(struct message *m, uint32_t v) { put_u16(m, v >> 16); put_u16(m, v & 0xffff); }

static inline void put_bytes(struct message *m, const void *bytes, size_t n)
{
    memcpy(m->wire + m->len, bytes, n);
    m->len += n;
}

/* A name of dotted text, no escapes: "www.example.org", "" is the root. */
static inline void put_labels(struct message *m, const char *text)
{
    while (*text) {
        const char *dot = strchr(text, '.');
        size_t n = dot ? (size_t)(dot - text) : strlen(text);
        put_u8(m, (unsigned)n);
        put_bytes(m, text, n);
        text += n + (dot != NULL);
    }
}
static inline void put_text_name(struct message *m, const char *text) { put_labels(m, text); put_u8(m, 0); }
static inline void put_to(struct message *m, size_t offset) { put_u16(m, 0xc000u | (unsigned)offset); }

static inline void message_begin(struct message *m, unsigned id, unsigned flags)
{
    m->len = 0;
    put_u16(m, id);
    put_u16(m, flags);
    for (int i = 0; i < 4; i++)
        put_u16(m, 0);
}
static inline void message_counts(struct message *m, unsigned qd, unsigned an, unsigned ns, unsigned ar)
{
    shd_put16(m->wire + 4, (uint16_t)qd);
    shd_put16(m->wire + 6, (uint16_t)an);
    shd_put16(m->wire + 8, (uint16_t)ns);
    shd_put16(m->wire + 10, (uint16_t)ar);
}

static inline void put_question(struct message *m, const char *name, unsigned type)
{
    put_text_name(m, name);
    put_u16(m, type);
    put_u16(m, 1);
}

/* The fields of a record after its owner; returns where the RDATA's length stands, for rdata_end. */
static inline size_t put_fields(struct message *m, unsigned type, uint32_t ttl)
{
    put_u16(m, type);
    put_u16(m, 1);
    put_u32(m, ttl);
    put_u16(m, 0);
    return m->len - 2;
}
static inline void rdata_end(struct message *m, size_t at) { shd_put16(m->wire + at, (uint16_t)(m->len - at - 2)); }

static inline void put_a(struct message *m, uint32_t ttl, uint32_t address)
{
    size_t at = put_fields(m, 1, ttl);
    put_u32(m, address);
    rdata_end(m, at);
}

/* An OPT without options. */
static inline void put_opt_record(struct message *m, unsigned size, unsigned extended_rcode, unsigned version, unsigned flags)
{
    put_u8(m, 0);
    put_u16(m, SHD_TYPE_OPT);
    put_u16(m, size);
    put_u8(m, extended_rcode);
    put_u8(m, version);
    put_u16(m, flags);
    put_u16(m, 0);
}

/* A copy on the heap of exactly len octets, so that the sanitizer sees a read past it. */
static inline uint8_t *exact(const uint8_t *bytes, size_t len)
{
    uint8_t *ret = malloc(len ? len : 1);
    if (len)
        memcpy(ret, bytes, len);
    return ret;
}

#endif
