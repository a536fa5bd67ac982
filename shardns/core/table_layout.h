/* The bytes of a table, for the files that read and write them (table*.c). table.h tells the protocol; this says per field who writes it,
 * who reads it and in what order.
 *
 *   offset in the segment                          written by         read by
 *   0      struct shd_table_header, 4096 octets    supervisor, once   everyone
 *            epoch                                 writer, relaxed    workers, relaxed (a stale one only ages a mark by one)
 *   4096   shard 0, shard 1, ...
 *
 *   offset in a shard
 *   0                  struct shd_page_head x page_count, to a multiple of 64
 *   buckets_at         struct shd_bucket x bucket_count, to a multiple of 4096
 *   pages_at           page x page_count, 131,072 octets each
 *
 *   page head (8)      one 64-bit word, so that turn and class are seen together
 *   +0     word        writer, release, after all refs into the page are gone and before any word of it
 *                      changes; readers, acquire before a cell and relaxed (behind a fence) after it
 *                      bits 63..32 turn: changes of the page's use
 *                      bits 7..0   class + 1; 0: the page has never been used
 *
 *   bucket (64)        one cache line
 *   +0     tags[10]    writer, relaxed, before the ref; readers, relaxed
 *   +20    hand        writer alone
 *   +24    refs[10]    writer, release, last of all; readers, acquire, first of all
 *
 *   cell (class size)  goes by its spot: the pages of all shards, one after the other, in steps of 64 octets
 *   +0     seq         odd while free or being written. writer, release; readers, acquire before, relaxed (behind a fence) after
 *   +4     list        writer alone: enum shd_cell_list, and bit 15 = another lap is due to it
 *   +6     seen        writer alone: second (16 bits of it) when its cap's list last looked at it
 *   +8     prev        writer alone: spot + 1 of the neighbour in its list; 0 none
 *   +12    next        writer alone
 *   +16    image       entry.h: head (6 words) | key | wire | record places, each zero-padded to 8. writer, relaxed; readers, relaxed
 *
 * Everything in a page is accessed atomically, the writer's own fields too: a reader that still holds an old reference may be
 * copying these bytes as words of something else, and finds out only afterwards. */
#ifndef SHD_TABLE_LAYOUT_H
#define SHD_TABLE_LAYOUT_H
#include <assert.h>
#include "table.h"

#define SHD_TABLE_MAGIC UINT64_C(0x656c626174646873) /* "shdtable" in memory, little end first */

enum shd_layout_const {
    SHD_REF_UNIT = 64,
    SHD_CELL_HEAD = 16,
    SHD_ENTRY_HEAD = 48,
    SHD_ENTRY_HEAD_WORDS = 6,
    SHD_PAGE_MARKS = SHD_PAGE_SIZE / SHD_MARK_UNIT,
    SHD_PAGE_SPOTS = SHD_PAGE_SIZE / SHD_REF_UNIT,
    SHD_SHARDS_MAX = 16,
    SHD_TRIES = 4,
    SHD_PLACES_MAX = sizeof(((struct shd_entry *)0)->places) / sizeof(struct shd_place),
};

struct shd_page_head {
    SHD_ATOMIC(uint64_t) word;
};

struct shd_cell {
    SHD_ATOMIC(uint32_t) seq;
    SHD_ATOMIC(uint16_t) list;
    SHD_ATOMIC(uint16_t) seen;
    SHD_ATOMIC(uint32_t) prev;
    SHD_ATOMIC(uint32_t) next;
};

static_assert(sizeof(struct shd_page_head) == 8, "page head");
static_assert(sizeof(struct shd_cell) == SHD_CELL_HEAD, "cell head");
static_assert(sizeof(struct shd_bucket) == 64 && offsetof(struct shd_bucket, hand) == 20 && offsetof(struct shd_bucket, refs) == 24, "bucket");
static_assert(sizeof(struct shd_entry_head) == SHD_ENTRY_HEAD && offsetof(struct shd_entry_head, hash) == 0, "entry head");
static_assert(offsetof(struct shd_entry_head, wire_len) == 20 && offsetof(struct shd_entry_head, key_len) == 24, "entry head");
static_assert(offsetof(struct shd_entry, wire) % 8 == 0 && offsetof(struct shd_entry, places) % 8 == 0, "an entry is copied word by word");
static_assert(sizeof(struct shd_table_header) <= SHD_TABLE_HEADER, "header");
static_assert(sizeof(struct shd_mark) == 8 && sizeof(struct shd_place) == 4, "mark, place");
static_assert(sizeof(_Atomic(uint64_t)) == 8, "atomics are plain words");

/* Whether a page was ever used; only then has it certainly its memory. */
static inline bool shd_page_is_used(const struct shd_page_head *head)
{
    return (uint8_t)(atomic_load_explicit(&head->word, memory_order_relaxed) - 1) < SHD_CLASSES;
}

/* Octets of a cell of each class. The steps are small where answers are (a typical one, one address or a denial, takes 192 or 256);
 * the largest class holds the largest answer there is. */
static const uint32_t SHD_CLASS_SIZE[SHD_CLASSES] = {128, 192, 256, 320, 448, 640, 896, 1344, 2048, 4096, 8192, 16384, 32768, SHD_PAGE_SIZE};

static_assert(SHD_CELL_HEAD + SHD_ENTRY_HEAD + 272 + 65544 + 4 * 8192 <= SHD_PAGE_SIZE, "the largest entry fits in the largest cell");

/* Where things are, worked out from the geometry; all offsets in octets. */
struct shd_shape {
    uint32_t shard_bits, bucket_bits;
    uint64_t buckets_at, pages_at, shard_size; /* from the start of a shard */
};

static inline struct shd_shape shd_shape_of(const struct shd_geometry *geometry)
{
    struct shd_shape ret;
    ret.shard_bits = (uint32_t)__builtin_ctz(geometry->shard_count);
    ret.bucket_bits = (uint32_t)__builtin_ctz(geometry->bucket_count);
    ret.buckets_at = ((uint64_t)geometry->page_count * sizeof(struct shd_page_head) + 63) & ~UINT64_C(63);
    ret.pages_at = (ret.buckets_at + (uint64_t)geometry->bucket_count * sizeof(struct shd_bucket) + 4095) & ~UINT64_C(4095);
    ret.shard_size = ret.pages_at + (uint64_t)geometry->page_count * SHD_PAGE_SIZE;
    return ret;
}

static inline uint32_t shd_shape_shard(const struct shd_shape *shape, uint64_t hash)
{
    return shape->shard_bits ? (uint32_t)(hash >> (64 - shape->shard_bits)) : 0;
}

static inline uint32_t shd_shape_bucket(const struct shd_shape *shape, uint64_t hash)
{
    return shape->bucket_bits ? (uint32_t)((hash << shape->shard_bits) >> (64 - shape->bucket_bits)) : 0;
}

static inline uint32_t shd_pad8(uint32_t octets) { return (octets + 7) & ~UINT32_C(7); }

static inline uint64_t shd_word_load(const uint8_t *at)
{
    return atomic_load_explicit((const _Atomic(uint64_t) *)(const void *)at, memory_order_relaxed);
}

static inline void shd_word_store(uint8_t *at, uint64_t word)
{
    atomic_store_explicit((_Atomic(uint64_t) *)(void *)at, word, memory_order_relaxed);
}

/* The n octets (1..8) at at as a word, the rest zero. */
static inline uint64_t shd_word_of(const uint8_t *at, size_t n)
{
    uint64_t ret = 0;
    memcpy(&ret, at, n);
    return ret;
}

/* The head of an image. */
static inline void shd_head_load(const uint8_t *image, struct shd_entry_head *ret)
{
    uint64_t words[SHD_ENTRY_HEAD_WORDS];
    for (int i = 0; i < SHD_ENTRY_HEAD_WORDS; i++)
        words[i] = shd_word_load(image + 8 * i);
    memcpy(ret, words, sizeof(words));
}

/* Octets that a cell needs for the entry of head; its lengths must be legal. */
static inline uint32_t shd_head_cell_size(const struct shd_entry_head *head)
{
    return SHD_CELL_HEAD + SHD_ENTRY_HEAD + shd_pad8(head->key_len) + shd_pad8(head->wire_len) +
           shd_pad8(head->place_count * (uint32_t)sizeof(struct shd_place));
}

/* Whether struct shd_entry has room for the lengths in head. */
static inline bool shd_head_is_legal(const struct shd_entry_head *head)
{
    return head->key_len <= SHD_KEY_MAX && head->wire_len <= SHD_MESSAGE_MAX && head->place_count <= SHD_PLACES_MAX;
}

/* Whether the words of an image's key are the len octets at key. */
static inline bool shd_key_equals(const uint8_t *words, const uint8_t *key, size_t len)
{
    for (; len >= 8; len -= 8, words += 8, key += 8)
        if (shd_word_load(words) != shd_word_of(key, 8))
            return false;
    return len == 0 || shd_word_load(words) == shd_word_of(key, len);
}

/* gcc's thread sanitizer does not model fences and says so. It needs not: every access that a fence orders is atomic. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

#endif
