/* Counters: plain numbers in shared memory, one block per slot, each written by its slot's process alone and summed by
 * the metrics page. They survive their process. Names in comments are the metrics they become (CoreDNS 1.13.2). */
#ifndef SHD_COUNTERS_H
#define SHD_COUNTERS_H
#include "base.h"

enum shd_counter_const {
    SHD_TYPES = 20,           /* query types told apart; the last is `other` (counters.c lists them) */
    SHD_RCODES = 24,          /* rcodes 0..22, the last is any other */
    SHD_TIME_BUCKETS = 17,    /* 0.00025 * 2^n s, n = 0..15, then +Inf; not cumulative */
    SHD_SIZE_BUCKETS = 15,    /* 0 100 200 300 400 511 1023 2047 4095 8291 16000 32000 48000 64000 +Inf; not cumulative */
};

enum shd_writer_plugin {      /* label `plugin` of coredns_dns_responses_total: who wrote the answer */
    SHD_BY_NONE = 0,          /* "" */
    SHD_BY_CACHE = 1,
    SHD_BY_FORWARD = 2,
    SHD_BY_LOOP = 3,
    SHD_BY_HOSTS = 4,
    SHD_BY_TEMPLATE = 5,
    SHD_BY_REWRITE = 6,
    SHD_BY_WHOAMI = 7,
    SHD_BY_COUNT = 8,
};

/* Indices of the two-valued dimensions. */
enum shd_proto { SHD_UDP = 0, SHD_TCP = 1 };
enum shd_family { SHD_IPV4 = 0, SHD_IPV6 = 1 };

struct shd_row {              /* one (listener, zone) pair */
    uint64_t requests[2][2][20];       /* [proto][family][type]: coredns_dns_requests_total */
    uint64_t do_requests;              /* coredns_dns_do_requests_total */
    uint64_t duration[17];             /* coredns_dns_request_duration_seconds */
    uint64_t duration_ns;              /*   its sum */
    uint64_t request_size[2][15];      /* [proto]: coredns_dns_request_size_bytes */
    uint64_t request_octets[2];
    uint64_t response_size[2][15];     /* coredns_dns_response_size_bytes */
    uint64_t response_octets[2];
    uint64_t responses[24][8];         /* [rcode][plugin]: coredns_dns_responses_total */
    uint64_t cache_requests;           /* coredns_cache_requests_total */
    uint64_t cache_hits[2];            /* [0] success, [1] denial: coredns_cache_hits_total */
    uint64_t cache_misses;             /* coredns_cache_misses_total */
    uint64_t cache_prefetches;         /* coredns_cache_prefetch_total */
    uint64_t cache_drops;              /* coredns_cache_drops_total: answers to another question than the one asked */
    uint64_t cache_served_stale;       /* coredns_cache_served_stale_total */
};

struct shd_process_counters { /* once per slot; what a worker's two threads both count is atomic */
    uint64_t heartbeat_ns;             /* CLOCK_MONOTONIC of the C loop's last turn (worker), or of the event loop's (upstream) */
    uint64_t heartbeat_loop_ns;        /* the Python event loop's last turn */
    uint64_t packets_received;         /* UDP datagrams read */
    SHD_ATOMIC(uint64_t) packets_malformed;    /* answered FORMERR, NOTIMP or BADVERS */
    SHD_ATOMIC(uint64_t) packets_dropped;      /* silence: not a query */
    uint64_t replies_sent;             /* UDP datagrams sent */
    uint64_t replies_failed;           /* sendmmsg refused one (EAGAIN, EPERM, ...) */
    uint64_t batches;                  /* recvmmsg calls that gave at least one */
    uint64_t asks_put;
    uint64_t asks_full;                /* answered SERVFAIL because the ring was full */
    SHD_ATOMIC(uint64_t) torn_reads;
    SHD_ATOMIC(uint64_t) log_dropped;  /* log records that found their ring full */
    uint64_t tcp_connections;          /* accepted so far */
    uint64_t tcp_open;                 /* gauge */
    uint64_t tcp_evicted;              /* closed to make room */
    uint64_t spare[17];
};

/* A query's index among SHD_TYPES. */
int shd_counter_type(uint16_t qtype);
/* The name of index ("A", ..., "other"); NULL past the end. */
const char *shd_counter_type_name(int index);

struct shd_query;
/* Count a query that was answered: request and response side together, as CoreDNS's prometheus plugin does after the handler ran. */
void shd_count_answer(struct shd_row *row, const struct shd_query *query, int proto, int family, int rcode, int plugin,
                      uint32_t response_len, uint64_t duration_ns);

#endif
