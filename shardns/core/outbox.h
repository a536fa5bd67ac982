/* A batch of UDP replies on their way out: what serve.c and finish.c share. Makes system calls (sendmmsg, poll). */
#ifndef SHD_OUTBOX_H
#define SHD_OUTBOX_H
#ifndef SHD_CDEF
#define _GNU_SOURCE
#include <netinet/in.h>
#include <sys/socket.h>

#include "base.h"
#include "counters.h"

enum { SHD_BATCH = 64, SHD_REPLY_ROOM = 4096 + 64 };

union shd_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Room for one IP_PKTINFO or IPV6_PKTINFO. */
union shd_control {
    struct cmsghdr align;
    char octets[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Where a query came to, on a socket that is bound to no address: the reply must leave from there. */
struct shd_local {
    uint8_t family;        /* 0: not known, the socket's own address; 4; 6 */
    uint32_t ifindex;      /* used for IPv6 link-local addresses only */
    uint8_t address[16];
};

/* Replies for one socket. Each thread has its own. They stand one after the other from the front of `replies`, each on lines of its own:
 * a batch of small ones touches few pages, whatever room there is for large ones. */
struct shd_outbox {
    int fd;
    unsigned count;
    size_t used;           /* octets of `replies`; 0 whenever count is */
    struct mmsghdr messages[SHD_BATCH];
    struct iovec parts[SHD_BATCH];
    union shd_address peers[SHD_BATCH];
    union shd_control controls[SHD_BATCH];
    uint8_t replies[SHD_BATCH * SHD_REPLY_ROOM];
};

/* Where the next reply is to be written (SHD_REPLY_ROOM octets); there must be fewer than SHD_BATCH waiting. */
uint8_t *shd_outbox_room(struct shd_outbox *outbox);
/* Add the reply of length octets written into that room. */
void shd_outbox_add(struct shd_outbox *outbox, size_t length, const void *peer, socklen_t peer_len, const struct shd_local *local);
/* Send all that waits, in order. A message that the kernel refuses is counted in process->replies_failed and left out;
 * a full socket buffer is waited for up to 20 ms. */
void shd_outbox_flush(struct shd_outbox *outbox, struct shd_process_counters *process);
/* Read the local address out of a received message. */
void shd_local_read(struct msghdr *message, struct shd_local *ret);

#endif
#endif
