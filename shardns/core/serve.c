/* The worker's UDP loop: recvmmsg, answer each, sendmmsg; misses go into the ask ring. No lock, no allocation after the
 * start, no Python. */
#include "outbox.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "reply.h"
#include "serve.h"

enum {
    QUERY_ROOM = 1232,         /* a longer query is cut, and so answered FORMERR; CoreDNS cuts at 512 */
    QUERY_STRIDE = QUERY_ROOM + 48, /* not a power of two: neighbours must not share cache sets */
    TRIES_MAX = 3,             /* of successors at the batch of a killed worker */
    WAIT_MS = 500,             /* heartbeat while idle */
    DRAIN_BATCHES = 1024,      /* batches read per socket after stop, at most */
};

struct loop {
    struct shd_serve *serve;
    struct shd_ask_finder finder;
    struct mmsghdr *messages;      /* these four in serve->batch */
    union shd_address *peers;
    union shd_control *controls;
    uint8_t (*queries)[QUERY_STRIDE];
    bool wildcard;                 /* the messages are prepared for sockets that are bound to no address */
    struct iovec parts[SHD_BATCH];
    struct shd_query parsed[SHD_BATCH];
    struct shd_lookup lookups[SHD_BATCH];
    struct shd_verdict verdicts[SHD_BATCH];
    uint8_t *replies[SHD_BATCH];   /* NULL: not answered here */
    struct shd_outbox outbox;
};

#define FITS(field, type) (sizeof(((struct shd_batch *)0)->field) == SHD_BATCH * sizeof(type))
static_assert(FITS(messages, struct mmsghdr) && FITS(peers, union shd_address) && FITS(controls, union shd_control) &&
              FITS(queries, uint8_t[QUERY_STRIDE]), "the batch in the segment");

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Make message i ready for the next datagram: what the kernel changes in it is as before. */
static void message_renew(struct loop *loop, unsigned i)
{
    struct mmsghdr *message = &loop->messages[i];
    message->msg_len = 0;
    message->msg_hdr.msg_namelen = sizeof loop->peers[i];
    message->msg_hdr.msg_controllen = loop->wildcard ? sizeof loop->controls[i] : 0;
}

/* Point every message of the batch at its places, for sockets that are wildcards or not. The lengths in it stay. */
static void loop_prepare(struct loop *loop, bool wildcard)
{
    loop->wildcard = wildcard;
    for (unsigned i = 0; i < SHD_BATCH; i++) {
        loop->parts[i] = (struct iovec){.iov_base = loop->queries[i], .iov_len = QUERY_ROOM};
        struct msghdr *message = &loop->messages[i].msg_hdr;
        message->msg_name = &loop->peers[i];
        message->msg_iov = &loop->parts[i];
        message->msg_iovlen = 1;
        message->msg_control = wildcard ? loop->controls[i].octets : NULL;
    }
}

/* A client of an IPv4-mapped address on a dual-stack socket is an IPv4 client. */
static int client_family(const union shd_address *peer)
{
    return peer->any.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&peer->in6.sin6_addr) ? SHD_IPV4 : SHD_IPV6;
}

static bool ask_put(struct loop *loop, unsigned at, uint8_t kind, uint16_t listener, const struct shd_local *local, uint64_t now_ns)
{
    struct shd_serve *serve = loop->serve;
    uint32_t index;
    struct shd_ask *ask = shd_ask_begin(serve->ring, serve->done, &loop->finder, &index);
    if (!ask)
        return false;
    socklen_t peer_len = loop->messages[at].msg_hdr.msg_namelen;
    ask->listener = listener;
    ask->arrived_ns = now_ns;
    ask->kind = kind;
    ask->peer_len = (uint8_t)peer_len;
    ask->local_family = local->family;
    ask->local_ifindex = local->ifindex;
    memcpy(ask->local, local->address, sizeof ask->local);
    memcpy(ask->peer, &loop->peers[at], peer_len);
    shd_ask_set_wire(ask, &loop->parsed[at]);
    shd_ask_publish(serve->ring, index);
    serve->answerer.process->asks_put++;
    return true;
}

/* Every place of the ring is open: the upstream process is far behind. Say so to the client at once. */
static void overload(struct loop *loop, unsigned at, uint8_t *out)
{
    struct shd_verdict *verdict = &loop->verdicts[at];
    loop->serve->answerer.process->asks_full++;
    verdict->action = SHD_REPLY;
    verdict->rcode = SHD_RCODE_SERVFAIL;
    verdict->reply_len = (uint32_t)shd_reply_error(&loop->parsed[at], SHD_RCODE_SERVFAIL, out);
}

/* Answer message `at` of the batch; true if an ask was put. */
static bool serve_one(struct loop *loop, unsigned at, const struct shd_serve_socket *socket, uint64_t now_ns)
{
    struct shd_serve *serve = loop->serve;
    struct shd_verdict *verdict = &loop->verdicts[at];
    struct shd_local local = {0};
    if (socket->wildcard)
        shd_local_read(&loop->messages[at].msg_hdr, &local);
    uint8_t *out = shd_outbox_room(&loop->outbox);
    shd_answer_end(&serve->answerer, &loop->parsed[at], &loop->lookups[at], SHD_UDP, now_ns, out, SHD_REPLY_ROOM, verdict);
    bool asked = false;
    if (verdict->action == SHD_ASK) {
        asked = ask_put(loop, at, SHD_ASK_CLIENT, socket->listener, &local, now_ns);
        if (!asked)
            overload(loop, at, out);
    } else if (verdict->ask_kind) {
        asked = ask_put(loop, at, verdict->ask_kind, socket->listener, &local, now_ns);
    }
    loop->replies[at] = NULL;
    if (verdict->action == SHD_REPLY) {
        loop->replies[at] = out;
        shd_outbox_add(&loop->outbox, verdict->reply_len, &loop->peers[at], loop->messages[at].msg_hdr.msg_namelen, &local);
    }
    return asked;
}

static void wake_upstream(const struct shd_serve *serve)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the fence between `sleeping` and the second look at the tails */
    if (!atomic_load_explicit(serve->upstream_sleeping, memory_order_relaxed))
        return;
    const uint64_t one = 1;
    (void)!write(serve->wake_fd, &one, sizeof one); /* EAGAIN: it is awake already */
}

static void count_batch(struct loop *loop, unsigned count, const struct shd_serve_socket *socket, uint64_t start_ns)
{
    struct shd_serve *serve = loop->serve;
    uint64_t duration_ns = clock_ns(CLOCK_MONOTONIC) - start_ns;
    uint64_t realtime_ns = serve->answerer.log ? clock_ns(CLOCK_REALTIME) : 0;
    bool logged = false;
    for (unsigned i = 0; i < count; i++) {
        if (!loop->replies[i])
            continue;
        shd_answer_count(&serve->answerer, &loop->parsed[i], &loop->verdicts[i], socket->listener, SHD_UDP, client_family(&loop->peers[i]),
                         (const uint8_t *)&loop->peers[i], (uint8_t)loop->messages[i].msg_hdr.msg_namelen, loop->replies[i], duration_ns,
                         realtime_ns);
        logged |= loop->verdicts[i].logged;
    }
    if (logged && serve->answerer.log && serve->log_fd >= 0) {
        const uint64_t one = 1;
        (void)!write(serve->log_fd, &one, sizeof one);
    }
}

/* Answer the first count messages of the batch, and then forget them. */
static void answer_batch(struct loop *loop, const struct shd_serve_socket *socket, unsigned count)
{
    struct shd_serve *serve = loop->serve;
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    serve->answerer.process->heartbeat_ns = now_ns;
    serve->answerer.process->packets_received += count;
    serve->answerer.process->batches++;
    bool asked = false;
    loop->outbox.fd = socket->fd;
    for (unsigned i = 0; i < count; i++)
        shd_answer_begin(&serve->answerer, loop->queries[i], loop->messages[i].msg_len, socket->listener, SHD_UDP, client_family(&loop->peers[i]),
                         &loop->parsed[i], &loop->lookups[i], &loop->verdicts[i]);
    shd_answer_fetch(&serve->answerer, loop->lookups, count);
    for (unsigned i = 0; i < count; i++)
        asked |= serve_one(loop, i, socket, now_ns);
    if (asked)
        wake_upstream(serve);
    count_batch(loop, count, socket, now_ns);
    shd_outbox_flush(&loop->outbox, serve->answerer.process);
    for (unsigned i = 0; i < count; i++)
        message_renew(loop, i);
}

/* Read and answer one batch. Returns how many messages it had; 0: the queue is empty; -1: errno. */
static int serve_batch(struct loop *loop, const struct shd_serve_socket *socket)
{
    int count = recvmmsg(socket->fd, loop->messages, SHD_BATCH, MSG_DONTWAIT, NULL);
    if (count <= 0)
        return count == 0 || errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED ? 0 : -1;
    answer_batch(loop, socket, (unsigned)count);
    return count;
}

/* Answer what a killed predecessor had read. Some may be answered twice, which clients ignore. */
static void inherit(struct loop *loop)
{
    struct shd_serve *serve = loop->serve;
    struct shd_batch *batch = serve->batch;
    unsigned count = SHD_BATCH;
    while (count > 0 && loop->messages[count - 1].msg_len == 0)
        count--;
    const struct shd_serve_socket *socket = serve->sockets, *end = socket + serve->socket_count;
    while (socket < end && socket->listener != batch->listener)
        socket++;
    if (count > 0 && socket < end && batch->generation == serve->generation && batch->tries < TRIES_MAX) {
        batch->tries++;
        loop_prepare(loop, socket->wildcard);
        answer_batch(loop, socket, count);
    }
    memset(batch->messages, 0, sizeof batch->messages);
    batch->tries = 0;
    batch->generation = serve->generation;
}

/* Have every message of the batch empty and ready. */
static void loop_begin(struct loop *loop, bool wildcard)
{
    loop_prepare(loop, wildcard);
    for (unsigned i = 0; i < SHD_BATCH; i++)
        message_renew(loop, i);
}

/* One turn for a readable socket: batches while they come full, so that one busy socket cannot starve the others. */
static int serve_socket(struct loop *loop, const struct shd_serve_socket *socket, int batches)
{
    if (loop->wildcard != socket->wildcard)
        loop_begin(loop, socket->wildcard);
    loop->serve->batch->listener = socket->listener;
    int count;
    do
        count = serve_batch(loop, socket);
    while (count == SHD_BATCH && --batches > 0);
    return count < 0 ? -1 : 0;
}

/* poll, not epoll: an epoll stays in the queue of waiters of its sockets and is called for every reply that leaves, which is a fortieth of
 * what a hit costs. A worker has few sockets. */
static int loop_run(struct loop *loop)
{
    struct shd_serve *serve = loop->serve;
    struct pollfd polled[1 + sizeof serve->sockets / sizeof serve->sockets[0]] = {{.fd = serve->stop_fd, .events = POLLIN}};
    for (uint32_t i = 0; i < serve->socket_count; i++)
        polled[1 + i] = (struct pollfd){.fd = serve->sockets[i].fd, .events = POLLIN};
    serve->answerer.process->heartbeat_ns = clock_ns(CLOCK_MONOTONIC);
    while (!polled[0].revents) {
        int ready = poll(polled, 1 + serve->socket_count, WAIT_MS);
        if (ready < 0 && errno != EINTR)
            return -1;
        if (ready <= 0) {
            serve->answerer.process->heartbeat_ns = clock_ns(CLOCK_MONOTONIC);
            continue;
        }
        for (uint32_t i = 0; i < serve->socket_count; i++)
            if (polled[1 + i].revents && serve_socket(loop, &serve->sockets[i], 16) < 0)
                return -1;
    }
    for (uint32_t i = 0; i < serve->socket_count; i++)
        if (serve_socket(loop, &serve->sockets[i], DRAIN_BATCHES) < 0)
            return -1;
    return 0;
}

int shd_serve_run(struct shd_serve *serve)
{
    struct loop *loop = aligned_alloc(64, (sizeof *loop + 63) / 64 * 64);
    serve->error = loop ? 0 : ENOMEM;
    if (!loop)
        return -1;
    memset(loop, 0, offsetof(struct loop, parsed));
    loop->outbox.count = 0;
    loop->outbox.used = 0;
    loop->serve = serve;
    loop->messages = (struct mmsghdr *)serve->batch->messages;
    loop->peers = (union shd_address *)serve->batch->peers;
    loop->controls = (union shd_control *)serve->batch->controls;
    loop->queries = serve->batch->queries;
    inherit(loop);
    loop_begin(loop, serve->sockets[0].wildcard);
    int result = loop_run(loop);
    if (result < 0)
        serve->error = errno;
    free(loop);
    return result;
}
