/* Any octets as a TCP stream: nothing outside it is touched, what is consumed are whole frames, what is written are whole
 * frames with the right ids, and a cut anywhere changes nothing. The first two octets say where to cut. */
#include <stdlib.h>
#include "frames_rig.h"

#define EXPECT(claim) do { if (!(claim)) abort(); } while (0)

enum { IDS = 4096 };

struct outcome {
    uint16_t ids[IDS];           /* of replies, then (from the end) of misses, as they came */
    unsigned replies, misses, stop;
    size_t consumed;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct frames_rig *rig_once(void)
{
    static const struct shd_block_rule block = {.cache_id = 7, .has_cache = 1, .log_classes = SHD_LOG_SUCCESS | SHD_LOG_ERROR};
    static struct frames_rig *rig;
    if (!rig) {
        rig = malloc(sizeof(*rig));
        frames_rig_init(rig, &block);
    }
    return rig;
}

static void check_result(const struct frames_rig *rig, const uint8_t *in, size_t len, struct outcome *ret)
{
    const struct shd_frames *frames = &rig->frames;
    size_t at = 0;
    EXPECT(frames->consumed <= len && frames->out_len <= SHD_FRAMES_OUT);
    for (unsigned i = 0; i < frames->reply_count; i++) {
        EXPECT(frames->out_len - at >= 2 + 12 && frames->replies[i].at == at + 2);
        size_t reply_len = shd_get16(rig->out + at);
        EXPECT(reply_len <= frames->out_len - at - 2 && (rig->out[at + 4] & 0x80) != 0);
        ret->ids[ret->replies++ % IDS] = shd_get16(rig->out + at + 2);
        at += 2 + reply_len;
    }
    EXPECT(at == frames->out_len);
    for (unsigned i = 0; i < frames->miss_count; i++) {
        const struct shd_frame_miss *miss = &frames->misses[i];
        EXPECT(miss->at >= 2 && (size_t)miss->at + miss->len <= frames->consumed && shd_get16(in + miss->at - 2) == miss->len);
        ret->misses = ret->misses * 31 + shd_get16(in + miss->at);
    }
}

/* Answer in[*at..len), call after call, as a connection does. */
static void answer_all(struct frames_rig *rig, const uint8_t *in, size_t len, struct outcome *ret)
{
    do {
        const uint8_t *from = in + ret->consumed;
        size_t left = len - ret->consumed;
        shd_answer_frames(&rig->answerer, &rig->client, from, left, 1000000000, 1 + (uint32_t)(left % 128), rig->out, &rig->frames);
        shd_frames_count(&rig->answerer, &rig->client, &rig->frames, rig->out, 5000, 7);
        check_result(rig, from, left, ret);
        ret->consumed += rig->frames.consumed;
        ret->stop = rig->frames.stop;
        EXPECT(ret->stop != SHD_FRAMES_MORE || rig->frames.consumed > 0);
    } while (ret->stop == SHD_FRAMES_MORE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct outcome whole, cut;
    struct frames_rig *rig = rig_once();
    if (size < 2)
        return 0;
    const uint8_t *in = data + 2;
    size_t len = size - 2;
    memset(&whole, 0, sizeof whole);
    memset(&cut, 0, sizeof cut);
    answer_all(rig, in, len, &whole);
    uint8_t *first = exact(in, len ? shd_get16(data) % (len + 1) : 0);
    answer_all(rig, first, len ? shd_get16(data) % (len + 1) : 0, &cut);
    free(first);
    if (cut.stop != SHD_FRAMES_CLOSE)
        answer_all(rig, in, len, &cut);
    EXPECT(memcmp(&whole, &cut, sizeof whole) == 0);
    return 0;
}
