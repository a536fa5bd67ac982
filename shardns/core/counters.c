/* Counting answers. No clock, no lock: the caller owns the row. */
#include "counters.h"

#include "wire.h"

/* The types CoreDNS 1.13.2 tells apart in coredns_dns_requests_total (plugin/metrics/vars/monitor.go), and SVCB. */
static const struct {
    uint16_t type;
    const char *name;
} known_types[SHD_TYPES - 1] = {
    {1, "A"},       {28, "AAAA"},  {5, "CNAME"}, {48, "DNSKEY"}, {43, "DS"},    {15, "MX"},    {47, "NSEC"},
    {50, "NSEC3"},  {2, "NS"},     {12, "PTR"},  {46, "RRSIG"},  {6, "SOA"},    {33, "SRV"},   {16, "TXT"},
    {65, "HTTPS"},  {64, "SVCB"},  {251, "IXFR"}, {252, "AXFR"}, {255, "ANY"},
};

int shd_counter_type(uint16_t qtype)
{
    for (int i = 0; i < SHD_TYPES - 1; i++)
        if (known_types[i].type == qtype)
            return i;
    return SHD_TYPES - 1;
}

const char *shd_counter_type_name(int index)
{
    if (index < 0 || index >= SHD_TYPES)
        return NULL;
    return index == SHD_TYPES - 1 ? "other" : known_types[index].name;
}

/* Bucket of 0.00025 * 2^n seconds: the smallest n whose bound is not below the duration. */
static int time_bucket(uint64_t duration_ns)
{
    const uint64_t first_ns = 250000;
    if (duration_ns <= first_ns)
        return 0;
    int n = 64 - __builtin_clzll((duration_ns - 1) / first_ns);
    return n < SHD_TIME_BUCKETS ? n : SHD_TIME_BUCKETS - 1;
}

static int size_bucket(uint32_t octets)
{
    static const uint32_t bounds[SHD_SIZE_BUCKETS - 1] = {0,    100,  200,   300,   400,   511,   1023,
                                                          2047, 4095, 8291, 16000, 32000, 48000, 64000};
    int i = 0;
    while (i < SHD_SIZE_BUCKETS - 1 && octets > bounds[i])
        i++;
    return i;
}

void shd_count_answer(struct shd_row *row, const struct shd_query *query, int proto, int family, int rcode, int plugin,
                      uint32_t response_len, uint64_t duration_ns)
{
    row->requests[proto][family][shd_counter_type(query->qtype)]++;
    row->do_requests += query->dnssec_ok;
    row->duration[time_bucket(duration_ns)]++;
    row->duration_ns += duration_ns;
    row->request_size[proto][size_bucket(query->packet_len)]++;
    row->request_octets[proto] += query->packet_len;
    row->response_size[proto][size_bucket(response_len)]++;
    row->response_octets[proto] += response_len;
    row->responses[rcode >= 0 && rcode < SHD_RCODES - 1 ? rcode : SHD_RCODES - 1][plugin]++;
}
