/* The upstream process's side of the way of a miss, in bulk: take asks out of the rings, turn an upstream's answer into an entry,
 * store it, reply to every ask that waited for it. The flights between (which asks wait for which upstream query) are Python's.
 *
 * A UDP waiter is one number: slot << 12 | place, as in struct shd_taken. TCP clients' misses come over a Unix socket and are
 * handled one at a time with the functions that end in _wire. */
#ifndef SHD_FINISH_H
#define SHD_FINISH_H
#include "base.h"
#include "answer.h"
#include "segments.h"

/* A miss that needs a flight. Python reads arrays of these with struct.iter_unpack. */
struct shd_taken {            /* 600 octets */
    uint32_t waiter;          /* slot << 12 | place */
    uint32_t block;
    uint32_t row;
    uint16_t qtype;
    uint16_t qclass;
    uint16_t query_len;
    uint8_t kind;             /* enum shd_ask_kind */
    uint8_t name_len;         /* of the name at flight + 13 */
    uint8_t over_tcp;         /* the client's transport */
    uint8_t has_opt;
    uint8_t pad[2];
    uint8_t flight[280];      /* what makes two asks the same upstream query: table key, zeros to 272, RD, transport, zeros */
    uint8_t query[296];       /* the message to ask upstream: id 0, folded name, OPT (1,232 octets, DO) if the client sent one */
};

struct shd_outbox;

struct shd_finish {           /* filled by Python; one per upstream process */
    const struct shd_rules *rules;
    const void *table;
    struct shd_writer *writer;
    const uint32_t *caps;                /* by block: index among the writer's caps (blocks with one cache id share one) */
    const struct shd_slot_segment *slots[128];
    uint32_t slot_count;
    uint32_t worker_count;               /* socket of slot s: fds[listener][s % worker_count] */
    struct shd_upstream_segment *own;
    struct shd_entry *entry;             /* scratch: the answer in hand */
    struct shd_entry *spare;             /* scratch, from shd_finish_create: an entry to compare with */
    struct shd_log_ring *log;            /* NULL: no block logs */
    struct shd_outbox *outbox;           /* from shd_finish_create */
    uint8_t *in_hand;                    /* likewise: one octet per place of every slot, 1 while Python has it */
    uint32_t scans[128];                 /* ring.scans as last seen, plus 1; 0: scan at the first take */
    uint32_t *places;                    /* scratch, likewise */
    uint32_t waiters_sent[64];           /* waiters whose replies wait in the outbox */
    uint32_t waiters_sent_count;
    int32_t fds[64][64];                 /* [listener][worker]; -1: none */
    uint16_t udp_max;
};

/* Allocate outbox and scratch. 0, or SHD_EFULL. */
int shd_finish_create(struct shd_finish *finish);
void shd_finish_destroy(struct shd_finish *finish);

/* Take at most cap asks that need a flight into ret. Asks that can be answered at once (stored meanwhile; no block any more) are; refreshes that
 * are no longer due are dropped. now_ns: CLOCK_MONOTONIC. Returns how many; *more is set when cap was reached. Call shd_finish_flush after it. */
int shd_take(struct shd_finish *finish, uint64_t now_ns, struct shd_taken *ret, int cap, int *more);
/* Whether any ring holds something not taken: to be asked after own->sleeping was set (this function fences). */
int shd_take_waiting(const struct shd_finish *finish);

/* The same for one query that came over the miss line. Returns the length of a reply in out (65,535 octets), 0 when ret needs a flight, SHD_EDROP for silence. */
int shd_take_wire(struct shd_finish *finish, const uint8_t *packet, size_t len, uint16_t listener, int family, uint8_t ask_kind,
                  const uint8_t *peer, uint8_t peer_len, uint64_t arrived_ns, uint64_t now_ns, struct shd_taken *ret, uint8_t *out);

enum shd_store { SHD_STORE_SUCCESS = 1, SHD_STORE_DENIAL = 2, SHD_STORE_FAILURE = 4 };

/* Make the entry in hand of an upstream's answer to flight (struct shd_taken.flight), and store it unless it may not be
 * (stores: enum shd_store, what the block's zone lists allow for this name; RD clear and a block without cache store nothing; a failure
 * never replaces an answer that is fresh or may be served stale). Returns its kind (enum shd_kind), or SHD_EMALFORMED, SHD_EMISMATCH. */
int shd_finish_accept(struct shd_finish *finish, const uint8_t *wire, size_t len, const uint8_t *flight, uint32_t block, uint32_t stores,
                      uint64_t now_ns);
/* Make the stored answer of flight the entry in hand if it is fresh or may be served stale: 1 fresh, 2 stale, 0 none. */
int shd_finish_recall(struct shd_finish *finish, const uint8_t *flight, uint32_t block, uint64_t now_ns);

enum shd_finish_how { SHD_FROM_UPSTREAM = 0, SHD_FROM_TABLE = 1, SHD_FROM_STALE = 2 };

/* Reply with the entry in hand to count waiters. Replies leave at shd_finish_flush, or when a batch is full. plugin: enum shd_writer_plugin. */
void shd_finish_reply(struct shd_finish *finish, const uint32_t *waiters, uint32_t count, int how, int plugin, uint64_t now_ns);
/* Reply with an error. */
void shd_finish_error(struct shd_finish *finish, const uint32_t *waiters, uint32_t count, int rcode, int plugin, uint64_t now_ns);
/* Send what waits, and free the places of the ring that were answered. */
void shd_finish_flush(struct shd_finish *finish);

/* The same for one TCP client: the length of the reply in out (65,535 octets). rcode < 0: with the entry in hand. */
int shd_finish_wire(struct shd_finish *finish, const uint8_t *packet, size_t len, uint16_t listener, int family, const uint8_t *peer,
                    uint8_t peer_len, int how, int rcode, int plugin, uint64_t arrived_ns, uint64_t now_ns, uint8_t *out);

#endif
