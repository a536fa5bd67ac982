/* The way of a query in a worker: bytes in, a verdict (and, for a hit, the reply's bytes) out. Pure: memory and `now` are arguments.
 * The UDP loop (serve.c) and the TCP side (Python) call the same function, each with an answerer of its own. */
#ifndef SHD_ANSWER_H
#define SHD_ANSWER_H
#include "base.h"
#include "asks.h"
#include "counters.h"
#include "entry.h"
#include "rules.h"
#include "table.h"
#include "wire.h"

enum shd_action {
    SHD_DROP = 0,             /* silence */
    SHD_REPLY = 1,            /* the reply is in out; and if verdict.ask_kind is not 0, an ask of that kind (nobody waits) is due as well */
    SHD_ASK = 2,              /* a miss: hand it to the upstream process */
};

/* One reply, as the `log` plugin prints it. */
struct shd_log_record {
    uint64_t time_ns;         /* CLOCK_REALTIME when the reply was made */
    uint64_t duration_ns;
    uint32_t block;
    uint32_t request_len, response_len;
    uint16_t listener;
    uint16_t id;
    uint16_t qtype, qclass;
    uint16_t query_flags, reply_flags;   /* header flags, host order; reply_flags is 0 when no plugin wrote the reply (SHD_BY_NONE) */
    uint16_t udp_size;        /* what the client offered; 512 without OPT */
    uint16_t rcode;
    uint8_t dnssec_ok, proto, family, peer_len;
    uint8_t log_class;        /* enum shd_log_class of the reply: a block may log one class per name */
    uint8_t peer[28];         /* sockaddr */
    uint8_t name_len;         /* of name; the case is the client's */
    uint8_t name[255];
};

/* Single producer, single consumer, private memory of one process; full: the record is dropped and counted. */
struct shd_log_ring {
    SHD_ATOMIC(uint32_t) head;           /* consumer */
    SHD_ATOMIC(uint32_t) tail;           /* producer */
    struct shd_log_record records[512];
};

/* The next record into ret: 1, or 0 when there is none. */
int shd_log_take(struct shd_log_ring *ring, struct shd_log_record *ret);

struct shd_answerer {         /* one per thread; filled by Python */
    const struct shd_rules *rules;
    const void *table;                   /* mapped read-only */
    struct shd_mark *marks;
    struct shd_row *rows;                /* this thread's array */
    struct shd_process_counters *process;
    struct shd_log_ring *log;            /* NULL: no block logs */
    struct shd_entry *entry;             /* scratch */
    uint16_t udp_max;                    /* octets of a UDP reply at most, whatever the client offers (ours: 4096) */
};

struct shd_verdict {
    uint8_t action;           /* enum shd_action */
    uint8_t ask_kind;         /* enum shd_ask_kind, 0: none */
    uint16_t rcode;           /* of the reply */
    int32_t block;            /* -1: none */
    uint32_t row;
    uint32_t reply_len;
    uint8_t plugin;           /* enum shd_writer_plugin of the reply */
    uint8_t logged;           /* the reply's class (enum shd_log_class) if the block wants a record of it, else 0 */
};

/* A query between the two halves of its answer. */
struct shd_lookup {
    const struct shd_block_rule *rule;   /* NULL: no cache may have its answer */
    uint64_t hash;
    uint32_t key_len;
    int32_t error;            /* of the parser; 0: none */
    uint8_t key[272];         /* SHD_KEY_MAX, at most */
};

/* Answer packet, received on listener over proto (enum shd_proto) from a client of family (enum shd_family).
 *
 * now_ns   CLOCK_MONOTONIC
 * out      cap octets for the reply (65,535 for TCP)
 * query    filled by the parser; its packet pointer refers to packet
 *
 * Does not count the reply: call shd_answer_count for every SHD_REPLY once the reply's time is known. */
void shd_answer(struct shd_answerer *answerer, const uint8_t *packet, size_t len, uint16_t listener, int proto, int family,
                uint64_t now_ns, uint8_t *out, size_t cap, struct shd_query *query, struct shd_verdict *ret);

/* The same in three steps, each over a whole batch, so that its queries wait for memory together and not one after the other: begin reads a
 * query, fetch has the processor ask for what the ends will read, end makes the verdict that begin began. */
void shd_answer_begin(const struct shd_answerer *answerer, const uint8_t *packet, size_t len, uint16_t listener, int proto, int family,
                      struct shd_query *query, struct shd_lookup *lookup, struct shd_verdict *ret);
void shd_answer_fetch(const struct shd_answerer *answerer, const struct shd_lookup *lookups, unsigned count);
void shd_answer_end(struct shd_answerer *answerer, const struct shd_query *query, const struct shd_lookup *lookup, int proto, uint64_t now_ns,
                    uint8_t *out, size_t cap, struct shd_verdict *ret);

/* Count (and log, if its block logs that class) a reply that shd_answer made. peer: sockaddr of the client. */
void shd_answer_count(struct shd_answerer *answerer, const struct shd_query *query, const struct shd_verdict *verdict, uint16_t listener,
                      int proto, int family, const uint8_t *peer, uint8_t peer_len, const uint8_t *reply, uint64_t duration_ns, uint64_t realtime_ns);

#endif
