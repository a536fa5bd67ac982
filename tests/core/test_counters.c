/* counters.c: an answer is counted once in each family, in the bucket whose bound is not below it. */
#include "check.h"
#include "counters.h"
#include "wire.h"

static void time_buckets(void)
{
    static const struct {
        uint64_t ns;
        int bucket;
    } cases[] = {
        {0, 0},       {250000, 0},           {250001, 1},           {500000, 1},  {500001, 2},
        {1000000, 2}, {8192000000ull, 15},   {8192000001ull, 16},   {1ull << 60, 16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shd_row row = {0};
        struct shd_query query = {.qtype = 1, .packet_len = 40};
        shd_count_answer(&row, &query, SHD_UDP, SHD_IPV4, 0, SHD_BY_CACHE, 60, cases[i].ns);
        for (int bucket = 0; bucket < SHD_TIME_BUCKETS; bucket++)
            CHECK_EQ(row.duration[bucket], bucket == cases[i].bucket);
        CHECK_EQ(row.duration_ns, cases[i].ns);
    }
}

static void size_buckets(void)
{
    static const struct {
        uint32_t octets;
        int bucket;
    } cases[] = {{0, 0}, {1, 1}, {100, 1}, {101, 2}, {511, 5}, {512, 6}, {64000, 13}, {64001, 14}, {65535, 14}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shd_row row = {0};
        struct shd_query query = {.qtype = 1, .packet_len = cases[i].octets};
        shd_count_answer(&row, &query, SHD_TCP, SHD_IPV6, 0, SHD_BY_CACHE, cases[i].octets, 1);
        CHECK_EQ(row.request_size[SHD_TCP][cases[i].bucket], 1);
        CHECK_EQ(row.response_size[SHD_TCP][cases[i].bucket], 1);
        CHECK_EQ(row.request_octets[SHD_TCP], cases[i].octets);
    }
}

static void labels(void)
{
    struct shd_row row = {0};
    struct shd_query query = {.qtype = 28, .packet_len = 40, .dnssec_ok = 1};
    shd_count_answer(&row, &query, SHD_UDP, SHD_IPV6, 3, SHD_BY_FORWARD, 60, 1);
    CHECK_EQ(row.requests[SHD_UDP][SHD_IPV6][shd_counter_type(28)], 1);
    CHECK_EQ(row.do_requests, 1);
    CHECK_EQ(row.responses[3][SHD_BY_FORWARD], 1);
    shd_count_answer(&row, &query, SHD_UDP, SHD_IPV6, 4095, SHD_BY_NONE, 60, 1);
    CHECK_EQ(row.responses[SHD_RCODES - 1][SHD_BY_NONE], 1);
}

static void type_names(void)
{
    CHECK(strcmp(shd_counter_type_name(shd_counter_type(1)), "A") == 0);
    CHECK(strcmp(shd_counter_type_name(shd_counter_type(65)), "HTTPS") == 0);
    CHECK(strcmp(shd_counter_type_name(shd_counter_type(13)), "other") == 0);
    CHECK(shd_counter_type_name(SHD_TYPES) == NULL);
    CHECK(shd_counter_type_name(-1) == NULL);
    for (int i = 0; i < SHD_TYPES; i++)
        CHECK(shd_counter_type_name(i) != NULL);
}

int main(void)
{
    time_buckets();
    size_buckets();
    labels();
    type_names();
    return check_done();
}
