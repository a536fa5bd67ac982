/* rules.c: a name belongs to the block of the longest zone served on its listener. */
#include "check.h"
#include "message.h"
#include "rules.h"

static struct shd_query query_of(const char *name, unsigned qtype)
{
    static struct message m;
    m.len = 0;
    put_u16(&m, 7);
    put_u16(&m, SHD_FLAG_RD);
    put_u16(&m, 1);
    put_u16(&m, 0);
    put_u16(&m, 0);
    put_u16(&m, 0);
    put_text_name(&m, name);
    put_u16(&m, qtype);
    put_u16(&m, 1);
    struct shd_query query;
    CHECK_EQ(shd_query_parse(m.wire, m.len, &query), 0);
    return query;
}

static void add(struct shd_rules *rules, unsigned listener, const char *zone, uint32_t block, uint32_t row)
{
    struct message m = {.len = 0};
    put_text_name(&m, zone);
    CHECK_EQ(shd_rules_add_zone(rules, (uint16_t)listener, m.wire, (uint32_t)m.len, block, row), 0);
}

static void longest_zone_wins(void)
{
    static const struct {
        unsigned listener;
        const char *name;
        unsigned qtype;
        int block;
        uint32_t row;
    } cases[] = {
        {0, "www.example.org", 1, 0, 10},
        {0, "cluster.local", 1, 1, 11},
        {0, "a.b.svc.cluster.local", 1, 1, 11},
        {0, "A.SVC.Cluster.LOCAL", 1, 1, 11},
        {0, "xcluster.local", 1, 0, 10},
        {0, "deep.in.corp.cluster.local", 1, 2, 12},
        {0, "", 2, 0, 10},
        {0, "cluster.local", SHD_TYPE_DS, 0, 10},          /* the cut's upper side */
        {0, "corp.cluster.local", SHD_TYPE_DS, 1, 11},
        {0, "x.cluster.local", SHD_TYPE_DS, 1, 11},
        {1, "x.cluster.local", 1, 1, 21},
        {1, "cluster.local", SHD_TYPE_DS, 1, 21},           /* nothing above is served here */
        {1, "www.example.org", 1, SHD_EREFUSED, 99},
        {1, "", 1, SHD_EREFUSED, 99},
    };
    struct shd_block_rule blocks[3] = {{.cache_id = 1}, {.cache_id = 2}, {.cache_id = 3}};
    struct shd_rules *rules = shd_rules_create(blocks, 3);
    add(rules, 0, "", 0, 10);
    add(rules, 0, "cluster.local", 1, 11);
    add(rules, 0, "corp.cluster.local", 2, 12);
    add(rules, 1, "cluster.local", 1, 21);
    shd_rules_add_listener(rules, 1, 99);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct shd_query query = query_of(cases[i].name, cases[i].qtype);
        uint32_t row = 0;
        CHECK_EQ(shd_rules_match(rules, &query, (uint16_t)cases[i].listener, &row), cases[i].block);
        CHECK_EQ(row, cases[i].row);
    }
    CHECK_EQ(shd_rules_block(rules, 2)->cache_id, 3);
    CHECK(shd_rules_block(rules, 3) == NULL);
    shd_rules_destroy(rules);
}

/* Many zones of many depths, so that the index grows; against a walk over all of them. */
static void many_zones(void)
{
    struct shd_block_rule block = {0};
    struct shd_rules *rules = shd_rules_create(&block, 1);
    char zone[300], name[340];
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(zone, sizeof zone, i % 3 ? "z%u.example.org" : "deep.z%u.sub.example.org", i);
        add(rules, i % 4, zone, 0, i);
    }
    for (unsigned i = 0; i < 2000; i++) {
        uint32_t row = 0;
        snprintf(name, sizeof name, i % 3 ? "host.z%u.example.org" : "host.deep.z%u.sub.example.org", i);
        struct shd_query query = query_of(name, 1);
        CHECK_EQ(shd_rules_match(rules, &query, (uint16_t)(i % 4), &row), 0);
        CHECK_EQ(row, i);
        CHECK_EQ(shd_rules_match(rules, &query, (uint16_t)((i + 1) % 4), &row), SHD_EREFUSED);
    }
    shd_rules_destroy(rules);
}

/* A name of 127 labels is matched, and reaches zones at any depth. */
static void deepest_name(void)
{
    struct shd_block_rule block = {0};
    struct shd_rules *rules = shd_rules_create(&block, 1);
    char name[256] = "", zone[256] = "";
    for (int i = 0; i < 127; i++)
        strcat(name, i ? ".x" : "x");
    for (int i = 0; i < 100; i++)
        strcat(zone, i ? ".x" : "x");
    add(rules, 0, zone, 0, 5);
    struct shd_query query = query_of(name, 1);
    uint32_t row = 0;
    CHECK_EQ(query.label_count, 127);
    CHECK_EQ(shd_rules_match(rules, &query, 0, &row), 0);
    CHECK_EQ(row, 5);
    shd_rules_destroy(rules);
}

int main(void)
{
    longest_zone_wins();
    many_zones();
    deepest_name();
    return check_done();
}
