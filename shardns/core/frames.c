#include "frames.h"
#include "reply.h"

/* Handle the message of len octets at in + at: its reply into out, or a place in ret->misses. False: it cannot be answered. */
static bool answer_one(struct shd_answerer *answerer, const struct shd_client *client, const uint8_t *in, uint32_t at, uint16_t len,
                       uint64_t now_ns, uint8_t *out, struct shd_frames *ret)
{
    struct shd_frame_reply *reply = &ret->replies[ret->reply_count];
    uint8_t *message = out + ret->out_len + 2;
    shd_answer(answerer, in + at, len, client->listener, SHD_TCP, client->family, now_ns, message, SHD_MESSAGE_MAX,
               &reply->query, &reply->verdict);
    if (reply->verdict.action == SHD_DROP)
        return false;
    uint8_t kind = reply->verdict.ask_kind;
    if (reply->verdict.action == SHD_ASK && kind == 0)
        kind = SHD_ASK_CLIENT;
    if (kind != 0)
        ret->misses[ret->miss_count++] = (struct shd_frame_miss){.at = at, .len = len, .kind = kind};
    if (reply->verdict.action == SHD_REPLY) {
        shd_put16(message - 2, (uint16_t)reply->verdict.reply_len);
        reply->at = ret->out_len + 2;
        ret->out_len += 2 + reply->verdict.reply_len;
        ret->reply_count++;
    }
    return true;
}

void shd_answer_frames(struct shd_answerer *answerer, const struct shd_client *client, const uint8_t *in, size_t len,
                       uint64_t now_ns, uint32_t miss_room, uint8_t *out, struct shd_frames *ret)
{
    uint32_t waiting = 0;
    ret->consumed = 0;
    ret->out_len = 0;
    ret->reply_count = 0;
    ret->miss_count = 0;
    ret->stop = SHD_FRAMES_DONE;
    for (int frames = 0; len - ret->consumed >= 2; frames++) {
        uint32_t at = ret->consumed + 2;
        uint16_t message_len = shd_get16(in + ret->consumed);
        /* An empty frame is refused as soon as its prefix is there: nothing more would come of it. */
        if (message_len > 0 && len - at < message_len)
            return;
        /* A TCP reply is never cut short, so there must be room for the largest. */
        if (frames == SHD_FRAMES || waiting >= miss_room || SHD_FRAMES_OUT - ret->out_len < SHD_FRAME_MAX) {
            ret->stop = SHD_FRAMES_MORE;
            return;
        }
        uint16_t misses = ret->miss_count;
        if (message_len == 0 || !answer_one(answerer, client, in, at, message_len, now_ns, out, ret)) {
            ret->stop = SHD_FRAMES_CLOSE;
            return;
        }
        if (ret->miss_count > misses && ret->misses[misses].kind == SHD_ASK_CLIENT)
            waiting++;
        ret->consumed = at + message_len;
    }
}

void shd_frames_count(struct shd_answerer *answerer, const struct shd_client *client, const struct shd_frames *frames,
                      const uint8_t *out, uint64_t duration_ns, uint64_t realtime_ns)
{
    for (int i = 0; i < frames->reply_count; i++) {
        const struct shd_frame_reply *reply = &frames->replies[i];
        shd_answer_count(answerer, &reply->query, &reply->verdict, client->listener, SHD_TCP, client->family, client->peer,
                         client->peer_len, out + reply->at, duration_ns, realtime_ns);
    }
}

int shd_frame_fail(struct shd_answerer *answerer, const struct shd_client *client, const uint8_t *packet, size_t len,
                   uint64_t duration_ns, uint64_t realtime_ns, uint8_t *out)
{
    struct shd_query query;
    struct shd_verdict verdict = {.action = SHD_REPLY, .rcode = SHD_RCODE_SERVFAIL, .plugin = SHD_BY_NONE, .row = UINT32_MAX};
    if (shd_query_parse(packet, len, &query) != 0)
        return 0;
    verdict.block = shd_rules_match(answerer->rules, &query, client->listener, &verdict.row);
    if (verdict.block >= 0)
        verdict.logged = shd_rules_block(answerer->rules, (uint32_t)verdict.block)->log_classes & SHD_LOG_ERROR;
    else
        verdict.block = -1;
    verdict.reply_len = (uint32_t)shd_reply_error(&query, SHD_RCODE_SERVFAIL, out + 2);
    shd_put16(out, (uint16_t)verdict.reply_len);
    shd_answer_count(answerer, &query, &verdict, client->listener, SHD_TCP, client->family, client->peer, client->peer_len, out + 2,
                     duration_ns, realtime_ns);
    return (int)verdict.reply_len + 2;
}
