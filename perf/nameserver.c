/* The nameserver behind every server that is measured, so cheap that it is never the limit: UDP in batches, TCP with any
 * number of queries per read.
 *
 *     nameserver ADDRESS PORT TTL
 *
 * A: the address that follows from the name (names.h). A first label that begins with "nx": NXDOMAIN. Other types: NODATA.
 * EDNS is understood to the extent that an OPT in the query gets one in the answer. A datagram of one octet is answered with the
 * number of queries so far, eight octets in network order: what a cache in front of us did not answer by itself. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "names.h"

enum { BATCH = 64, ROOM = 2048, CONNECTIONS = 1024, READ_MAX = 65536 + 2 };

struct connection {
    uint8_t in[READ_MAX];
    size_t used;
};

static uint32_t ttl_s;
static uint64_t asked;
static uint8_t packets[BATCH][ROOM];
static struct sockaddr_in peers[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];
static struct connection *connections[CONNECTIONS];
static uint8_t out[READ_MAX * 4];

static uint8_t *put32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, 4);
    return at + 4;
}

/* Of the name's parent, which begins at octet `parent` of the packet. */
static uint8_t *put_soa(uint8_t *at, uint8_t parent)
{
    const uint8_t head[] = {0xC0, parent, 0, 6, 0, 1, 0, 0, 0, 30, 0, 24, 0xC0, parent, 0xC0, parent};
    memcpy(at, head, sizeof head);
    at += sizeof head;
    for (uint32_t value = 1; value <= 5; value++)
        at = put32(at, value == 5 ? 30 : value);
    return at;
}

/* Turn the query of len octets into its answer in place (room for 64 more octets). Returns the answer's length; 0: no query. */
static size_t answer(uint8_t *packet, size_t len)
{
    size_t end = 12;
    if (len < 17 || packet[2] & 0x80 || packet[4] || packet[5] != 1)
        return 0;
    while (end < len && packet[end])
        end += 1u + packet[end];
    if (++end + 4 > len)
        return 0;
    asked++;
    bool edns = packet[11] != 0;
    bool missing = packet[12] >= 2 && (packet[13] | 32) == 'n' && (packet[14] | 32) == 'x';
    bool address = !missing && packet[end] == 0 && packet[end + 1] == 1;
    packet[2] = 0x84 | (packet[2] & 1);
    packet[3] = 0x80 | (missing ? 3 : 0);
    packet[7] = address;
    packet[9] = !address;
    packet[11] = edns;
    uint8_t *at = packet + end + 4;
    if (address) {
        static const uint8_t head[] = {0xC0, 12, 0, 1, 0, 1};
        memcpy(at, head, sizeof head);
        at = put32(at + sizeof head, ttl_s);
        *at++ = 0;
        *at++ = 4;
        at = put32(at, address_of(packet + 12, end - 12));
    } else {
        at = put_soa(at, (uint8_t)(packet[12] ? 13 + packet[12] : 12));
    }
    if (edns) {
        static const uint8_t opt[] = {0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0};
        memcpy(at, opt, sizeof opt);
        at += sizeof opt;
    }
    return (size_t)(at - packet);
}

static void serve_datagrams(int fd)
{
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){packets[i], ROOM - 128};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL), answers = 0;
    for (int i = 0; i < count; i++) {
        size_t len = answer(packets[i], messages[i].msg_len);
        if (messages[i].msg_len == 1) {
            put32(put32(packets[i], (uint32_t)(asked >> 32)), (uint32_t)asked);
            len = sizeof asked;
        }
        if (!len)
            continue;
        parts[i].iov_len = len;
        messages[answers++].msg_hdr = messages[i].msg_hdr;
    }
    for (int sent = 0; sent < answers;) {
        int n = sendmmsg(fd, messages + sent, (unsigned)(answers - sent), 0);
        sent += n > 0 ? n : 1;
    }
}

/* Write the framed answer to the query of size octets at packet. Returns how many octets it has; 0: no query. */
static size_t answer_frame(const uint8_t *packet, size_t size, uint8_t *ret)
{
    memcpy(ret + 2, packet, size);
    size_t len = answer(ret + 2, size);
    ret[0] = (uint8_t)(len >> 8);
    ret[1] = (uint8_t)len;
    return len ? len + 2 : 0;
}

/* False: the connection is over. The first query of a read is answered last, as a server may that works on queries in parallel
 * (RFC 7766 s.6.2.1.1; CoreDNS does): a forwarder must not take it for one that answers in turn. */
static bool serve_stream(int fd)
{
    static uint8_t held[ROOM];
    size_t held_len = 0;
    struct connection *connection = connections[fd];
    ssize_t got = recv(fd, connection->in + connection->used, sizeof connection->in - connection->used, 0);
    if (got <= 0)
        return false;
    connection->used += (size_t)got;
    size_t at = 0, len = 0;
    while (at + 2 <= connection->used) {
        size_t size = (size_t)connection->in[at] << 8 | connection->in[at + 1];
        if (size > ROOM - 128)
            return false;
        if (at + 2 + size > connection->used)
            break;
        if (!at)
            held_len = answer_frame(connection->in + 2, size, held);
        else
            len += answer_frame(connection->in + at + 2, size, out + len);
        at += 2 + size;
    }
    memmove(connection->in, connection->in + at, connection->used - at);
    connection->used -= at;
    memcpy(out + len, held, held_len);
    len += held_len;
    for (size_t sent = 0; sent < len;) {
        ssize_t n = send(fd, out + sent, len - sent, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

static void watch(int poller, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void adopt(int poller, int listener)
{
    int one = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    if (fd >= CONNECTIONS || !(connections[fd] = calloc(1, sizeof **connections))) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(poller, fd);
}

static int opened(const struct sockaddr_in *address, int kind)
{
    int one = 1, room = 4 << 20, fd = socket(AF_INET, kind, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (const struct sockaddr *)address, sizeof *address) < 0 || (kind == SOCK_STREAM && listen(fd, 64) < 0)) {
        perror("nameserver");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (argc != 4 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: nameserver ADDRESS PORT TTL\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    ttl_s = (uint32_t)atoi(argv[3]);
    crc_prepare();
    int udp = opened(&address, SOCK_DGRAM), tcp = opened(&address, SOCK_STREAM), poller = epoll_create1(0);
    watch(poller, udp);
    watch(poller, tcp);
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == udp) {
                serve_datagrams(udp);
            } else if (fd == tcp) {
                adopt(poller, tcp);
            } else if (!serve_stream(fd)) {
                close(fd);
                free(connections[fd]);
                connections[fd] = NULL;
            }
        }
    }
}
