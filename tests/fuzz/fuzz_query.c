/* Any octets sent as a query: a result the header names, fields that agree with the packet, and an error reply that is
 * itself well formed. */
#include <stdlib.h>
#include "reply.h"
#include "wire.h"

#define EXPECT(claim) do { if (!(claim)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_question(const uint8_t *data, size_t size, const struct shd_query *query)
{
    size_t n = query->name_len;
    EXPECT(n >= 1 && n <= SHD_NAME_MAX && query->question_len == n + 4 && 12 + n + 4 <= size);
    size_t at = 0;
    for (size_t i = 0; i < query->label_count; i++) {
        EXPECT(query->labels[i] == at && query->name[at] >= 1 && query->name[at] <= 63);
        at += (size_t)query->name[at] + 1;
    }
    EXPECT(at == n - 1 && query->name[at] == 0);
    for (size_t i = 0; i < n; i++)
        EXPECT(query->name[i] == shd_fold(data[12 + i]));
}

/* The reply to an error must be a message with the query's id and question that nobody takes for a query. */
static void check_error_reply(const struct shd_query *query, int err)
{
    uint8_t out[12 + 259 + 11];
    struct shd_query echo;
    int rcode = err == SHD_ENOTIMP ? SHD_RCODE_NOTIMP : err == SHD_EBADVERS ? SHD_RCODE_BADVERS : SHD_RCODE_FORMERR;
    int len = shd_reply_error(query, rcode, out);
    EXPECT(len >= 12 && (size_t)len <= sizeof out && shd_get16(out) == query->id);
    EXPECT(shd_query_parse(out, (size_t)len, &echo) == SHD_EDROP);
    out[2] &= 0x07;                      /* as a query, it parses with the same question */
    int again = shd_query_parse(out, (size_t)len, &echo);
    EXPECT(again == (query->question_len > 0 ? 0 : SHD_EFORMERR));
    EXPECT(echo.question_len == query->question_len && echo.has_opt == (query->has_opt || rcode > 15));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct shd_query query;
    int err = shd_query_parse(data, size, &query);
    EXPECT(err == 0 || err == SHD_EDROP || err == SHD_EFORMERR || err == SHD_ENOTIMP || err == SHD_EBADVERS);
    if (err == SHD_EDROP)
        return 0;
    EXPECT(query.udp_size >= SHD_UDP_MIN && query.packet == data && query.packet_len == size);
    if (query.question_len > 0)
        check_question(data, size, &query);
    else
        EXPECT(err != 0 && query.name_len == 0);
    if (err < 0)
        check_error_reply(&query, err);
    return 0;
}
