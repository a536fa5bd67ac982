/* The other segments: one per worker slot, one of the upstream process. The table's own is in table.h.
 * Each begins with the same head; a process that finds a head it does not know refuses the segment.
 *
 *   worker slot   struct shd_slot_segment | marks (shd_table_marks_size octets)      written by that worker only
 *   upstream      struct shd_upstream_segment                                        written by the upstream process only
 */
#ifndef SHD_SEGMENTS_H
#define SHD_SEGMENTS_H
#include "base.h"
#include "asks.h"
#include "counters.h"
#include "table.h"

struct shd_segment_head {     /* 64 octets; written once by the supervisor */
    uint64_t magic;
    uint32_t version;
    uint32_t slot;
    uint64_t size;
    uint8_t boot_id[16];
    uint8_t pad[24];
};

/* The datagrams that a worker's C thread has read and not answered yet. The kernel writes them here (serve.c), so what a worker
 * had in hand when it was killed is answered by the next one in its place. Written by that thread and the kernel for it. */
struct shd_batch {
    uint32_t generation;           /* of the worker: an older one's datagrams nobody waits for any more */
    uint16_t listener;             /* of the socket they came to */
    uint16_t tries;                /* of successors so far: a datagram that kills whoever reads it must not do so for ever */
    uint8_t pad[56];
    uint64_t messages[64][8];      /* struct mmsghdr; msg_len is 0 where there is nothing to answer */
    uint8_t peers[64][28];         /* union shd_address */
    uint8_t controls[64][40];      /* union shd_control */
    uint8_t queries[64][1280];
};

struct shd_slot_segment {
    struct shd_segment_head head;
    struct shd_process_counters process;
    struct shd_row rows[2][1024];    /* [SHD_UDP]: written by the C thread; [SHD_TCP]: by the event loop's thread */
    struct shd_batch batch;
    struct shd_ask_ring ring;
    struct shd_mark marks[1];  /* really shd_table_marks_size octets */
};

/* The counts that the upstream process keeps outside of C, for its successor (upstream/ledger.py): it writes the half that is
 * not in use, then its size, then counts turn up, so that a kill at any moment leaves one whole half. Written and read by that
 * process alone. */
struct shd_ledger {
    uint32_t turn;               /* odd or even: the half in use; 0: none yet */
    uint32_t size[2];            /* octets of each half in use */
    uint32_t pad[13];
    uint8_t halves[2][131072];
};

struct shd_upstream_segment {
    struct shd_segment_head head;
    SHD_ATOMIC(uint32_t) sleeping;   /* the upstream process waits: wake it by the eventfd */
    uint32_t pad[15];
    struct shd_process_counters process;
    struct shd_row rows[1024];
    struct shd_ask_done done[128];
    struct shd_ledger ledger;
};

uint64_t shd_slot_segment_size(const struct shd_geometry *geometry);
uint64_t shd_upstream_segment_size(void);
void shd_segment_init(void *segment, uint32_t slot, uint64_t size, const uint8_t boot_id[16]);
/* 0, or SHD_EHEADER. */
int shd_segment_check(const void *segment, uint32_t slot, uint64_t size, const uint8_t boot_id[16]);

#endif
