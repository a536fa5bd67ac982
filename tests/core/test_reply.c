/* Replies: what is the client's (id, case, flags, OPT), what is the entry's, and where a reply is cut. */
#include "check.h"
#include "message.h"
#include "reply.h"

static struct message asked, answer;
static struct shd_query query;
static struct shd_entry entry;
static uint8_t out[65536 + 16];

/* Ask www.eXample.org with these header flags; size 0: no OPT. */
static void ask(unsigned flags, unsigned size, unsigned opt_flags)
{
    message_begin(&asked, 0x4242, flags);
    message_counts(&asked, 1, 0, 0, size > 0);
    put_question(&asked, "www.eXample.org", 1);
    if (size > 0)
        put_opt_record(&asked, size, 0, 0, opt_flags);
    CHECK_EQ(shd_query_parse(asked.wire, asked.len, &query), 0);
}

/* Pack an answer with so many A records in each section (16 octets each in the entry's wire, from octet 33 on). */
static void make(unsigned flags, unsigned answers, unsigned authority, unsigned additional, unsigned extended_rcode)
{
    message_begin(&answer, 9, SHD_FLAG_QR | flags);
    put_question(&answer, "www.example.org", 1);
    unsigned records = answers + authority + additional;
    for (unsigned i = 0; i < records; i++) {
        put_to(&answer, 12);
        put_a(&answer, 100 + i, 0xc0000200 + i);
    }
    put_opt_record(&answer, 1232, extended_rcode, 0, 0);
    message_counts(&answer, 1, answers, authority, additional + 1);
    CHECK_EQ(shd_entry_pack(answer.wire, answer.len, &query, &entry), 0);
    CHECK_EQ(entry.head.wire_len, 33 + 16 * records);
}

/* Write into a heap block of exactly limit octets, then into out, which the checks look at. */
static int reply(uint32_t ttl_s, uint32_t flags, size_t limit)
{
    uint8_t *tight = malloc(limit ? limit : 1), *packet = exact(asked.wire, asked.len);
    query.packet = packet;
    int ret = shd_reply_entry(&query, &entry, ttl_s, flags, tight, limit);
    memset(out, 0xee, sizeof out);
    CHECK_EQ(shd_reply_entry(&query, &entry, ttl_s, flags, out, limit), ret);
    if (ret > 0)
        CHECK(memcmp(out, tight, (size_t)ret) == 0);
    free(tight);
    free(packet);
    query.packet = asked.wire;
    return ret;
}

static void check_counts(unsigned an, unsigned ns, unsigned ar)
{
    CHECK_EQ(shd_get16(out + 4), 1);
    CHECK_EQ(shd_get16(out + 6), an);
    CHECK_EQ(shd_get16(out + 8), ns);
    CHECK_EQ(shd_get16(out + 10), ar);
}

/* Id and question are the client's, records the entry's, every TTL the one given. */
static void test_plain(void)
{
    ask(SHD_FLAG_RD, 0, 0);
    make(SHD_FLAG_RA, 1, 1, 1, 0);
    CHECK_EQ(reply(77, SHD_REPLY_HIT, 512), 33 + 48);
    CHECK(memcmp(out, "\x42\x42\x85\x80\0\1\0\1\0\1\0\1\3www\7eXample\3org\0\0\1\0\1", 33) == 0);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(shd_get32(out + 39 + 16 * i), 77);
        CHECK_EQ(shd_get32(out + 45 + 16 * i), 0xc0000200 + i);
    }
}

/* RAW_TTL leaves each record its own. */
static void test_raw_ttl(void)
{
    ask(SHD_FLAG_RD, 0, 0);
    make(SHD_FLAG_RA, 1, 1, 1, 0);
    CHECK_EQ(reply(77, SHD_REPLY_RAW_TTL, 512), 33 + 48);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(shd_get32(out + 39 + 16 * i), 100 + i);
}

/* Flags, for all combinations: RD and CD as asked; AA forced on a hit, else RA, AA, TC and the rcode as stored; AD only for who asked
 * with AD or DO; Z, opcode and the query's own AA, TC and RA never. */
static void test_flags(void)
{
    static const unsigned asks[] = {0x0010, 0x0020, 0x0040, 0x0080, 0x0100, 0x0200, 0x0400};
    static const unsigned stored[] = {0x0020, 0x0080, 0x0200, 0x0400};
    for (unsigned a = 0; a < 128; a++)
        for (unsigned s = 0; s < 16; s++)
            for (unsigned more = 0; more < 4; more++) {
                unsigned aflags = 0, sflags = 3;
                bool with_do = more & 1, hit = more & 2;
                for (int i = 0; i < 7; i++)
                    aflags |= a >> i & 1 ? asks[i] : 0;
                for (int i = 0; i < 4; i++)
                    sflags |= s >> i & 1 ? stored[i] : 0;
                ask(aflags, 512, with_do ? 0x8000 : 0);
                make(sflags, 1, 0, 0, 0);
                CHECK_EQ(reply(1, hit ? SHD_REPLY_HIT : 0, 512), 33 + 16 + 11);
                unsigned wanted = 0x8000 | (aflags & 0x0110) | (sflags & 0x0683) | (hit ? 0x0400 : 0);
                if (with_do || (aflags & 0x0020))
                    wanted |= sflags & 0x0020;
                CHECK_EQ(shd_get16(out + 2), wanted);
            }
}

/* OPT comes last and only to who sent one: the client's size, its DO, version 0, nothing else. */
static void test_opt(void)
{
    static const struct { unsigned size, flags; const char *wanted; } cases[] = {
        {1232, 0x8000, "\0\0\51\4\320\0\0\200\0\0\0"}, {4096, 0x7fff, "\0\0\51\20\0\0\0\0\0\0\0"}, {1, 0, "\0\0\51\2\0\0\0\0\0\0\0"},
    };
    for (int i = 0; i < 3; i++) {
        ask(0, cases[i].size, cases[i].flags);
        make(0, 2, 0, 0, 0);
        CHECK_EQ(reply(1, 0, 4096), 33 + 32 + 11);
        CHECK(memcmp(out + 65, cases[i].wanted, 11) == 0);
        check_counts(2, 0, 1);
    }
    ask(0, 0, 0);
    make(0, 2, 0, 0, 0);
    CHECK_EQ(reply(1, 0, 4096), 33 + 32);
    check_counts(2, 0, 0);
}

/* An extended rcode is split between header and OPT; without OPT it is SERVFAIL. */
static void test_extended_rcode(void)
{
    ask(0, 512, 0);
    make(7, 1, 0, 0, 1);                 /* 23, BADCOOKIE */
    CHECK_EQ(entry.head.rcode, 23);
    CHECK_EQ(reply(1, 0, 512), 60);
    CHECK_EQ(shd_get16(out + 2) & 15, 7);
    CHECK_EQ(out[54], 1);
    ask(0, 0, 0);
    CHECK_EQ(reply(1, 0, 512), 49);
    CHECK_EQ(shd_get16(out + 2) & 15, SHD_RCODE_SERVFAIL);
    make(15, 1, 0, 0, 0);
    CHECK_EQ(reply(1, 0, 512), 49);
    CHECK_EQ(shd_get16(out + 2) & 15, 15);
}

/* For every limit and with or without OPT: whole records from the front, counts and TC to match, ESPACE below the question. */
static void test_cut(void)
{
    for (unsigned opt = 0; opt < 2; opt++) {
        ask(0, opt ? 1232 : 0, 0);
        make(0, 3, 2, 2, 0);
        for (size_t limit = 0; limit < 33 + 7 * 16 + 30; limit++) {
            size_t room = limit - 11 * opt, kept = 0;
            int got = reply(5, 0, limit);
            if (limit < 33 + 11 * opt) {
                CHECK_EQ(got, SHD_ESPACE);
                continue;
            }
            while (kept < 7 && 33 + 16 * (kept + 1) <= room)
                kept++;
            CHECK_EQ(got, 33 + 16 * kept + 11 * opt);
            check_counts(kept < 3 ? kept : 3, kept < 3 ? 0 : kept < 5 ? kept - 3 : 2, (kept < 5 ? 0 : kept - 5) + opt);
            CHECK_EQ(!!(shd_get16(out + 2) & SHD_FLAG_TC), kept < 5);
            for (size_t i = 0; i < kept; i++)
                CHECK_EQ(shd_get32(out + 39 + 16 * i), 5);
        }
    }
}

/* The shortest and the longest question are answered alike. */
static void test_questions(void)
{
    for (unsigned labels = 0; labels <= 127; labels += 127) {
        message_begin(&asked, 3, 0);
        for (unsigned i = 0; i < labels; i++)
            put_labels(&asked, "X");
        put_u8(&asked, 0);
        put_u32(&asked, 0x00010001);
        message_counts(&asked, 1, 0, 0, 0);
        CHECK_EQ(shd_query_parse(asked.wire, asked.len, &query), 0);
        answer = asked;
        shd_put16(answer.wire + 2, SHD_FLAG_QR);
        CHECK_EQ(shd_entry_pack(answer.wire, answer.len, &query, &entry), 0);
        CHECK_EQ(reply(1, 0, asked.len - 1), SHD_ESPACE);
        CHECK_EQ(reply(1, 0, 512), asked.len);
        CHECK(memcmp(out + 12, asked.wire + 12, asked.len - 12) == 0);
    }
}

/* The largest entry fits a TCP reply without OPT, and is cut by one record with it. */
static void test_large(void)
{
    ask(0, 0, 0);
    make(0, 4093, 0, 0, 0);
    CHECK_EQ(reply(5, 0, 65535), 33 + 4093 * 16);
    CHECK_EQ(shd_get16(out + 2) & SHD_FLAG_TC, 0);
    ask(0, 1232, 0);
    CHECK_EQ(reply(5, 0, 65535), 33 + 4093 * 16 + 11);
    CHECK_EQ(reply(5, 0, 65534), 33 + 4093 * 16 + 11);
    CHECK_EQ(reply(5, 0, 65531), 33 + 4092 * 16 + 11);
    CHECK_EQ(shd_get16(out + 2) & SHD_FLAG_TC, SHD_FLAG_TC);
}

/* An entry whose parts contradict each other gives EMALFORMED, and nothing outside the memory given is touched. */
static void test_unsound(void)
{
    ask(0, 512, 0);
    for (int i = 0; i < 9; i++) {
        make(0, 2, 1, 1, 0);
        size_t limit = 512;
        switch (i) {
        case 0: entry.head.wire_len = 65536; break;
        case 1: entry.head.wire_len = 32; break;
        case 2: entry.head.place_count = 8193; break;
        case 3: entry.head.answer_count = 4; break;
        case 4: entry.head.authority_count = 65535; break;
        case 5: entry.places[3].ttl_at = 94; break;
        case 6: entry.places[0].ttl_at = 65535; break;
        case 7: entry.places[1].end_at = 20, limit = 33 + 11 + 40; break;
        case 8: query.question_len = 0; break;
        }
        CHECK_EQ(reply(5, SHD_REPLY_HIT, limit), SHD_EMALFORMED);
    }
}

/* An error reply echoes id, opcode, RD, CD and the question, and answers OPT with OPT. */
static void test_error(void)
{
    for (unsigned rcode = 0; rcode <= 15; rcode++)
        for (unsigned opcode = 0; opcode < 16; opcode++) {
            message_begin(&asked, 0x4242, opcode << 11 | 0x07f0);
            put_question(&asked, "www.eXample.org", 1);
            message_counts(&asked, 1, 0, 0, 0);
            shd_query_parse(asked.wire, asked.len, &query);
            CHECK_EQ(shd_reply_error(&query, (int)rcode, out), 33);
            CHECK_EQ(shd_get16(out), 0x4242);
            CHECK_EQ(shd_get16(out + 2), 0x8110 | opcode << 11 | rcode);
            check_counts(0, 0, 0);
            CHECK(memcmp(out + 12, asked.wire + 12, 21) == 0);
        }
    ask(0, 1400, 0x8000);
    CHECK_EQ(shd_reply_error(&query, SHD_RCODE_SERVFAIL, out), 44);
    check_counts(0, 0, 1);
    CHECK(memcmp(out + 33, "\0\0\51\5\170\0\0\200\0\0\0", 11) == 0);
}

/* Without a question that parsed there is none to echo; BADVERS always has its OPT. */
static void test_error_forms(void)
{
    message_begin(&asked, 1, SHD_FLAG_RD);
    CHECK_EQ(shd_query_parse(asked.wire, asked.len, &query), SHD_EFORMERR);
    CHECK_EQ(shd_reply_error(&query, SHD_RCODE_FORMERR, out), 12);
    CHECK(memcmp(out, "\0\1\201\1\0\0\0\0\0\0\0\0", 12) == 0);
    message_counts(&asked, 1, 0, 0, 1);
    put_question(&asked, "www.eXample.org", 1);
    put_opt_record(&asked, 1232, 0, 1, 0);
    CHECK_EQ(shd_query_parse(asked.wire, asked.len, &query), SHD_EBADVERS);
    CHECK_EQ(shd_reply_error(&query, SHD_RCODE_BADVERS, out), 44);
    CHECK_EQ(shd_get16(out + 2) & 15, 0);
    CHECK(memcmp(out + 33, "\0\0\51\4\320\1\0\0\0\0\0", 11) == 0);
    query.has_opt = 0;
    CHECK_EQ(shd_reply_error(&query, SHD_RCODE_BADVERS, out), 44);
}

/* The longest name's error reply fits the room that reply.h asks for. */
static void test_error_size(void)
{
    message_begin(&asked, 1, 0);
    for (int i = 0; i < 127; i++)
        put_labels(&asked, "x");
    put_u8(&asked, 0);
    put_u32(&asked, 0x00010001);
    put_opt_record(&asked, 1232, 0, 0, 0);
    message_counts(&asked, 1, 0, 0, 1);
    CHECK_EQ(shd_query_parse(asked.wire, asked.len, &query), 0);
    uint8_t *tight = malloc(12 + 259 + 11);
    CHECK_EQ(shd_reply_error(&query, SHD_RCODE_REFUSED, tight), 12 + 259 + 11);
    free(tight);
}

int main(void)
{
    test_plain();
    test_raw_ttl();
    test_flags();
    test_opt();
    test_extended_rcode();
    test_cut();
    test_questions();
    test_large();
    test_unsound();
    test_error();
    test_error_forms();
    test_error_size();
    return check_done();
}
