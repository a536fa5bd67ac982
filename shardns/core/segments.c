/* Heads and sizes of the segments of worker slots and the upstream process. Pure. */
#include <assert.h>
#include "segments.h"

#define SEGMENT_MAGIC UINT64_C(0x736e647261687322) /* not the table's */

static_assert(sizeof(struct shd_segment_head) == 64, "segment head");
static_assert(offsetof(struct shd_segment_head, size) == 16 && offsetof(struct shd_segment_head, boot_id) == 24, "segment head");
static_assert(sizeof(struct shd_process_counters) == 32 * 8, "process counters");
static_assert(sizeof(((struct shd_slot_segment *)0)->rows[0]) == SHD_ROWS_MAX * sizeof(struct shd_row), "rows");
static_assert(offsetof(struct shd_slot_segment, process) == 64 && offsetof(struct shd_slot_segment, ring) % 64 == 0, "slot segment");
static_assert(offsetof(struct shd_slot_segment, marks) % 64 == 0 && offsetof(struct shd_slot_segment, batch) % 64 == 0, "slot segment");
static_assert(sizeof(struct shd_batch) % 64 == 0 && offsetof(struct shd_batch, messages) == 64, "batch");
static_assert(offsetof(struct shd_upstream_segment, process) == 128 && offsetof(struct shd_upstream_segment, done) % 64 == 0, "upstream segment");
static_assert(sizeof(((struct shd_upstream_segment *)0)->done) == SHD_SLOTS_MAX * sizeof(struct shd_ask_done), "done");
static_assert(sizeof(struct shd_ledger) == 64 + 2 * 131072, "ledger");

uint64_t shd_slot_segment_size(const struct shd_geometry *geometry)
{
    return offsetof(struct shd_slot_segment, marks) + shd_table_marks_size(geometry);
}

uint64_t shd_upstream_segment_size(void)
{
    return sizeof(struct shd_upstream_segment);
}

void shd_segment_init(void *segment, uint32_t slot, uint64_t size, const uint8_t boot_id[16])
{
    struct shd_segment_head *head = segment;
    head->version = SHD_LAYOUT_VERSION;
    head->slot = slot;
    head->size = size;
    memcpy(head->boot_id, boot_id, sizeof(head->boot_id));
    head->magic = SEGMENT_MAGIC;
}

int shd_segment_check(const void *segment, uint32_t slot, uint64_t size, const uint8_t boot_id[16])
{
    const struct shd_segment_head *head = segment;
    if (size < sizeof(*head) || head->magic != SEGMENT_MAGIC || head->version != SHD_LAYOUT_VERSION || head->slot != slot || head->size != size ||
        memcmp(head->boot_id, boot_id, sizeof(head->boot_id)) != 0)
        return SHD_EHEADER;
    return 0;
}
