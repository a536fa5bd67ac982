/* Heads and sizes of the slot and upstream segments. */
#include <stdlib.h>
#include "check.h"
#include "segments.h"

static const uint8_t BOOT[16] = "this boot", OTHER[16] = "another boot";

/* A head is taken only for the slot, size and boot it was made for. */
static void test_head(void)
{
    uint64_t size = shd_upstream_segment_size();
    struct shd_segment_head *head = calloc(1, size);
    CHECK_EQ(shd_segment_check(head, 3, size, BOOT), SHD_EHEADER);
    shd_segment_init(head, 3, size, BOOT);
    CHECK_EQ(shd_segment_check(head, 3, size, BOOT), 0);
    CHECK_EQ(shd_segment_check(head, 4, size, BOOT), SHD_EHEADER);
    CHECK_EQ(shd_segment_check(head, 3, size + 8, BOOT), SHD_EHEADER);
    CHECK_EQ(shd_segment_check(head, 3, 63, BOOT), SHD_EHEADER);
    CHECK_EQ(shd_segment_check(head, 3, size, OTHER), SHD_EHEADER);
    head->version++;
    CHECK_EQ(shd_segment_check(head, 3, size, BOOT), SHD_EHEADER);
    free(head);
}

/* A slot segment ends where its marks do, one for every cell there can be. */
static void test_slot_size(void)
{
    for (uint64_t budget = 4 << 20; budget <= 256 << 20; budget *= 2) {
        struct shd_geometry geometry;
        shd_table_plan(budget, &geometry);
        CHECK_EQ(shd_slot_segment_size(&geometry), offsetof(struct shd_slot_segment, marks) + shd_table_marks_size(&geometry));
        CHECK(shd_slot_segment_size(&geometry) < offsetof(struct shd_slot_segment, marks) + budget / 16);
    }
}

/* What one process writes never shares a cache line with what another writes: each segment's parts begin on lines. */
static void test_lines(void)
{
    CHECK_EQ(offsetof(struct shd_slot_segment, process) % 64, 0);
    CHECK_EQ(offsetof(struct shd_slot_segment, ring) % 64, 0);
    CHECK_EQ(offsetof(struct shd_slot_segment, marks) % 64, 0);
    CHECK_EQ(offsetof(struct shd_upstream_segment, done) % 64, 0);
    CHECK_EQ(sizeof(struct shd_ask_done) % 64, 0);
}

int main(void)
{
    test_head();
    test_slot_size();
    test_lines();
    return check_done();
}
