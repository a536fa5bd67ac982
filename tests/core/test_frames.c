/* frames.c: whole frames are answered in bulk, the rest is left alone, and the limits of a call hold. */
#include "frames_rig.h"
#include "check.h"

static const struct shd_block_rule BLOCK = {.cache_id = 7, .has_cache = 1, .log_classes = SHD_LOG_SUCCESS | SHD_LOG_ERROR};
static struct frames_rig rig;

struct stream {
    uint8_t octets[1 << 20];
    size_t len;
};

static void put_frame(struct stream *to, const uint8_t *message, size_t len)
{
    shd_put16(to->octets + to->len, (uint16_t)len);
    memcpy(to->octets + to->len + 2, message, len);
    to->len += 2 + len;
}

static void put_query(struct stream *to, unsigned id, const char *name)
{
    struct message m;
    frames_question(&m, id, name);
    put_frame(to, m.wire, m.len);
}

/* Answer the first len octets of stream, in a block of exactly that size. */
static const struct shd_frames *answer(const struct stream *stream, size_t len, uint32_t room)
{
    uint8_t *in = exact(stream->octets, len);
    shd_answer_frames(&rig.answerer, &rig.client, in, len, 1000000000, room, rig.out, &rig.frames);
    shd_frames_count(&rig.answerer, &rig.client, &rig.frames, rig.out, 5000, 7);
    free(in);
    return &rig.frames;
}

static void hits_misses_and_errors(void)
{
    static struct stream stream;
    stream.len = 0;
    put_query(&stream, 1, "www.example.org");
    size_t second = stream.len;
    put_query(&stream, 2, "new.example.org");
    put_query(&stream, 3, "www.example.com");
    const struct shd_frames *frames = answer(&stream, stream.len, 128);
    CHECK_EQ(frames->consumed, stream.len);
    CHECK_EQ(frames->stop, SHD_FRAMES_DONE);
    CHECK_EQ(frames->reply_count, 2);
    CHECK_EQ(frames->miss_count, 1);
    CHECK_EQ(frames->misses[0].at, second + 2);
    CHECK_EQ(frames->misses[0].len, shd_get16(stream.octets + second));
    CHECK_EQ(frames->misses[0].kind, SHD_ASK_CLIENT);
    uint32_t first_len = shd_get16(rig.out);
    CHECK_EQ(shd_get16(rig.out + 2), 1);
    CHECK_EQ(shd_get16(rig.out + 2 + 6), 1);
    CHECK_EQ(shd_get16(rig.out + 2 + first_len + 2), 3);
    CHECK_EQ(rig.out[2 + first_len + 2 + 3] & 15, SHD_RCODE_REFUSED);
    CHECK_EQ(frames->out_len, 4 + first_len + shd_get16(rig.out + 2 + first_len));
    CHECK_EQ(rig.rows[FRAMES_ROW].responses[SHD_RCODE_NOERROR][SHD_BY_CACHE], 1);
    CHECK_EQ(rig.rows[FRAMES_DROPPED_ROW].responses[SHD_RCODE_REFUSED][SHD_BY_NONE], 1);
}

static void every_cut(void)
{
    static struct stream stream;
    stream.len = 0;
    put_query(&stream, 1, "www.example.org");
    size_t first = stream.len;
    put_query(&stream, 2, "new.example.org");
    for (size_t len = 0; len <= stream.len; len++) {
        const struct shd_frames *frames = answer(&stream, len, 128);
        CHECK_EQ(frames->consumed, len < first ? 0 : len < stream.len ? first : len);
        CHECK_EQ(frames->stop, SHD_FRAMES_DONE);
    }
}

static void no_answer_closes(void)
{
    static struct stream stream;
    static const uint8_t response[17] = {0, 1, 0x80, 0, 0, 1};
    static const struct {
        const uint8_t *octets;
        size_t len;
    } cases[] = {{response, 0}, {response, 11}, {response, 17}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stream.len = 0;
        put_query(&stream, 1, "www.example.org");
        size_t good = stream.len;
        put_frame(&stream, cases[i].octets, cases[i].len);
        put_query(&stream, 2, "www.example.org");
        const struct shd_frames *frames = answer(&stream, stream.len, 128);
        CHECK_EQ(frames->stop, SHD_FRAMES_CLOSE);
        CHECK_EQ(frames->consumed, good);
        CHECK_EQ(frames->reply_count, 1);
    }
}

static void limits(void)
{
    static struct stream stream;
    stream.len = 0;
    for (unsigned i = 0; i < SHD_FRAMES + 1; i++)
        put_query(&stream, i, "www.example.org");
    CHECK_EQ(answer(&stream, stream.len, 1)->reply_count, SHD_FRAMES);
    CHECK_EQ(rig.frames.stop, SHD_FRAMES_MORE);
    stream.len = 0;
    for (unsigned i = 0; i < 3; i++)
        put_query(&stream, i, "new.example.org");
    CHECK_EQ(answer(&stream, stream.len, 2)->miss_count, 2);
    CHECK_EQ(rig.frames.stop, SHD_FRAMES_MORE);
    CHECK_EQ(answer(&stream, stream.len, 3)->miss_count, 3);
    CHECK_EQ(rig.frames.stop, SHD_FRAMES_DONE);
}

/* Whatever the replies' sizes, there is room for one more of the largest before a frame is taken. */
static void large_replies(void)
{
    static struct stream stream;
    frames_store(&rig, "big.example.org", 4000);
    stream.len = 0;
    for (unsigned i = 0; i < 8; i++)
        put_query(&stream, i, "big.example.org");
    size_t at = 0;
    unsigned replies = 0;
    while (at < stream.len && rig.frames.stop != SHD_FRAMES_CLOSE) {
        struct stream *rest = calloc(1, sizeof(*rest));
        rest->len = stream.len - at;
        memcpy(rest->octets, stream.octets + at, rest->len);
        const struct shd_frames *frames = answer(rest, rest->len, 128);
        free(rest);
        CHECK(frames->consumed > 0 && frames->out_len <= SHD_FRAMES_OUT);
        CHECK_EQ(shd_get16(rig.out + 2 + 6), 4000);
        CHECK_EQ(shd_get16(rig.out + 2 + 2) & SHD_FLAG_TC, 0);
        replies += frames->reply_count;
        at += frames->consumed;
        if (frames->consumed == 0)
            break;
    }
    CHECK_EQ(replies, 8);
}

static void a_miss_that_fails(void)
{
    struct message m;
    uint8_t *out = malloc(512);
    uint64_t before = rig.rows[FRAMES_ROW].responses[SHD_RCODE_SERVFAIL][SHD_BY_NONE];
    frames_question(&m, 77, "new.example.org");
    int len = shd_frame_fail(&rig.answerer, &rig.client, m.wire, m.len, 9000, 7, out);
    CHECK_EQ(len, (int)m.len + 2);
    CHECK_EQ(shd_get16(out), m.len);
    CHECK_EQ(shd_get16(out + 2), 77);
    CHECK_EQ(out[5] & 15, SHD_RCODE_SERVFAIL);
    CHECK_EQ(rig.rows[FRAMES_ROW].responses[SHD_RCODE_SERVFAIL][SHD_BY_NONE], before + 1);
    CHECK_EQ(shd_frame_fail(&rig.answerer, &rig.client, m.wire, 11, 9000, 7, out), 0);
    struct shd_log_record record = {.id = 0};
    while (shd_log_take(&rig.log, &record))
        continue;
    CHECK_EQ(record.id, 77);
    CHECK_EQ(record.log_class, SHD_LOG_ERROR);
    CHECK_EQ(record.proto, SHD_TCP);
    free(out);
}

int main(void)
{
    frames_rig_init(&rig, &BLOCK);
    hits_misses_and_errors();
    every_cut();
    no_answer_closes();
    limits();
    large_replies();
    a_miss_that_fails();
    frames_rig_deinit(&rig);
    return check_done();
}
