/* Ask rings: how a worker hands a miss to the upstream process, with no lock and one writer per piece of memory.
 *
 * A worker's slot segment (written by that worker only) holds `asks[]` (places) and `queue[]` (order of arrival: a place, and which of its
 * turns it is).
 * The upstream process's own segment (written by it only) holds, for each worker slot, `done[]`: one word per place,
 * and `taken`: how far it has read the queue.
 *
 *   place free        done[slot][i] == turns[i]
 *   worker puts       finds a free place i; fills asks[i]; queue[tail % N] = i, turns[i] + 1; turns[i] += 1 (release); tail += 1 (release)
 *   upstream takes    while taken != tail (acquire): i, turn = queue[taken % N]; if turns[i] is turn and i not free the ask is asks[i]; taken += 1
 *   upstream answers  sends the reply, then done[slot][i] = turns[i] (release; pairs with the worker's acquire when it looks for a free place)
 *
 * An ask is open while turn != done. So after the upstream process was killed its successor scans all places for
 * turn != done and has every open ask again; and after a worker was killed between its two releases its successor bumps `scans`,
 * which makes the upstream process scan that slot. A scan may find an ask before the queue names it; the turn in the queue keeps
 * a place that is finished and filled anew by then from being met twice.
 * The worker's search for a free place walks a window that starts at 64 places and doubles when it is full, so memory touched follows need.
 *
 * Wake-up: the upstream process sets `sleeping` (seq_cst) before it waits and looks at the tails once more; a worker
 * that has put asks fences (seq_cst), reads `sleeping` and writes the eventfd only if it is set. */
#ifndef SHD_ASKS_H
#define SHD_ASKS_H
#include "base.h"
#include "wire.h"

enum shd_asks_const {
    SHD_ASKS = 4096,          /* places per worker slot, a power of two */
    SHD_ASK_WIRE = 416,       /* octets of query kept; a longer one is cut to header, question and a bare OPT */
};

enum shd_ask_kind {
    SHD_ASK_CLIENT = 1,       /* a client waits */
    SHD_ASK_REFRESH = 2,      /* nobody waits: a stale entry was served */
    SHD_ASK_PREFETCH = 3,     /* nobody waits: a popular entry is about to expire */
};

struct shd_ask {              /* 512 octets */
    uint16_t listener;        /* permanent index of the listen address */
    uint16_t wire_len;
    uint32_t spare_word;
    uint64_t arrived_ns;      /* CLOCK_MONOTONIC */
    uint8_t kind;
    uint8_t peer_len;         /* octets of peer used: sizeof sockaddr_in or sockaddr_in6 */
    uint8_t local_family;     /* 0: the socket's own address; 4 or 6: local[] and local_ifindex hold what IP_PKTINFO said */
    uint8_t spare;
    uint32_t local_ifindex;
    uint8_t local[16];
    uint8_t peer[28];
    uint8_t pad[28];
    uint8_t wire[416];
};

struct shd_ask_ring {         /* in a worker's slot segment; written by the worker */
    SHD_ATOMIC(uint32_t) tail;
    SHD_ATOMIC(uint32_t) scans;
    SHD_ATOMIC(uint64_t) full;       /* asks not put because no place was free */
    uint32_t pad[12];
    SHD_ATOMIC(uint32_t) turns[4096];  /* apart from asks[]: a scan reads 16 KiB, and touches no ask that was never used */
    SHD_ATOMIC(uint32_t) queue[4096];  /* place | turn << 12 */
    struct shd_ask asks[4096];
};

struct shd_ask_done {         /* in the upstream process's segment, one per worker slot; written by the upstream process */
    SHD_ATOMIC(uint32_t) taken;
    uint32_t pad[15];
    SHD_ATOMIC(uint32_t) done[4096];
};

/* The worker's private place-finder. */
struct shd_ask_finder {
    uint32_t next;
    uint32_t window;
};

/* A free place of ring for the caller to fill, its index in *index; NULL when all are open (counted in ring->full). */
struct shd_ask *shd_ask_begin(struct shd_ask_ring *ring, const struct shd_ask_done *done, struct shd_ask_finder *finder, uint32_t *index);
/* Publish the place that shd_ask_begin gave. */
void shd_ask_publish(struct shd_ask_ring *ring, uint32_t index);
/* Copy query's packet (or its shortened form) into ask->wire. */
void shd_ask_set_wire(struct shd_ask *ask, const struct shd_query *query);
/* A worker starts on a ring that may hold open asks of its predecessor: makes the upstream process scan it. */
void shd_ask_adopt(struct shd_ask_ring *ring);

/* Upstream: the next asks of the queue, at most cap place indices into ret; those answered meanwhile are left out. Returns how many; fewer than cap
 * means that the queue is empty. After a scan one that the scan gave may come again: the caller ignores what it has in hand. */
int shd_ask_take(const struct shd_ask_ring *ring, struct shd_ask_done *done, uint32_t *ret, int cap);
/* Upstream: every open place's index into ret (at most 4096), each once, and taken = tail. For start and after `scans` changed.
 * The caller ignores those it already has in hand. */
int shd_ask_scan(const struct shd_ask_ring *ring, struct shd_ask_done *done, uint32_t *ret);
/* Upstream: whether the queue holds something not taken. */
int shd_ask_waiting(const struct shd_ask_ring *ring, const struct shd_ask_done *done);
/* Upstream: the ask at index was answered (or needs none). */
void shd_ask_finish(const struct shd_ask_ring *ring, struct shd_ask_done *done, uint32_t index);

#endif
