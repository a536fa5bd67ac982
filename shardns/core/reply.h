/* Writing a reply to one client from an entry, or an error. Pure: memory and ages are arguments. */
#ifndef SHD_REPLY_H
#define SHD_REPLY_H
#include "base.h"
#include "entry.h"
#include "wire.h"

enum shd_reply_flags {
    SHD_REPLY_HIT = 1,        /* from the table: AA is set, as CoreDNS's cache does */
    SHD_REPLY_KEEP_TTL = 2,   /* TTLs as they are in entry.ttl_s, not aged (`keepttl`) */
    SHD_REPLY_RAW_TTL = 4,    /* leave each record's own TTL (a block without `cache`) */
};

/* Write the reply to query from entry into out.
 *
 * ttl_s     what every record shows (the caller has aged it: 0 for a stale answer, at least 1 while fresh)
 * limit     octets the client takes: min(query's udp_size, ours) over UDP, 65,535 over TCP
 * flags     enum shd_reply_flags
 *
 * id, question in the client's own case, RD and CD echoed; AD only if the query had AD or DO; RA as stored;
 * OPT last, only if the query had one: root owner, size = the client's own udp_size echoed, version 0, DO echoed, no options.
 * An rcode above 15 becomes SERVFAIL for a client without OPT: its low bits alone would say something else.
 * What does not fit is cut at a record boundary, from the end, TC set only if an answer or authority record was cut
 * (RFC 2181 s.9), counts right.
 * Returns the length; SHD_ESPACE when limit cannot hold header, question and OPT; SHD_EMALFORMED for an entry whose parts contradict each
 * other. out holds at least limit octets. */
int shd_reply_entry(const struct shd_query *query, const struct shd_entry *entry, uint32_t ttl_s,
                    uint32_t flags, uint8_t *out, size_t limit);

/* Write a reply with rcode and no records into out (at least 12 + 259 + 11 octets): the question is echoed when it parsed, OPT when the query had one
 * (BADVERS is carried in it, RFC 6891 s.6.1.3; forced for BADVERS). QR set, RD and CD and opcode echoed, RA clear. Returns the length. */
int shd_reply_error(const struct shd_query *query, int rcode, uint8_t *out);

#endif
