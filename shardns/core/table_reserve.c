/* Memory for the table: reserved before it is touched, because what touches a page of /dev/shm that there is no room for ends with SIGBUS,
 * and so does its successor. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include "table_writer.h"

enum { INTERRUPTIONS = 100 }; /* by signals, which undo what was reserved so far */

int shd_reserve_file(void *context, uint64_t offset, uint64_t octets)
{
    for (int tries = 0; tries < INTERRUPTIONS; tries++) {
        if (fallocate((int)(intptr_t)context, 0, (off_t)offset, (off_t)octets) == 0)
            return 0;
        if (errno != EINTR)
            break;
    }
    return SHD_EFULL;
}

int shd_table_reserve(const void *segment, const struct shd_geometry *geometry, const struct shd_reserve *reserve)
{
    struct shd_shape shape = shd_shape_of(geometry);
    if (reserve->take(reserve->context, 0, SHD_TABLE_HEADER) < 0)
        return SHD_EFULL;
    for (uint32_t shard = 0; shard < geometry->shard_count; shard++) {
        uint64_t at = SHD_TABLE_HEADER + shard * shape.shard_size;
        if (reserve->take(reserve->context, at, shape.pages_at) < 0)
            return SHD_EFULL;
        const struct shd_page_head *heads = (const struct shd_page_head *)(const void *)((const uint8_t *)segment + at);
        for (uint32_t page = 0; page < geometry->page_count; page++)
            if (shd_page_is_used(&heads[page]) &&
                reserve->take(reserve->context, at + shape.pages_at + (uint64_t)page * SHD_PAGE_SIZE, SHD_PAGE_SIZE) < 0)
                return SHD_EFULL;
    }
    return 0;
}

void shd_writer_reserve(struct shd_writer *writer, const struct shd_reserve *reserve) { writer->reserve = *reserve; }

bool shd_page_reserve(struct shd_writer *writer, const struct shd_writer_shard *shard, uint32_t page)
{
    const struct shd_reserve *reserve = &writer->reserve;
    if (!reserve->take)
        return true;
    if (writer->refusals && ((writer->now_s - writer->refused_s) & INT32_MAX) < SHD_REFUSED_S)
        return false;
    uint64_t at = (uint64_t)(shard->base - (const uint8_t *)writer->header) + writer->shape.pages_at + (uint64_t)page * SHD_PAGE_SIZE;
    if (reserve->take(reserve->context, at, SHD_PAGE_SIZE) == 0)
        return true;
    writer->refused_s = writer->now_s;
    writer->refusals++;
    return false;
}
