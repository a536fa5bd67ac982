/* Making entries: which answers are taken, and how they are written anew. */
#include "check.h"
#include "entry.h"
#include "message.h"

enum { A = 1, NS = 2, CNAME = 5, SOA = 6, MX = 15, AAAA = 28, SRV = 33 };

static struct message m;
static struct shd_query question;
static struct shd_entry entry, again;

/* Ask name, and begin its answer in m. */
static void begin(const char *name, unsigned type, unsigned flags)
{
    static struct message asked;
    message_begin(&asked, 1, 0);
    message_counts(&asked, 1, 0, 0, 0);
    put_question(&asked, name, type);
    CHECK_EQ(shd_query_parse(asked.wire, asked.len, &question), 0);
    message_begin(&m, 0xabcd, SHD_FLAG_QR | flags);
    message_counts(&m, 1, 0, 0, 0);
    put_question(&m, name, type);
}

static int pack(size_t len)
{
    uint8_t *wire = exact(m.wire, len);
    memset(&entry, 0xee, sizeof entry.head + sizeof entry.key + 1024);
    int ret = shd_entry_pack(wire, len, &question, &entry);
    free(wire);
    return ret;
}

/* Packing an entry's own wire gives the same wire: its pointers are right and there is nothing left to compress. */
static void check_stable(void)
{
    CHECK_EQ(shd_entry_pack(entry.wire, entry.head.wire_len, &question, &again), 0);
    CHECK_EQ(again.head.wire_len, entry.head.wire_len);
    CHECK(memcmp(again.wire, entry.wire, entry.head.wire_len) == 0);
    CHECK(memcmp(again.places, entry.places, entry.head.place_count * sizeof entry.places[0]) == 0);
}

/* What is packed from m, from octet 12 on, is exactly the octets of wanted. */
static void check_wire(const struct message *wanted)
{
    CHECK_EQ(entry.head.wire_len, wanted->len);
    CHECK(memcmp(entry.wire + 12, wanted->wire + 12, wanted->len - 12) == 0);
}

/* An answer with CNAME, A and an additional record, spelt out in full and in mixed case, comes out compressed; its places,
 * counts and flags are noted and the id, RD and CD are gone. */
static void test_pack(void)
{
    static struct message wanted;
    begin("www.example.org", A, SHD_FLAG_AA | SHD_FLAG_RD | SHD_FLAG_RA | SHD_FLAG_AD | SHD_FLAG_CD | 0x40);
    memcpy(m.wire + 12, "\3wWw\7exAmple\3ORG", 17);
    wanted = m;
    memcpy(wanted.wire + 12, "\3www\7example\3org", 17);
    put_text_name(&m, "www.example.ORG");
    size_t at = put_fields(&m, CNAME, 300);
    put_text_name(&m, "Web.Example.Net");
    rdata_end(&m, at);
    put_text_name(&m, "web.example.net");
    put_a(&m, 60, 0xc0000201);
    put_text_name(&m, "ns.example.net");
    put_a(&m, 90, 0xc0000202);
    message_counts(&m, 1, 2, 0, 1);

    put_to(&wanted, 12);
    at = put_fields(&wanted, CNAME, 300);
    size_t target = wanted.len;
    put_text_name(&wanted, "Web.Example.Net");
    rdata_end(&wanted, at);
    put_to(&wanted, target);
    put_a(&wanted, 60, 0xc0000201);
    put_labels(&wanted, "ns");
    put_to(&wanted, target + 4);
    put_a(&wanted, 90, 0xc0000202);

    CHECK_EQ(pack(m.len), 0);
    check_wire(&wanted);
    CHECK(memcmp(entry.wire, "\0\0\204\240\0\1\0\2\0\0\0\1", 12) == 0);
    CHECK_EQ(entry.head.flags, SHD_FLAG_AA | SHD_FLAG_RA | SHD_FLAG_AD);
    CHECK_EQ(entry.head.rcode, 0);
    CHECK_EQ(entry.head.place_count, 3);
    CHECK_EQ(entry.head.answer_count, 2);
    CHECK_EQ(entry.head.authority_count, 0);
    CHECK_EQ(entry.head.min_ttl_s, 60);
    CHECK_EQ(entry.head.hash | entry.head.stored_ms | entry.head.ttl_s | entry.head.key_len | entry.head.kind, 0);
    CHECK_EQ(entry.places[0].ttl_at, 39);
    CHECK_EQ(entry.places[0].end_at, 62);
    CHECK_EQ(entry.places[2].end_at, wanted.len);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(shd_get32(entry.wire + entry.places[i].ttl_at), shd_get32(wanted.wire + entry.places[i].ttl_at));
    check_stable();
}

/* A message with every kind of record part: all its prefixes are refused; octets after it are passed over. */
static void test_prefixes(void)
{
    begin("www.example.org", A, 0);
    put_to(&m, 12);
    size_t at = put_fields(&m, CNAME, 300);
    put_labels(&m, "web");
    put_to(&m, 16);
    rdata_end(&m, at);
    put_labels(&m, "web");
    put_to(&m, 16);
    put_a(&m, 60, 1);
    put_to(&m, 16);
    at = put_fields(&m, SOA, 60);
    put_to(&m, 12);
    put_to(&m, 16);
    for (uint32_t i = 0; i < 5; i++)
        put_u32(&m, i);
    rdata_end(&m, at);
    put_opt_record(&m, 1232, 0, 0, 0);
    message_counts(&m, 1, 2, 1, 1);
    CHECK_EQ(pack(m.len), 0);
    check_stable();
    for (size_t len = 0; len < m.len; len++)
        CHECK_EQ(pack(len), SHD_EMALFORMED);
    CHECK_EQ(pack(m.len), 0);
    again = entry;
    for (int i = 0; i < 300; i++) {
        put_u8(&m, 0xc0);
        CHECK_EQ(pack(m.len), 0);
        CHECK(memcmp(&again, &entry, offsetof(struct shd_entry, wire) + entry.head.wire_len) == 0);
    }
}

/* Counts that are one too many in any section, or absurd, are refused. */
static void test_counts(void)
{
    static const int lies[] = {1, 65535};
    for (int section = 0; section < 3; section++)
        for (int i = 0; i < 2; i++) {
            begin("example.org", A, 0);
            for (int k = 0; k < 3; k++) {
                put_to(&m, 12);
                put_a(&m, 60, 1);
            }
            message_counts(&m, 1, 1, 1, 1);
            CHECK_EQ(pack(m.len), 0);
            shd_put16(m.wire + 6 + 2 * section, (uint16_t)(lies[i] == 65535 ? 65535 : 1 + lies[i]));
            CHECK_EQ(pack(m.len), SHD_EMALFORMED);
        }
}

/* A query, or another opcode's response, is no answer; nor is a message of less than a header or more than 65,535 octets. */
static void test_not_an_answer(void)
{
    begin("example.org", A, 0);
    CHECK_EQ(pack(m.len), 0);
    shd_put16(m.wire + 2, SHD_FLAG_RD);
    CHECK_EQ(pack(m.len), SHD_EMALFORMED);
    for (unsigned opcode = 1; opcode < 16; opcode++) {
        shd_put16(m.wire + 2, (uint16_t)(SHD_FLAG_QR | opcode << 11));
        CHECK_EQ(pack(m.len), SHD_EMALFORMED);
    }
    for (size_t whole = 65535; whole <= 65536; whole++) {
        begin("example.org", A, 0);
        put_to(&m, 12);
        size_t at = put_fields(&m, 16, 60);
        m.len = whole;
        rdata_end(&m, at);
        message_counts(&m, 1, 1, 0, 0);
        CHECK_EQ(pack(whole), whole == 65535 ? 0 : SHD_EMALFORMED);
    }
    begin("example.org", A, 2);
    message_counts(&m, 0, 0, 0, 0);
    question.question_len = 0;           /* a question that was not parsed cannot be answered */
    CHECK_EQ(pack(12), SHD_EMALFORMED);
    CHECK_EQ(shd_entry_pack(NULL, 0, &question, &entry), SHD_EMALFORMED);
}

/* The question must be the one asked, without case; without any it may be FORMERR, NOTIMP, SERVFAIL or REFUSED. */
static void test_question(void)
{
    static const struct {
        const char *name;
        unsigned type, class;
        int result;
    } cases[] = {
        {"www.example.org", A, 1, 0},           {"WWW.EXAMPLE.ORG", A, 1, 0},
        {"www.example.org", AAAA, 1, SHD_EMISMATCH}, {"www.example.org", A, 3, SHD_EMISMATCH},
        {"wwv.example.org", A, 1, SHD_EMISMATCH}, {"example.org", A, 1, SHD_EMISMATCH},
        {"a.www.example.org", A, 1, SHD_EMISMATCH}, {"", A, 1, SHD_EMISMATCH},
        {"www.example.orgg", A, 1, SHD_EMISMATCH}, {"www\1example.org", A, 1, SHD_EMISMATCH},
        {"www.example.or\xf2", A, 1, SHD_EMISMATCH}, /* 'r' with the top bit: no letter, not folded */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("www.example.org", A, 0);
        m.len = 12;
        put_text_name(&m, cases[i].name);
        put_u16(&m, cases[i].type);
        put_u16(&m, cases[i].class);
        CHECK_EQ(pack(m.len), cases[i].result);
    }
    for (unsigned rcode = 0; rcode < 16; rcode++) {
        bool accepted = rcode == 1 || rcode == 2 || rcode == 4 || rcode == 5;
        begin("www.example.org", A, rcode);
        size_t len = m.len;
        m.len = 12;
        message_counts(&m, 0, 0, 0, 0);
        CHECK_EQ(pack(m.len), accepted ? 0 : SHD_EMISMATCH);
        if (!accepted)
            continue;
        CHECK_EQ(entry.head.wire_len, len);
        CHECK_EQ(shd_get16(entry.wire + 4), 1);
        CHECK(memcmp(entry.wire + 12, "\3www\7example\3org\0\0\1\0\1", 21) == 0);
        CHECK_EQ(entry.head.rcode, rcode);
        CHECK_EQ(entry.head.min_ttl_s, 0xffffffff);
    }
    begin("www.example.org", A, 2);
    put_question(&m, "www.example.org", A);
    message_counts(&m, 2, 0, 0, 0);
    CHECK_EQ(pack(m.len), SHD_EMALFORMED);
}

/* Without a question in the answer, a pointer to octet 12 means the first record's owner, not the question. */
static void test_no_question_pointer(void)
{
    begin("www.example.org", A, 2);
    m.len = 12;
    put_text_name(&m, "other.example.net");
    put_a(&m, 1, 1);
    put_to(&m, 12);
    put_a(&m, 1, 2);
    message_counts(&m, 0, 2, 0, 0);
    CHECK_EQ(pack(m.len), 0);
    CHECK(memcmp(entry.wire + 33, "\5other\7example\3net", 19) == 0);
    CHECK(memcmp(entry.wire + entry.places[0].end_at, "\300\41", 2) == 0);
    check_stable();
}

/* Owners that loop, point forwards, into the dark or past the end, or are too long, are refused. */
static void test_bad_owners(void)
{
    static const struct {
        const char *octets;
        size_t len;
    } cases[] = {
        {"\300\35", 2}, {"\300\36", 2}, {"\1a\300\35", 4}, {"\300\377", 2}, {"\377\377", 2}, {"\100", 1}, {"\200", 1},
        {"\77", 1}, {"\300\20\300", 3}, {"\1a", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("example.org", A, 0);      /* the record begins at 29, 0x1d, octal 35 */
        put_bytes(&m, cases[i].octets, cases[i].len);
        put_a(&m, 60, 1);
        message_counts(&m, 1, 1, 0, 0);
        CHECK_EQ(pack(m.len), SHD_EMALFORMED);
    }
}

/* Labels that only a hash takes for the same ('@' and '`', '[' and '{' differ by the bit that tells cases apart) stay two names. */
static void test_alike(void)
{
    static const char *const pairs[][2] = {{"a@.x", "a`.x"}, {"[.x", "{.x"}, {"a\x10.x", "a0.x"}, {"@.x", "`.x"}};
    for (int i = 0; i < 4; i++) {
        begin(pairs[i][0], A, 0);
        size_t at = m.len;
        put_text_name(&m, pairs[i][1]);
        put_a(&m, 60, 1);
        message_counts(&m, 1, 1, 0, 0);
        CHECK_EQ(pack(m.len), 0);
        size_t label = strlen(pairs[i][1]) - 1;
        CHECK(memcmp(entry.wire + at, m.wire + at, label) == 0);
        CHECK_EQ(shd_get16(entry.wire + at + label), 0xc000 + 12 + label);
    }
}

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

/* The answer begun becomes one with a SOA (TTL, MINIMUM) in authority. */
static void put_soa(uint32_t ttl, uint32_t minimum)
{
    put_text_name(&m, "example.org");
    size_t at = put_fields(&m, SOA, ttl);
    put_text_name(&m, "ns.example.org");
    put_text_name(&m, "hostmaster.example.org");
    for (uint32_t i = 0; i < 4; i++)
        put_u32(&m, 7);
    put_u32(&m, minimum);
    rdata_end(&m, at);
    shd_put16(m.wire + 8, (uint16_t)(shd_get16(m.wire + 8) + 1));
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

/* Many different names, beyond what pointers reach and the suffix table holds, still make a right entry. */
static void test_many_names(void)
{
    for (unsigned spread = 1; spread <= 4096; spread *= 8) {
        begin("example.org", MX, 0);
        unsigned count = 0;
        for (; m.len < 65535 - 60; count++) {
            char name[40];
            snprintf(name, sizeof name, "h%u.d%u.x", count % spread, count);
            put_to(&m, 12);
            size_t at = put_fields(&m, MX, 60);
            put_u16(&m, count);
            put_labels(&m, name);
            put_to(&m, 12);
            rdata_end(&m, at);
        }
        message_counts(&m, 1, count, 0, 0);
        CHECK_EQ(pack(m.len), 0);
        CHECK_EQ(entry.head.answer_count, count);
        CHECK(entry.head.wire_len <= m.len);
        CHECK_EQ(shd_entry_pack(entry.wire, entry.head.wire_len, &question, &again), 0);
        CHECK_EQ(again.head.answer_count, count);
    }
}

/* The most records that fit 65,535 octets are taken: their places fit too. */
static void test_most_records(void)
{
    begin("", 16, 0);
    unsigned count = 0;
    for (; m.len + 11 <= 65535; count++) {
        put_u8(&m, 0);
        put_fields(&m, 16, 1);
    }
    message_counts(&m, 1, count, 0, 0);
    CHECK_EQ(pack(m.len), 0);
    CHECK_EQ(entry.head.place_count, count);
    CHECK_EQ(entry.head.wire_len, m.len);
}

/* Names that may not be compressed again can make an entry too large: ESPACE, and nothing is written past its memory. */
static void test_space(void)
{
    begin("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.example.org", SRV, 0);
    unsigned count = 0;
    for (; m.len < 65535 - 20; count++) {
        put_to(&m, 12);
        size_t at = put_fields(&m, SRV, 60);
        put_bytes(&m, "abcdef", 6);
        put_to(&m, 12);
        rdata_end(&m, at);
    }
    message_counts(&m, 1, count, 0, 0);
    CHECK_EQ(pack(m.len), SHD_ESPACE);
}

/* One record's wire is spelt out up to the last octet of 65,535, and not one more. */
static void test_space_edge(void)
{
    for (unsigned fill = 65430; fill < 65480; fill++) {
        begin("example.org", 16, 0);
        put_to(&m, 12);
        size_t at = put_fields(&m, 16, 60);
        memset(m.wire + m.len, 'x', fill);
        m.len += fill;
        rdata_end(&m, at);
        put_to(&m, 12);
        at = put_fields(&m, SRV, 60);
        put_bytes(&m, "abcdef", 6);
        put_to(&m, 12);
        rdata_end(&m, at);
        message_counts(&m, 1, 2, 0, 0);
        size_t needed = m.len + 11;      /* the name of 13 octets in place of its pointer */
        if (m.len > 65535)
            break;
        CHECK_EQ(pack(m.len), needed <= 65535 ? 0 : SHD_ESPACE);
    }
}

int main(void)
{
    test_pack();
    test_prefixes();
    test_counts();
    test_not_an_answer();
    test_question();
    test_no_question_pointer();
    test_bad_owners();
    test_alike();
    test_rdata();
    test_short_rdata();
    test_swallowed_record();
    test_lengths();
    test_dropped();
    test_rcode();
    test_ttl();
    test_soa_minimum();
    test_many_names();
    test_most_records();
    test_space();
    test_space_edge();
    return check_done();
}
