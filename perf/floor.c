/* The floor: what the kernel's socket path costs and nothing else. Reads queries in batches with recvmmsg, turns each into
 * a reply of fixed size by setting QR and appending zeros, sends them back with sendmmsg.
 *
 *     floor ADDRESS PORT REPLY_OCTETS PROCESSES
 *
 * Several processes share the address by SO_REUSEPORT, as a server's workers do.
 * It parses nothing: no server can answer DNS for less on this machine. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 64, ROOM = 2048 };

static uint8_t packets[BATCH][ROOM];
static struct sockaddr_in peers[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (argc != 5 || inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: floor ADDRESS PORT REPLY_OCTETS PROCESSES\n");
        return 2;
    }
    for (int n = 1; n < atoi(argv[4]); n++)
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            break;
        }
    address.sin_port = htons((uint16_t)atoi(argv[2]));
    size_t reply = (size_t)atoi(argv[3]);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    int room = 4 << 20, yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (reply > ROOM || bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        perror("floor");
        return 1;
    }
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){packets[i], ROOM};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i], .msg_namelen = sizeof peers[i], .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        int count = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < count; i++) {
            packets[i][2] |= 0x80;
            parts[i].iov_len = reply > messages[i].msg_len ? reply : messages[i].msg_len;
        }
        for (int sent = 0; sent < count;) {
            int n = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
            sent += n > 0 ? n : 1;
        }
    }
}
