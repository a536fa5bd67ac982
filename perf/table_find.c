/* Finds in a table of a given number of entries, for callgrind to count: perf/perf-table runs it. Built against the core alone.
 *
 *   table_find ENTRIES FINDS     prints how many of the finds were hits
 *
 * Only the finds are counted (keys and their hashes are made before), of entries all over the table, in random order. */
#include <stdio.h>
#include <stdlib.h>
#include <valgrind/callgrind.h>
#include "hash.h"
#include "table.h"

enum { WIRE = 94, PLACES = 2, BLOCK = 1 }; /* two addresses of a Service: a cell of 256 octets */

static const uint64_t SEED[2] = {1, 2};
static const uint8_t BOOT[16];
static struct shd_entry entry;

struct probe {
    uint64_t hash;
    size_t len;
    uint8_t key[SHD_KEY_MAX];
};

/* The key of a Service's A record, about as long as they are. */
static void probe_make(uint64_t number, struct probe *ret)
{
    uint64_t cache_id = BLOCK;
    uint8_t *name = ret->key + 13;
    memset(ret->key, 0, sizeof(ret->key));
    memcpy(ret->key, &cache_id, 8);
    ret->key[8] = ret->key[10] = 1;
    int len = snprintf((char *)name, 200, "\x0bsvc%08x\x07" "default\x03svc\x07" "cluster\x05local", (unsigned)number);
    ret->len = 13 + (size_t)len + 1;
    ret->hash = shd_hash(SEED, ret->key, ret->len);
}

/* A full writer's start and ENTRIES stores. Returns the segment. */
static void *table_fill(uint64_t entries)
{
    struct shd_geometry geometry;
    uint64_t size = shd_table_plan(entries * 400 + SHD_TABLE_MIN, &geometry);
    void *segment = calloc(1, size), *writer = calloc(1, shd_writer_size(&geometry, 0));
    shd_table_init(segment, &geometry, SEED, BOOT);
    shd_writer_init(writer, segment, NULL, 0, NULL, 0);
    struct probe probe;
    entry.head = (struct shd_entry_head){.wire_len = WIRE, .place_count = PLACES, .kind = SHD_KIND_SUCCESS, .ttl_s = 30};
    for (uint64_t number = 0; number < entries; number++) {
        probe_make(number, &probe);
        memcpy(entry.key, probe.key, probe.len);
        entry.head.key_len = (uint16_t)probe.len;
        shd_writer_store(writer, &entry, probe.hash, 0, 1000);
    }
    free(writer);
    return segment;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    uint64_t entries = strtoull(argv[1], NULL, 10), finds = strtoull(argv[2], NULL, 10), dice = 88172645463325252u, hits = 0, cell;
    void *segment = table_fill(entries);
    struct probe *probes = calloc(finds, sizeof(*probes));
    for (uint64_t i = 0; i < finds; i++) {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        probe_make(dice % entries, &probes[i]);
    }
    CALLGRIND_START_INSTRUMENTATION;
    for (uint64_t i = 0; i < finds; i++)
        hits += shd_table_find(segment, probes[i].key, probes[i].len, probes[i].hash, &entry, &cell) >= 0;
    CALLGRIND_STOP_INSTRUMENTATION;
    printf("hits %llu\n", (unsigned long long)hits);
    free(probes);
    free(segment);
    return 0;
}
