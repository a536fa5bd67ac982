/* Making entries: which answers are taken, and how they are written anew. Their records: test_pack_records.c. */
#include "entry_rig.h"

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
    test_many_names();
    test_most_records();
    test_space();
    test_space_edge();
    return check_done();
}
