/* Making entries: what becomes of an answer's records, by type, section and TTL. */
#include "entry_rig.h"

/* The names in each type's RDATA: what is between them, whether they come out compressed, whether more may follow. */
static const struct {
    unsigned type, before, strings, names, after;
    bool compressed, open;
} types[] = {
    {2, 0, 0, 1, 0, true, false},   {3, 0, 0, 1, 0, true, false},   {4, 0, 0, 1, 0, true, false},  {5, 0, 0, 1, 0, true, false},
    {6, 0, 0, 2, 20, true, false},  {7, 0, 0, 1, 0, true, false},   {8, 0, 0, 1, 0, true, false},  {9, 0, 0, 1, 0, true, false},
    {12, 0, 0, 1, 0, true, false},  {14, 0, 0, 2, 0, true, false},  {15, 2, 0, 1, 0, true, false}, {17, 0, 0, 2, 0, false, false},
    {18, 2, 0, 1, 0, false, false}, {21, 2, 0, 1, 0, false, false}, {24, 18, 0, 1, 9, false, true}, {26, 2, 0, 2, 0, false, false},
    {30, 0, 0, 1, 4, false, true},  {33, 6, 0, 1, 0, false, false}, {35, 4, 3, 1, 0, false, false}, {36, 2, 0, 1, 0, false, false},
    {39, 0, 0, 1, 0, false, false},
};

static void put_rdata(struct message *to, size_t i, bool compressed, size_t suffix, int extra)
{
    size_t at = put_fields(to, types[i].type, 77);
    for (unsigned k = 0; k < types[i].before; k++)
        put_u8(to, 0xc1);
    for (unsigned k = 0; k < types[i].strings; k++)
        put_bytes(to, "\3\300\300\300\300", 1 + 3);
    for (unsigned k = 0; k < types[i].names; k++) {
        put_labels(to, k ? "second" : "first");
        if (compressed)
            put_to(to, suffix);
        else
            put_text_name(to, "example.org");
    }
    for (unsigned k = 0; (int)k < (int)types[i].after + extra; k++)
        put_u8(to, 0xc2);
    rdata_end(to, at);
}

/* Names in RDATA are decoded, and compressed again for the types of RFC 1035 only; RDATA that is longer or shorter than its
 * parts is refused. Both the answer's spelling out and its compressing lead to the same entry. */
static void test_rdata(void)
{
    static struct message wanted;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int extra = -1; extra <= 1; extra++)
            for (int compressed = 0; compressed < 2; compressed++) {
                begin("www.example.org", A, 0);
                wanted = m;
                put_to(&m, 12);
                put_rdata(&m, i, compressed, 16, types[i].after || extra > 0 ? extra : 0);
                if (extra < 0 && !types[i].after)
                    continue;
                put_to(&wanted, 12);
                put_rdata(&wanted, i, types[i].compressed, 16, extra);
                put_to(&m, 12);
                put_a(&m, 60, 1);
                put_to(&wanted, 12);
                put_a(&wanted, 60, 1);
                message_counts(&m, 1, 2, 0, 0);
                bool taken = extra == 0 || types[i].open;
                CHECK_EQ(pack(m.len), taken ? 0 : SHD_EMALFORMED);
                if (!taken)
                    continue;
                check_wire(&wanted);
                check_stable();
            }
}

/* RDATA whose length cuts a name short, or is 0 where a name belongs, is refused, even if octets of the next record would fit. */
static void test_short_rdata(void)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        begin("www.example.org", A, 0);
        put_to(&m, 12);
        size_t at = m.len + 8;
        put_rdata(&m, i, true, 16, 0);
        unsigned whole = shd_get16(m.wire + at), tail = types[i].after;
        message_counts(&m, 1, 1, 0, 0);
        for (unsigned len = 0; len < whole - tail; len++) {
            size_t saved = m.len;
            shd_put16(m.wire + at, (uint16_t)len);
            m.len = at + 2 + len;
            CHECK_EQ(pack(m.len), SHD_EMALFORMED);
            m.len = saved;
            CHECK_EQ(pack(m.len), SHD_EMALFORMED);
        }
    }
}

/* RDATA that claims the next record as its own is refused, though that record would parse in its place. */
static void test_swallowed_record(void)
{
    begin("www.example.org", NS, 0);
    put_to(&m, 12);
    size_t at = put_fields(&m, NS, 60);
    put_to(&m, 12);
    put_to(&m, 12);
    put_a(&m, 60, 1);
    rdata_end(&m, at);
    message_counts(&m, 1, 2, 0, 0);
    CHECK_EQ(pack(m.len), SHD_EMALFORMED);
    message_counts(&m, 1, 1, 0, 0);
    CHECK_EQ(pack(m.len), SHD_EMALFORMED);
}

/* A and AAAA of class IN have 4 and 16 octets; of another class, and for types unknown, RDATA is what it is. */
static void test_lengths(void)
{
    static const struct {
        unsigned type, class, len;
        int result;
    } cases[] = {
        {A, 1, 4, 0},     {A, 1, 3, SHD_EMALFORMED},     {A, 1, 5, SHD_EMALFORMED},    {A, 1, 0, SHD_EMALFORMED}, {A, 3, 9, 0},
        {AAAA, 1, 16, 0}, {AAAA, 1, 15, SHD_EMALFORMED}, {AAAA, 1, 17, SHD_EMALFORMED}, {AAAA, 4, 1, 0},
        {16, 1, 0, 0},    {64, 1, 40, 0},                {65, 1, 40, 0},               {46, 1, 99, 0},
        {65280, 1, 0, 0}, {65280, 1, 1, 0},              {10, 1, 5, 0},                {0, 1, 5, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("example.org", A, 0);
        put_to(&m, 12);
        size_t at = put_fields(&m, cases[i].type, 60);
        shd_put16(m.wire + at - 6, (uint16_t)cases[i].class);
        for (unsigned k = 0; k < cases[i].len; k++)
            put_u8(&m, 0xc0);
        rdata_end(&m, at);
        message_counts(&m, 1, 1, 0, 0);
        CHECK_EQ(pack(m.len), cases[i].result);
        if (cases[i].result == 0) {
            CHECK_EQ(entry.head.wire_len, m.len);
            CHECK(memcmp(entry.wire + 12, m.wire + 12, m.len - 12) == 0);
        }
    }
}

/* OPT, TSIG and SIG(0) are dropped wherever they stand; their owners are no target for later names. */
static void test_dropped(void)
{
    static const unsigned dropped[] = {SHD_TYPE_OPT, SHD_TYPE_TSIG, 24};
    for (int section = 0; section < 3; section++)
        for (size_t i = 0; i < 3; i++) {
            begin("example.org", A, 0);
            put_text_name(&m, "key.example.net");
            size_t at = put_fields(&m, dropped[i], 0);
            put_u16(&m, 0);
            rdata_end(&m, at);
            put_to(&m, 29);
            put_a(&m, 60, 1);
            message_counts(&m, 1, section == 0, section == 1, section == 2);
            shd_put16(m.wire + 10, (uint16_t)(shd_get16(m.wire + 10) + 1));
            CHECK_EQ(pack(m.len), 0);
            CHECK_EQ(entry.head.place_count, 1);
            CHECK_EQ(entry.head.answer_count + entry.head.authority_count, 0);
            CHECK_EQ(shd_get16(entry.wire + 10), 1);
            CHECK(memcmp(entry.wire + 29, "\3key\7example\3net\0\0\1", 19) == 0);
            CHECK_EQ(entry.head.min_ttl_s, 60);
        }
    begin("example.org", 24, 0);         /* a SIG that covers a type is a record like others */
    put_to(&m, 12);
    size_t at = put_fields(&m, 24, 5);
    put_bytes(&m, "\0\1aaaaaaaaaaaaaaaa\3org\0sig", 26);
    rdata_end(&m, at);
    message_counts(&m, 1, 1, 0, 0);
    CHECK_EQ(pack(m.len), 0);
    CHECK_EQ(entry.head.place_count, 1);
}

/* The upper bits of the rcode come from OPT: 16 is kept, what needs more than 8 bits is refused, and so are two OPTs. */
static void test_rcode(void)
{
    static const struct {
        unsigned low, high;
        int wanted;
    } cases[] = {{0, 0, 0}, {3, 0, 3}, {0, 1, 16}, {7, 1, 23}, {15, 15, 255}, {0, 16, -1}, {15, 255, -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("example.org", A, cases[i].low);
        put_opt_record(&m, 1232, cases[i].high, 0, 0);
        message_counts(&m, 1, 0, 0, 1);
        CHECK_EQ(pack(m.len), cases[i].wanted < 0 ? SHD_EMALFORMED : 0);
        if (cases[i].wanted >= 0)
            CHECK_EQ(entry.head.rcode, cases[i].wanted);
        put_opt_record(&m, 1232, 0, 0, 0);
        message_counts(&m, 1, 0, 0, 2);
        CHECK_EQ(pack(m.len), SHD_EMALFORMED);
    }
}

/* A TTL with the top bit set is 0; the smallest of all sections counts, OPT's field does not. */
static void test_ttl(void)
{
    static const struct {
        uint32_t ttls[3], wanted;
    } cases[] = {
        {{300, 200, 100}, 100}, {{1, 2, 3}, 1}, {{5, 0, 9}, 0}, {{0x7fffffff, 0x7fffffff, 0x7fffffff}, 0x7fffffff},
        {{300, 0x80000000u, 100}, 0}, {{0xffffffffu, 7, 7}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("example.org", A, 0);
        for (int k = 0; k < 3; k++) {
            put_to(&m, 12);
            put_a(&m, cases[i].ttls[k], 1);
        }
        put_opt_record(&m, 1232, 0, 0, 0);
        message_counts(&m, 1, 1, 1, 2);
        CHECK_EQ(pack(m.len), 0);
        CHECK_EQ(entry.head.min_ttl_s, cases[i].wanted);
        for (int k = 0; k < 3; k++)
            CHECK_EQ(shd_get32(entry.wire + entry.places[k].ttl_at), cases[i].ttls[k] >> 31 ? 0 : cases[i].ttls[k]);
    }
}

/* A SOA's MINIMUM bounds the TTL where the SOA stands in authority. */
static void test_soa_minimum(void)
{
    static const struct { uint32_t ttl, minimum, wanted; } cases[] = {
        {300, 30, 30}, {30, 300, 30}, {30, 0, 0}, {30, 0x80000001u, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("nope.example.org", A, 3);
        put_soa(cases[i].ttl, cases[i].minimum);
        CHECK_EQ(pack(m.len), 0);
        CHECK_EQ(entry.head.min_ttl_s, cases[i].wanted);
        CHECK_EQ(entry.head.authority_count, 1);
        message_counts(&m, 1, 1, 0, 0);
        CHECK_EQ(pack(m.len), 0);
        CHECK_EQ(entry.head.min_ttl_s, cases[i].ttl);
    }
}

int main(void)
{
    test_rdata();
    test_short_rdata();
    test_swallowed_record();
    test_lengths();
    test_dropped();
    test_rcode();
    test_ttl();
    test_soa_minimum();
    return check_done();
}
