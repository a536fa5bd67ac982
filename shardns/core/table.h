/* The table: the cache in one segment of shared memory. One writer (the upstream process), any number of readers.
 * Pure: memory and `now` are arguments; no system call, no allocation, no lock. Every byte is drawn in table_layout.h.
 *
 *   0        struct shd_table_header            4096 octets
 *   4096     shard 0 | shard 1 | ...            shard_size each
 *
 *   shard    page heads (page_count x 8, padded to 64) | buckets (bucket_count x 64) | padding to 4096 | pages (page_count x SHD_PAGE_SIZE)
 *   bucket   10 ways: 16-bit tags, 32-bit cell references; one cache line
 *   page     cells of one size class, back to back; its head is kept apart from it, so that the heads of all pages share a few cache
 *            lines (at the front of each page, 128 KiB apart, they would all fall into the same set of every cache level)
 *   cell     struct shd_cell (16) | image of an entry (entry.h)
 *
 * A cell reference is the cell's offset in its shard in units of 64 octets; 0 is none.
 * hash: top bits choose the shard, the next the bucket, the low 16 are the tag.
 *
 * READER (any process, mapped read-only)
 *   for each way of the bucket whose tag fits: ref (acquire); page head (acquire); ref again; cell.seq (acquire), odd means torn;
 *   compare hash and key, then copy head, wire, places word by word (relaxed atomic loads); fence (acquire); seq and page head again: changed
 *   means torn. A mismatch counts only if seq and ref still stand, else it is torn too: so a key that is being replaced is never missed.
 *   Lengths read from a cell are checked against its size class before they are used.
 *
 * WRITER
 *   store   take a free cell (its seq is odd); fence (release); words (relaxed); seq even (release); then tag, then ref (release) into the
 *           bucket; the replaced cell (same key) is freed after its way points to the new one.
 *   free    way's ref = 0 or the new one; seq odd (release); the cell goes to its class' free list.
 *   reuse of a page for another size class: every cell evicted, the head's turn += 1, fence (release), and only then a word of it is written.
 *
 * Fields marked `writer` are read and written by the writer alone; they are rebuilt by shd_writer_init, so a
 * writer killed at any point costs at most the entry it was writing.
 *
 * MEMORY is reserved as it is needed, so that no access ever finds that there is none (SIGBUS): header, page heads and buckets by
 * shd_table_reserve before they are touched, a page by the writer before its head says that it is used. So whatever a head calls used
 * has its memory, wherever the writer was killed. What has been reserved is never given back.
 *
 * EVICTION is CLOCK. Every worker slot has an array of marks in its own memory, one per 128 octets of a shard's pages; a hit
 * writes second and epoch there. Each class of each shard has a hand of its own; it evicts the first cell that no worker has hit since the hand
 * last passed its page (by the second; within one second by the epoch, which the writer advances whenever a hand has gone round).
 * A class without a page, or one whose hand goes round more than twice as fast as another's, takes a page from the slowest.
 * A block over its CoreDNS cap (success CAP / denial CAP) evicts from its own list, one per cap over all shards (second chance: an entry
 * that was hit since it was looked at goes to the tail). An entry that replaces one that was in use keeps that one's good name for a lap. */
#ifndef SHD_TABLE_H
#define SHD_TABLE_H
#include "base.h"
#include "entry.h"

enum shd_table_const {
    SHD_LAYOUT_VERSION = 1,
    SHD_TABLE_HEADER = 4096,
    SHD_PAGE_SIZE = 131072,
    SHD_WAYS = 10,
    SHD_CLASSES = 14,
    SHD_MARK_UNIT = 128,      /* octets of page memory per mark; also the smallest cell */
    SHD_TABLE_MIN = 4194304,  /* octets of the smallest table */
    SHD_REFUSED_S = 10,       /* from a page that there was no memory for to the next try */
};

struct shd_geometry {
    uint32_t shard_count;     /* power of two */
    uint32_t bucket_count;    /* per shard, power of two */
    uint32_t page_count;      /* per shard */
    uint32_t spare;
};

struct shd_table_header {     /* written once by the supervisor before any child runs, but for the fields of the writer */
    uint64_t magic;
    uint32_t version;
    uint32_t header_size;
    struct shd_geometry geometry;
    uint64_t seed[2];
    uint8_t boot_id[16];
    SHD_ATOMIC(uint32_t) epoch;    /* writer: laps of the clock hands; workers copy it into marks; starts at 2, skips 0 */
};

struct shd_bucket {           /* 64 octets */
    SHD_ATOMIC(uint16_t) tags[10];
    uint32_t hand;            /* writer: the way to look at first when the bucket is full */
    SHD_ATOMIC(uint32_t) refs[10];
};

struct shd_mark {             /* in a worker's slot segment, written by that worker */
    SHD_ATOMIC(uint32_t) epoch_hits;  /* low 8 bits: epoch of the last hit (0: never); high 24: hits without a gap (see prefetch), saturating */
    SHD_ATOMIC(uint32_t) hit_s;       /* CLOCK_MONOTONIC seconds of the last hit, plus bit 31 when a refresh was asked in that second */
};

/* ---- geometry and set-up (supervisor) ---- */

/* The geometry that fits a budget of size_bytes (SHD_TABLE_MIN to 256 GiB; what lies outside is taken as the nearer bound) into ret; returns
 * the segment's size in octets, never above the budget. */
uint64_t shd_table_plan(uint64_t size_bytes, struct shd_geometry *ret);
uint64_t shd_table_size(const struct shd_geometry *geometry);
/* Marks needed per worker slot, in octets. */
uint64_t shd_table_marks_size(const struct shd_geometry *geometry);
/* Write the header of a zeroed segment. */
void shd_table_init(void *segment, const struct shd_geometry *geometry, const uint64_t seed[2], const uint8_t boot_id[16]);
/* 0 if segment (size octets long) carries our magic, version and boot id and its geometry gives exactly its size; else SHD_EHEADER. */
int shd_table_check(const void *segment, uint64_t size, const uint8_t boot_id[16]);

/* ---- memory (supervisor and writer) ---- */

/* Where memory comes from. */
struct shd_reserve {
    /* Have the octets of the segment from offset on exist: 0, or below 0 when there is no memory for them. What is in them stays. */
    int (*take)(void *context, uint64_t offset, uint64_t octets);
    void *context;
};

/* A take for segments that are files; context is the descriptor, as a number. */
int shd_reserve_file(void *context, uint64_t offset, uint64_t octets);
/* Have all the memory of a segment that may be touched now: header, page heads, buckets, and the pages that are used. 0, or SHD_EFULL when there
 * is not enough. The segment is zeroed, or one that shd_table_check has passed under this geometry; then it keeps what is in it. */
int shd_table_reserve(const void *segment, const struct shd_geometry *geometry, const struct shd_reserve *reserve);

/* ---- readers ---- */

/* Find the entry of key and copy it into ret (head, key, wire, places).
 *
 * hash    shd_hash of key under the header's seed
 * cell    out, may be NULL: the mark index of the cell, for shd_table_mark
 * Returns the wire's length, SHD_EMISS, or SHD_ETORN after four torn reads. An expired entry is found too: ageing is the caller's.
 * Never blocks, allocates or writes to the segment. */
int shd_table_find(const void *segment, const uint8_t *key, size_t key_len, uint64_t hash, struct shd_entry *ret, uint64_t *cell);

/* Ask the processor for what find of this hash will read, so that a later find does not wait: the bucket; then, once that is there, the cells
 * it may be in and their marks (NULL: none). Neither changes anything. */
void shd_table_fetch_bucket(const void *segment, uint64_t hash);
void shd_table_fetch_cell(const void *segment, const struct shd_mark *marks, uint64_t hash);

/* A hit on the cell that find gave: note epoch, time and count in the worker's own marks. now_s: CLOCK_MONOTONIC. gap_s: a pause of at least this
 * restarts the count (prefetch DUR). A cell that gets a new entry keeps its count, so an entry may begin with the hits of another. */
void shd_table_mark(struct shd_mark *marks, uint64_t cell, uint32_t epoch, uint32_t now_s, uint32_t gap_s);

/* ---- the writer ---- */

/* A block's caps and counts, by its cache id (no two with the same). Private memory of the writer; filled by the upstream process from the Plan,
 * counts by shd_writer_init, store and remove. The caps are exact: one list per cap spans all shards, and neither count ever exceeds its cap.
 * Denials include SHD_KIND_FAILURE, as CoreDNS counts them. */
struct shd_cap {
    uint64_t cache_id;
    uint32_t success_cap;     /* entries; 0: none */
    uint32_t denial_cap;
    uint32_t success_count;
    uint32_t denial_count;
    uint64_t success_evictions;   /* entries thrown out (cap or clock) before or after expiry */
    uint64_t denial_evictions;
};

struct shd_writer;            /* opaque: free lists, hands, cap lists; private memory of shd_writer_size octets */

uint64_t shd_writer_size(const struct shd_geometry *geometry, uint32_t cap_count);
/* Start writing: takes memory (shd_writer_size octets, zeroed), the segment mapped writable, every worker slot's marks
 * (mark_count pointers; mapped read-only) and the caps; rebuilds lists and counts from the segment (whatever state a killed predecessor left);
 * entries whose cache id has no cap stay until evicted. Returns the number of entries found. */
int64_t shd_writer_init(struct shd_writer *writer, void *segment, const struct shd_mark *const *marks, uint32_t mark_count,
                        struct shd_cap *caps, uint32_t cap_count);
/* Take the memory of pages that were never used from reserve, which is copied; without this call all of the segment has its memory.
 * A page that cannot be had is one that the table does not have, until it is asked for again, SHD_REFUSED_S later at the earliest. */
void shd_writer_reserve(struct shd_writer *writer, const struct shd_reserve *reserve);
/* Store entry (its key, wire and places; head.stored_ms, ttl_s and kind set by the caller) under hash, replacing the one with the same key:
 * a reader finds the old one or the new one at every moment in between. Takes a bounded number of steps whatever the table holds.
 * cap: index in caps of the entry's block; cap_count or more: none. now_ms: CLOCK_MONOTONIC.
 * Returns 0; SHD_ESPACE when its lengths are larger than struct shd_entry has room for; SHD_EFULL when there was no memory for a page of its
 * class and no other's could be had: then the table is as it was but for what a cap has lost. */
int shd_writer_store(struct shd_writer *writer, const struct shd_entry *entry, uint64_t hash, uint32_t cap, uint64_t now_ms);
/* Remove the entry of key: 1 if there was one. */
int shd_writer_remove(struct shd_writer *writer, const uint8_t *key, size_t key_len, uint64_t hash);
/* Sum over all slots' marks of the hits of a cell (see struct shd_mark), 0 if it was never hit. cell as from shd_table_find. */
uint32_t shd_writer_hits(const struct shd_writer *writer, uint64_t cell);

/* 0 if all that the writer keeps agrees with the segment: every way points to a live cell of its bucket, every live cell has one way, lists and
 * counts are right, nothing is above its cap; else the number of a rule that is broken. For tests: it walks the whole table. */
int shd_writer_check(const struct shd_writer *writer);

/* Walk all live entries, for dump and flush: *at starts at 0; copies the next one into ret and returns 1, 0 at the end. Any process may; an
 * entry that is stored or removed meanwhile may be left out. */
int shd_table_next(const void *segment, uint64_t *at, struct shd_entry *ret);

struct shd_table_use {
    uint64_t entries, pages_used, pages_total, octets_used;   /* octets_used: cells in use, their full size */
    uint64_t refusals;    /* how often there was no memory for a page, since this writer's start */
    uint64_t class_entries[14];
    uint32_t class_size[14];
};
void shd_writer_use(const struct shd_writer *writer, struct shd_table_use *ret);

#endif
