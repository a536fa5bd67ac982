#include "outbox.h"

#include <errno.h>
#include <poll.h>

uint8_t *shd_outbox_room(struct shd_outbox *outbox) { return outbox->replies + outbox->used; }

static void local_write(union shd_control *control, const struct shd_local *local, struct msghdr *message)
{
    message->msg_control = control->octets;
    if (local->family == 4) {
        struct in_pktinfo info = {0};
        memcpy(&info.ipi_spec_dst, local->address, 4);
        message->msg_controllen = CMSG_SPACE(sizeof info);
        struct cmsghdr *header = CMSG_FIRSTHDR(message);
        header->cmsg_level = IPPROTO_IP;
        header->cmsg_type = IP_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(header), &info, sizeof info);
        return;
    }
    struct in6_pktinfo info = {0};
    memcpy(&info.ipi6_addr, local->address, 16);
    /* The route chooses the interface, except for link-local addresses, which mean nothing without one. */
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        info.ipi6_ifindex = local->ifindex;
    message->msg_controllen = CMSG_SPACE(sizeof info);
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    header->cmsg_level = IPPROTO_IPV6;
    header->cmsg_type = IPV6_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof info);
    memcpy(CMSG_DATA(header), &info, sizeof info);
}

void shd_outbox_add(struct shd_outbox *outbox, size_t length, const void *peer, socklen_t peer_len, const struct shd_local *local)
{
    unsigned at = outbox->count++;
    outbox->parts[at] = (struct iovec){.iov_base = outbox->replies + outbox->used, .iov_len = length};
    outbox->used += (length + 63) / 64 * 64;
    memcpy(&outbox->peers[at], peer, peer_len);
    struct msghdr *message = &outbox->messages[at].msg_hdr;
    *message = (struct msghdr){.msg_name = &outbox->peers[at], .msg_namelen = peer_len, .msg_iov = &outbox->parts[at], .msg_iovlen = 1};
    if (local && local->family)
        local_write(&outbox->controls[at], local, message);
}

void shd_outbox_flush(struct shd_outbox *outbox, struct shd_process_counters *process)
{
    unsigned sent = 0;
    bool waited = false;
    while (sent < outbox->count) {
        int n = sendmmsg(outbox->fd, outbox->messages + sent, outbox->count - sent, MSG_DONTWAIT);
        if (n > 0) {
            sent += (unsigned)n;
            process->replies_sent += (unsigned)n;
            continue;
        }
        if (errno == EINTR)
            continue;
        if ((errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) && !waited) {
            struct pollfd writable = {.fd = outbox->fd, .events = POLLOUT};
            waited = true;
            (void)poll(&writable, 1, 20);
            continue;
        }
        /* This client cannot be reached (no route, a firewall's EPERM, ...): the others can. */
        process->replies_failed++;
        sent++;
    }
    outbox->count = 0;
    outbox->used = 0;
}

void shd_local_read(struct msghdr *message, struct shd_local *ret)
{
    ret->family = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(header), sizeof info);
            ret->family = 4;
            ret->ifindex = (uint32_t)info.ipi_ifindex;
            memcpy(ret->address, &info.ipi_spec_dst, 4);
        } else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(header), sizeof info);
            ret->family = 6;
            ret->ifindex = info.ipi6_ifindex;
            memcpy(ret->address, &info.ipi6_addr, 16);
        }
    }
}
