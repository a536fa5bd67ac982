/* The worker's UDP loop and the upstream process's batch of replies: the only files of the core that make system calls
 * are serve.c and finish.c. */
#ifndef SHD_SERVE_H
#define SHD_SERVE_H
#include "base.h"
#include "answer.h"
#include "segments.h"

struct shd_serve_socket {
    int32_t fd;               /* bound UDP socket */
    uint16_t listener;
    uint8_t family;           /* enum shd_family */
    uint8_t wildcard;         /* bound to no address: IP_PKTINFO is on and the reply leaves from where the query came to */
};

struct shd_serve {            /* filled by Python before the thread starts; read by the thread */
    struct shd_answerer answerer;
    struct shd_batch *batch;
    uint32_t generation;      /* of this worker */
    struct shd_ask_ring *ring;
    const struct shd_ask_done *done;
    SHD_ATOMIC(uint32_t) *upstream_sleeping;   /* const memory: read only */
    int32_t wake_fd;          /* eventfd of the upstream process */
    int32_t stop_fd;          /* eventfd: readable means stop */
    int32_t log_fd;           /* eventfd written when log records wait; -1: no logging */
    uint32_t socket_count;
    struct shd_serve_socket sockets[64];
    SHD_ATOMIC(uint32_t) stop;
    int32_t error;            /* errno that ended the loop, 0 */
};

/* Serve until stop_fd is readable: replies to what was received before return, and first to what a killed predecessor had received. Runs in a thread of its own, without the interpreter lock.
 * Bumps process->heartbeat_ns at least every 500 ms. Returns 0, or -1 with serve->error set. */
int shd_serve_run(struct shd_serve *serve);

#endif
