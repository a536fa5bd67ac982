/* Entries: their keys, what kind they are of, and how long they live. */
#include "entry_rig.h"

/* A key is cache id, type, class, facets and the folded name; each of them tells keys apart. */
static void test_key(void)
{
    uint8_t key[SHD_KEY_MAX], other[SHD_KEY_MAX];
    begin("WWW.example.org", AAAA, 0);
    CHECK_EQ(shd_key_write(&question, 0x0102030405060708u, SHD_FACET_DO, key), 13 + 17);
    uint64_t id;
    uint16_t type, class;
    memcpy(&id, key, 8);
    memcpy(&type, key + 8, 2);
    memcpy(&class, key + 10, 2);
    CHECK(id == 0x0102030405060708u && type == AAAA && class == 1 && key[12] == SHD_FACET_DO);
    CHECK(memcmp(key + 13, "\3www\7example\3org", 17) == 0);
    shd_key_write(&question, 0x0102030405060708u, SHD_FACET_CD, other);
    CHECK(memcmp(key, other, 30) != 0);
    shd_key_write(&question, 1, SHD_FACET_DO, other);
    CHECK(memcmp(key, other, 30) != 0);
}

/* What each kind of answer is kept as, and for how long, by a rule of 5..30 s (success), 4..20 s (denial), 3 s (failure). */
static void test_classify(void)
{
    const struct shd_ttl_rule rule = {5, 30, 4, 20, 3, 1, 1};
    static const struct {
        unsigned qtype, rcode, flags, answers, ns, soas;
        uint32_t ttl;
        int kind, ttl_s;
    } cases[] = {
        {A, 0, 0, 1, 0, 0, 10, SHD_KIND_SUCCESS, 10},   {A, 0, 0, 1, 0, 0, 0, SHD_KIND_SUCCESS, 5},
        {A, 0, 0, 1, 0, 0, 999, SHD_KIND_SUCCESS, 30},  {A, 0, 0, 1, 0, 1, 10, SHD_KIND_SUCCESS, 10},
        {A, 0, 0, 0, 0, 1, 10, SHD_KIND_DENIAL, 10},    {A, 0, 0, 0, 1, 1, 10, SHD_KIND_DENIAL, 10},
        {A, 0, 0, 0, 0, 1, 99, SHD_KIND_DENIAL, 20},    {A, 0, 0, 0, 0, 1, 0, SHD_KIND_DENIAL, 4},
        {A, 0, 0, 0, 1, 0, 20, SHD_KIND_SUCCESS, 5},    {A, 0, 0, 0, 0, 0, 0, SHD_KIND_SUCCESS, 5},
        {A, 3, 0, 0, 0, 1, 10, SHD_KIND_DENIAL, 10},    {A, 3, 0, 1, 0, 1, 10, SHD_KIND_DENIAL, 10},
        {A, 3, 0, 0, 0, 0, 10, SHD_KIND_NONE, 5},       {A, 3, 0, 1, 1, 0, 10, SHD_KIND_NONE, 5},
        {A, 2, 0, 0, 0, 0, 0, SHD_KIND_FAILURE, 3},     {A, 4, 0, 0, 0, 0, 0, SHD_KIND_FAILURE, 3},
        {A, 2, 0, 1, 0, 1, 10, SHD_KIND_FAILURE, 3},    {A, 5, 0, 0, 0, 1, 10, SHD_KIND_NONE, 5},
        {A, 1, 0, 0, 0, 0, 0, SHD_KIND_NONE, 5},        {A, 9, 0, 1, 0, 0, 10, SHD_KIND_NONE, 5},
        {A, 0, SHD_FLAG_TC, 1, 0, 0, 10, SHD_KIND_NONE, 10}, {A, 3, SHD_FLAG_TC, 0, 0, 1, 10, SHD_KIND_NONE, 10},
        {251, 0, 0, 1, 0, 0, 10, SHD_KIND_NONE, 5},     {252, 0, 0, 1, 0, 0, 10, SHD_KIND_NONE, 5},
        {255, 0, 0, 1, 0, 0, 10, SHD_KIND_SUCCESS, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin("www.example.org", cases[i].qtype, cases[i].flags | cases[i].rcode);
        for (unsigned k = 0; k < cases[i].answers; k++) {
            put_to(&m, 12);
            put_a(&m, cases[i].ttl, 1);
        }
        for (unsigned k = 0; k < cases[i].ns; k++) {
            put_to(&m, 16);
            size_t at = put_fields(&m, NS, cases[i].ttl);
            put_to(&m, 12);
            rdata_end(&m, at);
        }
        message_counts(&m, 1, cases[i].answers, cases[i].ns, 0);
        for (unsigned k = 0; k < cases[i].soas; k++)
            put_soa(cases[i].ttl, 500);
        CHECK_EQ(pack(m.len), 0);
        shd_entry_classify(&entry, &rule);
        CHECK_EQ(entry.head.kind, cases[i].kind);
        CHECK_EQ(entry.head.ttl_s, cases[i].ttl_s);
    }
}

/* Only a SOA in authority makes a denial: not one among the answers or in additional. */
static void test_classify_soa_elsewhere(void)
{
    const struct shd_ttl_rule rule = {5, 3600, 5, 1800, 5, 1, 1};
    for (int section = 0; section < 3; section++) {
        begin("www.example.org", A, 3);
        put_soa(30, 30);
        message_counts(&m, 1, section == 0, section == 1, section == 2);
        CHECK_EQ(pack(m.len), 0);
        shd_entry_classify(&entry, &rule);
        CHECK_EQ(entry.head.kind, section == 1 ? SHD_KIND_DENIAL : SHD_KIND_NONE);
    }
}

/* What the rule does not store is NONE with its TTL still set; a TTL of 0 is not stored; 3,600 s is the most a record says. */
static void test_classify_rule(void)
{
    begin("www.example.org", A, 0);
    put_to(&m, 12);
    put_a(&m, 100000, 1);
    message_counts(&m, 1, 1, 0, 0);
    CHECK_EQ(pack(m.len), 0);
    static const struct {
        struct shd_ttl_rule rule;
        int kind;
        uint32_t ttl_s;
    } cases[] = {
        {{5, 3600, 5, 1800, 5, 0, 1}, SHD_KIND_NONE, 3600},      {{5, 86400, 5, 1800, 5, 1, 0}, SHD_KIND_SUCCESS, 3600},
        {{7200, 86400, 5, 1800, 5, 1, 0}, SHD_KIND_SUCCESS, 7200}, {{5, 0, 5, 1800, 5, 1, 1}, SHD_KIND_NONE, 0},
        {{50, 30, 5, 1800, 5, 1, 1}, SHD_KIND_SUCCESS, 30},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shd_entry_classify(&entry, &cases[i].rule);
        CHECK_EQ(entry.head.kind, cases[i].kind);
        CHECK_EQ(entry.head.ttl_s, cases[i].ttl_s);
    }
    const struct shd_ttl_rule no_denial = {5, 3600, 5, 1800, 5, 1, 0}, no_failure = {5, 3600, 5, 1800, 0, 1, 1};
    begin("www.example.org", A, 2);
    CHECK_EQ(pack(m.len), 0);
    shd_entry_classify(&entry, &no_denial);
    CHECK_EQ(entry.head.kind, SHD_KIND_NONE);
    CHECK_EQ(entry.head.ttl_s, 5);
    shd_entry_classify(&entry, &no_failure);
    CHECK_EQ(entry.head.kind, SHD_KIND_NONE);
}

int main(void)
{
    test_key();
    test_classify();
    test_classify_soa_elsewhere();
    test_classify_rule();
    return check_done();
}
