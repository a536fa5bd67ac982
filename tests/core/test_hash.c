/* The hash is SipHash-1-3. Vectors: key 00 01 .. 0f, message 00 01 .. of each length, computed by an implementation in
 * another language that gives the published vectors for SipHash-2-4 (tests/unit/core/test_hash.py holds it). */
#include "check.h"
#include "hash.h"
#include "message.h"

static const uint64_t vectors[32] = {
    0xabac0158050fc4dcu, 0xc9f49bf37d57ca93u, 0x82cb9b024dc7d44du, 0x8bf80ab8e7ddf7fbu,
    0xcf75576088d38328u, 0xdef9d52f49533b67u, 0xc50d2b50c59f22a7u, 0xd3927d989bb11140u,
    0x369095118d299a8eu, 0x25a48eb36c063de4u, 0x79de85ee92ff097fu, 0x70c118c1f94dc352u,
    0x78a384b157b4d9a2u, 0x306f760c1229ffa7u, 0x605aa111c0f95d34u, 0xd320d86d2a519956u,
    0xcc4fdd1a7d908b66u, 0x9cf2689063dbd80cu, 0x8ffc389cb473e63eu, 0xf21f9de58d297d1cu,
    0xc0dc2f46a6cce040u, 0xb992abfe2b45f844u, 0x7ffe7b9ba320872eu, 0x525a0e7fdae6c123u,
    0xf464aeb267349c8cu, 0x45cd5928705b0979u, 0x3a3e35e3ca9913a5u, 0xa91dc74e4ade3b35u,
    0xfb0bed02ef6cd00du, 0x88d93cb44ab1e1f4u, 0x540f11d643c5e663u, 0x2370dd1f8c21d1bcu,
};

static const uint64_t seed[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

/* Every length's hash is the vector's; nothing before or past the message is read. */
static void test_vectors(void)
{
    uint8_t message[300];
    for (size_t i = 0; i < sizeof message; i++)
        message[i] = (uint8_t)i;
    for (size_t len = 0; len < 32; len++) {
        uint8_t *copy = exact(message, len);
        CHECK(shd_hash(seed, copy, len) == vectors[len]);
        free(copy);
    }
    CHECK(shd_hash(seed, message, 300) == 0x4016a23bda5a2224u);
}

/* Another seed, in either word, gives another hash. */
static void test_seed(void)
{
    const uint64_t first[2] = {seed[0] ^ 1, seed[1]}, second[2] = {seed[0], seed[1] ^ 1};
    const uint8_t message[] = "example.org";
    CHECK(shd_hash(seed, message, 11) != shd_hash(first, message, 11));
    CHECK(shd_hash(seed, message, 11) != shd_hash(second, message, 11));
}

int main(void)
{
    test_vectors();
    test_seed();
    return check_done();
}
