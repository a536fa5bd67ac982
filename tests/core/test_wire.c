/* The cursor and the query parser: what each kind of packet is taken for, and that no octet outside it is read. */
#include "check.h"
#include "message.h"
#include "wire.h"

static struct message m;
static struct shd_query query;

/* Parse from a heap block of exactly the message's size. query.packet points to freed memory afterwards. */
static int parse(size_t len)
{
    uint8_t *packet = exact(m.wire, len);
    memset(&query, 0xee, sizeof query);
    int ret = shd_query_parse(packet, len, &query);
    free(packet);
    return ret;
}

static void begin(const char *name, unsigned flags)
{
    message_begin(&m, 0x1234, flags);
    message_counts(&m, 1, 0, 0, 0);
    put_question(&m, name, 28);
}

/* A plain query gives its question, folded, with the offsets of its labels, and the values that stand for no OPT. */
static void test_plain(void)
{
    begin("wWw.Example.oRg", SHD_FLAG_RD | SHD_FLAG_CD);
    CHECK_EQ(parse(m.len), 0);
    CHECK_EQ(query.id, 0x1234);
    CHECK_EQ(query.flags, SHD_FLAG_RD | SHD_FLAG_CD);
    CHECK_EQ(query.packet_len, m.len);
    CHECK_EQ(query.qtype, 28);
    CHECK_EQ(query.qclass, 1);
    CHECK_EQ(query.name_len, 17);
    CHECK_EQ(query.question_len, 21);
    CHECK(memcmp(query.name, "\3www\7example\3org", 17) == 0);
    CHECK_EQ(query.label_count, 3);
    CHECK(query.labels[0] == 0 && query.labels[1] == 4 && query.labels[2] == 12);
    CHECK_EQ(query.udp_size, 512);
    CHECK_EQ(query.has_opt, 0);
    CHECK_EQ(query.dnssec_ok, 0);
}

/* The root is a name of one octet and no labels. */
static void test_root(void)
{
    begin("", 0);
    CHECK_EQ(parse(m.len), 0);
    CHECK_EQ(query.name_len, 1);
    CHECK_EQ(query.question_len, 5);
    CHECK_EQ(query.label_count, 0);
}

/* Folding touches A to Z and nothing else, at every place of a name. */
static void test_fold(void)
{
    for (unsigned c = 0; c < 256; c++)
        for (size_t n = 1; n <= 24; n++) {
            message_begin(&m, 1, 0);
            message_counts(&m, 1, 0, 0, 0);
            put_u8(&m, (unsigned)n);
            for (size_t i = 0; i < n; i++)
                put_u8(&m, c);
            put_u8(&m, 0);
            put_u32(&m, 0x00010001);
            CHECK_EQ(parse(m.len), 0);
            for (size_t i = 1; i <= n; i++)
                if (query.name[i] != shd_fold((uint8_t)c))
                    CHECK_EQ(query.name[i], shd_fold((uint8_t)c));
            CHECK_EQ(query.name[n + 1], 0);
        }
}

/* Labels of up to 63 octets and names of up to 255 are taken; one more is FORMERR, without a question to echo. */
static void test_limits(void)
{
    for (unsigned last = 58; last <= 64; last++) {
        message_begin(&m, 1, 0);
        message_counts(&m, 1, 0, 0, 0);
        for (int i = 0; i < 3; i++) {
            put_u8(&m, 63);
            for (int k = 0; k < 63; k++)
                put_u8(&m, 'A');
        }
        put_u8(&m, last);            /* the name is 3 * 64 + 1 + last + 1 octets: 255 when last is 61 */
        for (unsigned k = 0; k < last; k++)
            put_u8(&m, 'b');
        put_u8(&m, 0);
        put_u32(&m, 0x00010001);
        CHECK_EQ(parse(m.len), last <= 61 ? 0 : SHD_EFORMERR);
        CHECK_EQ(query.name_len, last <= 61 ? 194 + last : 0);
        CHECK_EQ(query.question_len, last <= 61 ? 198 + last : 0);
    }
    for (unsigned labels = 126; labels <= 128; labels++) {
        message_begin(&m, 1, 0);
        message_counts(&m, 1, 0, 0, 0);
        for (unsigned i = 0; i < labels; i++)
            put_u16(&m, 0x0178);
        put_u8(&m, 0);
        put_u32(&m, 0x00010001);
        CHECK_EQ(parse(m.len), labels <= 127 ? 0 : SHD_EFORMERR);
        CHECK_EQ(query.label_count, labels <= 127 ? labels : 0);
    }
}

/* Shorter than a header, or a response: silence, whatever else is wrong. */
static void test_silence(void)
{
    begin("example.org", SHD_FLAG_RD);
    for (size_t len = 0; len < 12; len++)
        CHECK_EQ(parse(len), SHD_EDROP);
    begin("example.org", SHD_FLAG_QR);
    CHECK_EQ(parse(m.len), SHD_EDROP);
    CHECK_EQ(parse(14), SHD_EDROP);
    begin("example.org", SHD_FLAG_QR | 0x2000);
    CHECK_EQ(parse(m.len), SHD_EDROP);
}

/* Every prefix of a query that is at least a header long is FORMERR, with its question as soon as that is whole. */
static void test_prefixes(void)
{
    begin("www.example.org", SHD_FLAG_RD);
    size_t question_end = m.len;
    put_opt_record(&m, 1232, 0, 0, 0x8000);
    message_counts(&m, 1, 0, 0, 1);
    for (size_t len = 12; len < m.len; len++) {
        CHECK_EQ(parse(len), SHD_EFORMERR);
        CHECK_EQ(query.question_len, len >= question_end ? 21 : 0);
        CHECK_EQ(query.name_len, len >= question_end ? 17 : 0);
        CHECK_EQ(query.has_opt, 0);
        CHECK_EQ(query.udp_size, 512);
    }
    CHECK_EQ(parse(m.len), 0);
    put_u8(&m, 0);
    CHECK_EQ(parse(m.len), SHD_EFORMERR);
    CHECK_EQ(query.has_opt, 1);
}

/* A question count other than one is FORMERR; a bare header too, and its OPT is seen when it has one. */
static void test_question_count(void)
{
    message_begin(&m, 7, SHD_FLAG_RD);
    CHECK_EQ(parse(m.len), SHD_EFORMERR);
    CHECK_EQ(query.id, 7);
    CHECK_EQ(query.question_len, 0);
    put_opt_record(&m, 1232, 0, 0, 0);
    message_counts(&m, 0, 0, 0, 1);
    CHECK_EQ(parse(m.len), SHD_EFORMERR);
    CHECK_EQ(query.has_opt, 1);
    for (unsigned count = 2; count < 65536; count += 9362) {
        begin("example.org", 0);
        put_question(&m, "example.org", 28);
        message_counts(&m, count, 0, 0, 0);
        CHECK_EQ(parse(m.len), SHD_EFORMERR);
        CHECK_EQ(query.question_len, 0);
    }
}

/* An opcode other than QUERY is NOTIMP, whether or not the rest parses; the question is there when it does. */
static void test_opcode(void)
{
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        begin("example.org", opcode << 11);
        put_opt_record(&m, 1232, 0, 1, 0);
        message_counts(&m, 1, 0, 0, 1);
        CHECK_EQ(parse(m.len), SHD_ENOTIMP);
        CHECK_EQ(query.question_len, 17);
        CHECK_EQ(query.has_opt, 1);
        CHECK_EQ(parse(12), SHD_ENOTIMP);
        CHECK_EQ(query.question_len, 0);
    }
    begin("example.org", 5 << 11);       /* an UPDATE carries records in all sections */
    message_counts(&m, 1, 1, 2, 0);
    CHECK_EQ(parse(m.len), SHD_ENOTIMP);
    CHECK_EQ(query.question_len, 17);
}

/* Pointers and undefined label types in a question are FORMERR: nothing stands before it. */
static void test_question_pointer(void)
{
    static const uint8_t types[] = {0xc0, 0xff, 0x40, 0x80, 0xbf};
    for (size_t i = 0; i < sizeof types; i++) {
        message_begin(&m, 1, 0);
        message_counts(&m, 1, 0, 0, 0);
        put_labels(&m, "www");
        put_u8(&m, types[i]);
        put_u8(&m, 12);
        put_u8(&m, 0);
        put_u32(&m, 0x00010001);
        CHECK_EQ(parse(m.len), SHD_EFORMERR);
        CHECK_EQ(query.question_len, 0);
    }
}

/* OPT gives size (at least 512) and DO; another version is BADVERS, and its options are not judged. */
static void test_opt(void)
{
    static const struct {
        unsigned size, version, flags;
        int result, wanted_size, wanted_do;
    } cases[] = {
        {1232, 0, 0, 0, 1232, 0},          {4096, 0, 0x8000, 0, 4096, 1},  {0, 0, 0, 0, 512, 0},
        {511, 0, 0, 0, 512, 0},            {512, 0, 0, 0, 512, 0},         {65535, 0, 0x7fff, 0, 65535, 0},
        {1232, 1, 0, SHD_EBADVERS, 1232, 0}, {1232, 255, 0x8000, SHD_EBADVERS, 1232, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("example.org", 0);
        put_opt_record(&m, cases[i].size, 0, cases[i].version, cases[i].flags);
        message_counts(&m, 1, 0, 0, 1);
        CHECK_EQ(parse(m.len), cases[i].result);
        CHECK_EQ(query.has_opt, 1);
        CHECK_EQ(query.edns_version, cases[i].version);
        CHECK_EQ(query.udp_size, cases[i].wanted_size);
        CHECK_EQ(query.dnssec_ok, cases[i].wanted_do);
        CHECK_EQ(query.question_len, 17);
    }
}

/* Options, known or not, are read over if their lengths fill the OPT exactly. */
static void test_options(void)
{
    static const struct {
        const char *octets;
        size_t len;
        int version, result;
    } cases[] = {
        {"\0\12\0\10cookie!!", 12, 0, 0},   {"\377\377\0\0", 4, 0, 0},        {"\0\1\0\0\0\2\0\1x", 9, 0, 0},
        {"\0\12\0\10cookie!", 11, 0, SHD_EFORMERR}, {"\0", 1, 0, SHD_EFORMERR}, {"\0\1\0", 3, 0, SHD_EFORMERR},
        {"\0\1\377\377", 4, 0, SHD_EFORMERR}, {"\0\1\0\0\0", 5, 0, SHD_EFORMERR}, {"\0\1\0", 3, 1, SHD_EBADVERS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("example.org", 0);
        put_opt_record(&m, 1232, 0, (unsigned)cases[i].version, 0);
        put_bytes(&m, cases[i].octets, cases[i].len);
        shd_put16(m.wire + m.len - cases[i].len - 2, (uint16_t)cases[i].len);
        message_counts(&m, 1, 0, 0, 1);
        CHECK_EQ(parse(m.len), cases[i].result);
        CHECK_EQ(query.has_opt, 1);
        CHECK_EQ(parse(m.len - 1), SHD_EFORMERR);
    }
}

/* Two OPTs are FORMERR, as is one whose owner is not the root, spelt out or by pointer. */
static void test_odd_opts(void)
{
    begin("example.org", 0);
    put_opt_record(&m, 1232, 0, 0, 0);
    put_opt_record(&m, 1232, 0, 0, 0);
    message_counts(&m, 1, 0, 0, 2);
    CHECK_EQ(parse(m.len), SHD_EFORMERR);
    CHECK_EQ(query.has_opt, 1);
    for (int pointer = 0; pointer < 2; pointer++) {
        begin("example.org", 0);
        if (pointer)
            put_to(&m, 24);              /* the root at the question's end */
        else
            put_text_name(&m, "org");
        size_t at = put_fields(&m, SHD_TYPE_OPT, 0);
        rdata_end(&m, at);
        message_counts(&m, 1, 0, 0, 1);
        CHECK_EQ(parse(m.len), SHD_EFORMERR);
        CHECK_EQ(query.has_opt, 0);
    }
    begin("example.org", 0);             /* an OPT where the authority belongs */
    put_opt_record(&m, 1232, 0, 0, 0);
    message_counts(&m, 1, 0, 1, 0);
    CHECK_EQ(parse(m.len), SHD_EFORMERR);
}

/* Records in answer or authority are FORMERR but for IXFR's one SOA; TSIG and others in additional are read over. */
static void test_records(void)
{
    static const struct {
        unsigned qtype, type, answer, authority, additional;
        int result;
    } cases[] = {
        {1, 1, 1, 0, 0, SHD_EFORMERR},   {1, 6, 0, 1, 0, SHD_EFORMERR},     {1, 250, 0, 0, 1, 0},
        {1, 24, 0, 0, 1, 0},             {251, 6, 0, 1, 0, 0},              {251, 2, 0, 1, 0, SHD_EFORMERR},
        {251, 6, 1, 0, 0, SHD_EFORMERR}, {251, 6, 0, 2, 0, SHD_EFORMERR},   {252, 6, 0, 1, 0, SHD_EFORMERR},
        {1, 1, 0, 0, 2, SHD_EFORMERR},   {1, 1, 0, 0, 65535, SHD_EFORMERR}, {1, 1, 0, 0, 0, SHD_EFORMERR},
        {1, 1, 65535, 65535, 65535, SHD_EFORMERR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        message_begin(&m, 1, 0);
        put_question(&m, "example.org", cases[i].qtype);
        put_to(&m, 12);
        size_t at = put_fields(&m, cases[i].type, 0);
        put_u32(&m, 0);
        rdata_end(&m, at);
        message_counts(&m, 1, cases[i].answer, cases[i].authority, cases[i].additional);
        CHECK_EQ(parse(m.len), cases[i].result);
        if (cases[i].result == 0)
            for (size_t len = 12; len < m.len; len++)
                CHECK_EQ(parse(len), SHD_EFORMERR);
    }
}

/* 64 KiB of anything is read without harm: of zeros, ones, labels, pointers, and one record that fills it. */
static void test_big(void)
{
    for (unsigned fill = 0; fill < 256; fill++) {
        memset(m.wire, (int)fill, 65535);
        m.wire[2] = 0;
        shd_put16(m.wire + 4, 1);
        CHECK_EQ(parse(65535), SHD_EFORMERR);
    }
    begin("example.org", 0);
    put_u8(&m, 0);
    size_t at = put_fields(&m, 65000, 0);
    memset(m.wire + m.len, 0xc0, 65535 - m.len);
    m.len = 65535;
    rdata_end(&m, at);
    message_counts(&m, 1, 0, 0, 1);
    CHECK_EQ(parse(m.len), 0);
}

/* Reads past the end give 0 and stick, even where a later read would fit. */
static void test_cursor(void)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct shd_cursor c = shd_cursor_init(bytes, sizeof bytes);
    CHECK_EQ(shd_cursor_u8(&c), 1);
    CHECK_EQ(shd_cursor_u16(&c), 0x0203);
    CHECK_EQ(shd_cursor_u32(&c), 0x04050607);
    CHECK(shd_cursor_bytes(&c, 0) == bytes + 7);
    CHECK_EQ(shd_cursor_u16(&c), 0);
    CHECK(c.failed);
    CHECK_EQ(shd_cursor_u8(&c), 0);
    CHECK(shd_cursor_bytes(&c, 0) == NULL);
    uint8_t name[255];
    CHECK_EQ(shd_cursor_name(&c, name), 0);
    c = shd_cursor_init(bytes, sizeof bytes);
    CHECK(shd_cursor_bytes(&c, SIZE_MAX) == NULL);
}

/* Names at the end of `octets`, after `before` octets of others: their length (0: refused), and where reading goes on. */
static void test_cursor_name(void)
{
    static const struct {
        const char *octets;
        size_t len, before, name_len, after;
    } cases[] = {
        {"\0", 1, 0, 1, 1},                              /* the root */
        {"\3org\0", 5, 0, 5, 5},
        {"\3org\0\7example\300\0", 15, 5, 13, 15},       /* a suffix by pointer */
        {"\3org\0\7example\300\0xx", 17, 5, 13, 15},
        {"\3org\0\1a\300\0\1b\300\5", 13, 9, 9, 13},     /* a pointer to a name with a pointer */
        {"\3org\0\300\0", 7, 5, 5, 7},                   /* a bare pointer */
        {"\3org\0\300\3", 7, 5, 0, 0},                   /* into a label: 'g' is 103, no label type */
        {"\3org\0\300\5", 7, 5, 0, 0},                   /* to itself */
        {"\300\0", 2, 0, 0, 0},
        {"\1a\300\0", 4, 0, 0, 0},                       /* to its own start */
        {"\300\2\300\0", 4, 2, 0, 0},                    /* there and back */
        {"\300\2\1a\0", 5, 0, 0, 0},                     /* forwards */
        {"\300\377", 2, 0, 0, 0},                        /* past the end */
        {"\1a\1b\300\2\0", 7, 0, 0, 0},                  /* to a later label of its own */
        {"\3org\0\300", 6, 5, 0, 0},                     /* half a pointer */
        {"\100x\0", 3, 0, 0, 0},
        {"\200x\0", 3, 0, 0, 0},
        {"\3or", 3, 0, 0, 0},
        {"\3org", 4, 0, 0, 0},                           /* no root label */
        {"", 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *base = exact((const uint8_t *)cases[i].octets, cases[i].len), *name = malloc(255);
        struct shd_cursor c = shd_cursor_init(base, cases[i].len);
        c.at = cases[i].before;
        CHECK_EQ(shd_cursor_name(&c, name), cases[i].name_len);
        CHECK_EQ(c.failed, cases[i].name_len == 0);
        if (cases[i].name_len > 0)
            CHECK_EQ(c.at, cases[i].after);
        free(name);
        free(base);
    }
}

/* The whole of a compressed name is at most 255 octets: 127 labels, each a pointer to the next, are the most. */
static void test_cursor_long_name(void)
{
    m.len = 0;
    put_u8(&m, 0);
    size_t before = 0;
    for (size_t labels = 1; labels < 140; labels++) {
        size_t at = m.len;
        put_u16(&m, 0x0178);
        put_to(&m, before);
        uint8_t *name = malloc(255);
        struct shd_cursor c = shd_cursor_init(m.wire, m.len);
        c.at = at;
        CHECK_EQ(shd_cursor_name(&c, name), labels <= 127 ? 2 * labels + 1 : 0);
        free(name);
        before = at;
    }
}

int main(void)
{
    test_plain();
    test_root();
    test_fold();
    test_limits();
    test_silence();
    test_prefixes();
    test_question_count();
    test_opcode();
    test_question_pointer();
    test_opt();
    test_options();
    test_odd_opts();
    test_records();
    test_big();
    test_cursor();
    test_cursor_name();
    test_cursor_long_name();
    return check_done();
}
