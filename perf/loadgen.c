/* Load in an open loop: a query leaves when its time has come, whatever became of those before it, and its latency counts
 * from that time. So a server that stalls is charged for every query of the stall (no coordinated omission). Replies are
 * stamped by the kernel: what this program does meanwhile does not count.
 *
 *     loadgen -p PORT -r RATE -l SECONDS [-s ADDRESS] [-c SOCKETS] [-n NAMES] [-x PREFIX] [-z ZONE] [-w SECONDS] [-b]
 *
 *     -n   names asked in turn; 0: every name is asked once
 *     -w   how long to wait for the last replies (2)
 *     -b   never sleep: exact times, for a whole processor
 *
 * Every reply is checked: NOERROR, the name asked, the address that follows from it (names.h). Prints one JSON object: counts,
 * percentiles in microseconds, how late queries left (a run with a high late_p99_us measured this machine, not the server),
 * the first wrong reply in hexadecimal, and the histogram as pairs of microseconds and count. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "names.h"

enum {
    SOCKETS_MAX = 1024,
    PENDING = 4096,      /* queries under way per socket */
    CHUNK = 8,           /* queries that leave by one socket at once */
    BATCH = 64,
    ROOM = 512,
    SUB = 32,            /* histogram: steps per doubling, so 3 % apart */
    BUCKETS = 40 * SUB,
};

struct pending {
    int64_t due_ns;      /* 0: free */
    uint32_t address;
    uint16_t id;
};

struct source {
    int fd;
    uint32_t next;
    struct pending pending[PENDING];
};

struct options {
    const char *address, *prefix, *zone;
    int port, sockets;
    double rate, seconds, wait_s;
    uint32_t names;
    bool busy;
};

static struct options options = {"127.0.0.1", "n", "perf.test", 0, 64, 1000, 1, 2, 1000, false};
static struct source *sources;
static uint8_t zone[256];
static size_t zone_len;
static uint64_t sent, answered, wrong, overrun;
static char first_wrong[2 * ROOM + 1];
static uint64_t latencies[BUCKETS], lateness[BUCKETS];
static int64_t worst_ns;

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* ---- histogram: SUB linear steps in each power of two */

static unsigned bucket_of(int64_t value_ns)
{
    uint64_t value = value_ns > 0 ? (uint64_t)value_ns : 0;
    if (value < SUB)
        return (unsigned)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value) - 5u;
    unsigned bucket = (power + 1) * SUB + (unsigned)(value >> power) - SUB;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double value_of(unsigned bucket)
{
    if (bucket < SUB)
        return bucket;
    unsigned power = bucket / SUB - 1;
    return (double)((uint64_t)(bucket % SUB + SUB) << power) + (double)(1ull << power) / 2;
}

static double percentile_us(const uint64_t *histogram, double share)
{
    uint64_t total = 0, seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        total += histogram[i];
    for (unsigned i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) && (double)seen >= share * (double)total)
            return value_of(i) / 1000;
    return 0;
}

/* ---- queries */

static size_t query_write(uint8_t *at, uint32_t number, uint16_t id, uint32_t *address)
{
    const uint8_t head[12] = {(uint8_t)(id >> 8), (uint8_t)id, 1, 0, 0, 1};
    memcpy(at, head, 12);
    int label = sprintf((char *)at + 13, "%s%07u", options.prefix, number);
    at[12] = (uint8_t)label;
    memcpy(at + 13 + label, zone, zone_len);
    size_t end = 13 + (size_t)label + zone_len;
    *address = address_of(at + 12, end - 12);
    memcpy(at + end, (const uint8_t[]){0, 1, 0, 1}, 4);
    return end + 4;
}

/* Send count queries, of which the first was due at due_ns and each next one step_ns later. */
static void send_chunk(struct source *source, uint64_t first, unsigned count, int64_t start_ns, double step_ns)
{
    uint8_t packets[CHUNK][ROOM];
    struct iovec parts[CHUNK];
    struct mmsghdr messages[CHUNK];
    memset(messages, 0, sizeof messages);
    int64_t now = now_ns();
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = first + i;
        uint16_t id = (uint16_t)source->next++;
        struct pending *pending = &source->pending[id % PENDING];
        overrun += pending->due_ns != 0;
        pending->id = id;
        pending->due_ns = start_ns + (int64_t)((double)number * step_ns);
        lateness[bucket_of(now - pending->due_ns)]++;
        parts[i].iov_base = packets[i];
        parts[i].iov_len = query_write(packets[i], options.names ? (uint32_t)(number % options.names) : (uint32_t)number, id, &pending->address);
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (unsigned done = 0; done < count;) {
        int n = sendmmsg(source->fd, messages + done, count - done, 0);
        done += n > 0 ? (unsigned)n : 1;
    }
    sent += count;
}

static int64_t stamp_of(struct msghdr *message, int64_t otherwise)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec time;
            memcpy(&time, CMSG_DATA(part), sizeof time);
            return time.tv_sec * 1000000000LL + time.tv_nsec;
        }
    return otherwise;
}

/* Behind the name at octet `at`: a pointer, or labels that end in a pointer or the root. May be at or past len. */
static size_t name_end(const uint8_t *packet, size_t at, size_t len)
{
    while (at < len && packet[at]) {
        if (packet[at] >= 0xC0)
            return at + 2;
        at += 1u + packet[at];
    }
    return at + 1;
}

static void take_reply(struct source *source, const uint8_t *packet, size_t len, int64_t stamp)
{
    uint16_t id = (uint16_t)(packet[0] << 8 | packet[1]);
    struct pending *pending = &source->pending[id % PENDING];
    if (len < 12 || pending->id != id || !pending->due_ns)
        return;  /* a second reply, or one that came after we stopped waiting */
    size_t question = name_end(packet, 12, len), record = name_end(packet, question + 4, len);
    bool good = (packet[3] & 15) == 0 && packet[7] == 1 && record + 14 <= len && packet[record + 9] == 4;
    if (good) {
        uint32_t address;
        memcpy(&address, packet + record + 10, 4);
        good = ntohl(address) == pending->address && address_of(packet + 12, question - 12) == pending->address;
    }
    if (!good && !wrong++)
        for (size_t i = 0; i < len && i < ROOM; i++)
            sprintf(first_wrong + 2 * i, "%02x", packet[i]);
    answered += good;
    if (good) {
        int64_t took = stamp - pending->due_ns;
        latencies[bucket_of(took)]++;
        worst_ns = took > worst_ns ? took : worst_ns;
    }
    pending->due_ns = 0;
}

static void receive(struct source *source)
{
    static uint8_t packets[BATCH][2048];
    static union { struct cmsghdr align; char octets[CMSG_SPACE(sizeof(struct timespec))]; } controls[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){packets[i], sizeof packets[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1, .msg_control = controls[i].octets, .msg_controllen = sizeof controls[i].octets};
    }
    int count = recvmmsg(source->fd, messages, BATCH, MSG_DONTWAIT, NULL);
    int64_t now = now_ns();
    for (int i = 0; i < count; i++)
        take_reply(source, packets[i], messages[i].msg_len, stamp_of(&messages[i].msg_hdr, now));
}

/* ---- the run */

static void wait_and_receive(int poller, int64_t until_ns)
{
    struct epoll_event events[64];
    int64_t left = until_ns - now_ns();
    if (options.busy || left < 0)
        left = 0;
    struct timespec timeout = {left / 1000000000, left % 1000000000};
    int ready = epoll_pwait2(poller, events, 64, &timeout, NULL);
    for (int i = 0; i < ready; i++)
        receive(&sources[events[i].data.u32]);
}

static void run(int poller)
{
    uint64_t total = (uint64_t)(options.rate * options.seconds), number = 0;
    double step_ns = 1e9 / options.rate;
    int64_t start = now_ns() + 1000000, end;
    unsigned turn = 0;
    while (number < total) {
        int64_t now = now_ns();
        uint64_t due = now < start ? 0 : (uint64_t)((double)(now - start) / step_ns) + 1;
        due = due < total ? due : total;
        for (unsigned chunks = 0; number < due && chunks < 16; chunks++) {
            unsigned count = due - number < CHUNK ? (unsigned)(due - number) : CHUNK;
            send_chunk(&sources[turn++ % (unsigned)options.sockets], number, count, start, step_ns);
            number += count;
        }
        wait_and_receive(poller, start + (int64_t)((double)number * step_ns));
    }
    end = now_ns() + (int64_t)(options.wait_s * 1e9);
    while (answered + wrong < sent && now_ns() < end)
        wait_and_receive(poller, now_ns() + 10000000);
}

static void report(void)
{
    printf("{\"sent\": %lu, \"answered\": %lu, \"wrong\": %lu, \"lost\": %lu, \"overrun\": %lu, \"late_p99_us\": %.1f, \"max_us\": %.1f",
           sent, answered, wrong, sent - answered - wrong, overrun, percentile_us(lateness, 0.99), (double)worst_ns / 1000);
    static const struct { const char *name; double share; } shares[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    for (unsigned i = 0; i < 4; i++)
        printf(", \"%s_us\": %.2f", shares[i].name, percentile_us(latencies, shares[i].share));
    printf(", \"first_wrong\": \"%s\"", first_wrong);
    const char *comma = ", \"histogram\": [";
    for (unsigned i = 0; i < BUCKETS; i++)
        if (latencies[i]) {
            printf("%s[%.2f, %lu]", comma, value_of(i) / 1000, latencies[i]);
            comma = ", ";
        }
    printf("%s]}\n", answered ? "" : comma);
}

static int prepare(void)
{
    int poller = epoll_create1(0), one = 1, room = 1 << 20;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    inet_pton(AF_INET, options.address, &address.sin_addr);
    sources = calloc((size_t)options.sockets, sizeof *sources);
    for (int i = 0; i < options.sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        int fd = sources[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof one);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) {
            perror("loadgen");
            exit(1);
        }
    }
    for (const char *label = options.zone; *label;) {
        size_t len = strcspn(label, ".");
        zone[zone_len] = (uint8_t)len;
        memcpy(zone + zone_len + 1, label, len);
        zone_len += len + 1;
        label += len + (label[len] == '.');
    }
    zone[zone_len++] = 0;
    crc_prepare();
    prctl(PR_SET_TIMERSLACK, 1);
    return poller;
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt(argc, argv, "s:p:r:l:c:n:x:z:w:b")) != -1;)
        switch (option) {
        case 's': options.address = optarg; break;
        case 'p': options.port = atoi(optarg); break;
        case 'r': options.rate = atof(optarg); break;
        case 'l': options.seconds = atof(optarg); break;
        case 'c': options.sockets = atoi(optarg); break;
        case 'n': options.names = (uint32_t)atoi(optarg); break;
        case 'x': options.prefix = optarg; break;
        case 'z': options.zone = optarg; break;
        case 'w': options.wait_s = atof(optarg); break;
        case 'b': options.busy = true; break;
        default: return 2;
        }
    if (!options.port || options.rate <= 0 || options.sockets < 1 || options.sockets > SOCKETS_MAX || strlen(options.prefix) > 40 || strlen(options.zone) > 200) {
        fprintf(stderr, "usage: loadgen -p PORT -r RATE -l SECONDS [-s ADDRESS] [-c SOCKETS] [-n NAMES] [-x PREFIX] [-z ZONE] [-w SECONDS] [-b]\n");
        return 2;
    }
    run(prepare());
    report();
    return 0;
}
