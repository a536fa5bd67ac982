/* The queries of one TCP connection, answered in bulk: every whole frame of a read in one call.
 * Pure: memory and `now` are arguments; which connection gets what, and when it is closed, is the caller's business.
 *
 *   frame = length (2 octets, network order) | message (RFC 1035 s.4.2.2)
 *
 *   in    | frame | frame | frame | begin of a fra...      what was read
 *         |<------ consumed ----->|<- kept by the caller, put before the next read
 *   out   | frame | frame |                                replies of the hits, ready to be sent in one write
 *   ret   misses[]   the frames that the upstream process has to answer; they point into `in`
 *         replies[]  one per frame in out, so that they can be counted once they are sent
 *
 * Replies may leave in another order than the queries came (RFC 7766 s.6.2.1.1): hits first, misses as they are answered. */
#ifndef SHD_FRAMES_H
#define SHD_FRAMES_H
#include "base.h"
#include "answer.h"

enum shd_frames_const {
    SHD_FRAMES = 64,          /* frames handled per call at most: bounds the time of one connection's turn, and struct shd_frames */
    SHD_FRAME_MAX = 65537,    /* octets of a frame at most: prefix and message */
    SHD_FRAMES_OUT = 131074,  /* octets of out: two of the largest replies, so that many small ones never wait for a second call */
};

enum shd_frames_stop {
    SHD_FRAMES_DONE = 0,      /* every whole frame was handled */
    SHD_FRAMES_MORE = 1,      /* whole frames may be left: send what is in out, then call again with the rest */
    SHD_FRAMES_CLOSE = 2,     /* the frame at `consumed` has no answer (empty, too short, not a query): send out, then close */
};

struct shd_client {           /* the far end of a connection; filled by Python once per connection */
    uint16_t listener;        /* permanent index of the listen address */
    uint8_t family;           /* enum shd_family */
    uint8_t peer_len;         /* octets of peer used */
    uint8_t peer[28];         /* sockaddr */
};

struct shd_frame_miss {
    uint32_t at;              /* offset of the message (not of its prefix) in `in` */
    uint16_t len;             /* of the message */
    uint8_t kind;             /* enum shd_ask_kind; only for SHD_ASK_CLIENT does the client wait */
    uint8_t spare;
};

struct shd_frame_reply {
    uint32_t at;              /* offset of the message in out */
    struct shd_verdict verdict;
    struct shd_query query;   /* its packet points into `in` */
};

struct shd_frames {           /* result of one call; the caller's memory, one per process */
    uint32_t consumed;        /* octets of `in` that are done with */
    uint32_t out_len;
    uint16_t reply_count;
    uint16_t miss_count;
    uint8_t stop;             /* enum shd_frames_stop */
    uint8_t spare[3];
    struct shd_frame_miss misses[64];
    struct shd_frame_reply replies[64];
};

/* Answer the whole frames among the len octets at in, which client sent.
 *
 * now_ns     CLOCK_MONOTONIC
 * miss_room  stop after this many misses that the client waits for (at least 1): what it may still have in flight
 * out        SHD_FRAMES_OUT octets
 *
 * Counts nothing but what shd_answer itself counts: call shd_frames_count when the replies are sent, while in and out still hold them. */
void shd_answer_frames(struct shd_answerer *answerer, const struct shd_client *client, const uint8_t *in, size_t len,
                       uint64_t now_ns, uint32_t miss_room, uint8_t *out, struct shd_frames *ret);

/* Count (and log) every reply in frames. duration_ns: from the read to now, the same for all of them. */
void shd_frames_count(struct shd_answerer *answerer, const struct shd_client *client, const struct shd_frames *frames,
                      const uint8_t *out, uint64_t duration_ns, uint64_t realtime_ns);

/* Write the frame that a miss gets when the upstream process cannot answer it (SERVFAIL) into out (at least 512 octets), and count it.
 * Returns its length, prefix included; 0 when packet is no query. */
int shd_frame_fail(struct shd_answerer *answerer, const struct shd_client *client, const uint8_t *packet, size_t len,
                   uint64_t duration_ns, uint64_t realtime_ns, uint8_t *out);

#endif
