/* Sends as much as it can for some time, or takes what comes, and says how much that was.
 * Usage: traffic tcp-send ADDRESS PORT SECONDS    traffic udp-send ADDRESS PORT SECONDS
 *        traffic tcp-take ADDRESS PORT            traffic udp-take ADDRESS PORT
 * It writes "ready" once it listens, and at the end two numbers: bytes of TCP or datagrams of UDP, and the seconds of
 * processor time that they took, among them what the kernel does with them meanwhile. What takes UDP ends with the end of
 * its standard input. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 18, MANY = 64, LARGE = 1 << 17 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds_of(struct timeval value) { return (double)value.tv_sec + (double)value.tv_usec / 1e6; }

static void said(unsigned long long count)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%llu %.6f\n", count, seconds_of(used.ru_utime) + seconds_of(used.ru_stime));
    fflush(stdout);
}

static void ready(void)
{
    puts("ready");
    fflush(stdout);
}

static void send_tcp(int fd, double until)
{
    static char data[LARGE];
    unsigned long long sent = 0;
    while (now() < until) {
        ssize_t done = send(fd, data, sizeof data, 0);
        if (done < 0)
            fail("send");
        sent += (unsigned long long)done;
    }
    said(sent);
}

static void send_udp(int fd, double until)
{
    static char data[SMALL];
    struct iovec part = {data, sizeof data};
    struct mmsghdr batch[MANY];
    unsigned long long sent = 0;
    memset(batch, 0, sizeof batch);
    for (int at = 0; at < MANY; at++)
        batch[at].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    while (now() < until) {
        int done = sendmmsg(fd, batch, MANY, 0);
        sent += done > 0 ? (unsigned long long)done : 0;
    }
    said(sent);
}

static void take_tcp(int listener)
{
    static char data[LARGE];
    unsigned long long taken = 0;
    ssize_t done;
    if (listen(listener, 1) < 0)
        fail("listen");
    ready();
    int fd = accept(listener, NULL, NULL);
    while ((done = recv(fd, data, sizeof data, 0)) > 0)
        taken += (unsigned long long)done;
    said(taken);
}

static void take_udp(int fd)
{
    static char data[MANY][SMALL];
    struct iovec parts[MANY];
    struct mmsghdr batch[MANY];
    unsigned long long taken = 0;
    struct pollfd both[2] = {{fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    memset(batch, 0, sizeof batch);
    for (int at = 0; at < MANY; at++) {
        parts[at] = (struct iovec){data[at], SMALL};
        batch[at].msg_hdr = (struct msghdr){.msg_iov = &parts[at], .msg_iovlen = 1};
    }
    ready();
    /* One answer: what never gets one stays a new connection to conntrack. */
    struct sockaddr_storage who;
    socklen_t size = sizeof who;
    if (recvfrom(fd, data[0], SMALL, MSG_PEEK, (struct sockaddr *)&who, &size) > 0)
        sendto(fd, data[0], SMALL, 0, (struct sockaddr *)&who, size);
    for (;;) {
        if (poll(both, 2, -1) < 0)
            fail("poll");
        if (both[0].revents & POLLIN) {
            int done = recvmmsg(fd, batch, MANY, MSG_DONTWAIT, NULL);
            taken += done > 0 ? (unsigned long long)done : 0;
        } else if (both[1].revents) {
            break;
        }
    }
    said(taken);
}

int main(int count, char **words)
{
    struct addrinfo hint = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
    if (count < 4) {
        fprintf(stderr, "usage: traffic tcp-send|udp-send|tcp-take|udp-take ADDRESS PORT [SECONDS]\n");
        return 3;
    }
    int tcp = !strncmp(words[1], "tcp", 3), takes = !!strstr(words[1], "take");
    hint.ai_socktype = tcp ? SOCK_STREAM : SOCK_DGRAM;
    if (getaddrinfo(words[2], words[3], &hint, &found))
        fail("getaddrinfo");
    int fd = socket(found->ai_family, found->ai_socktype, 0), on = 1;
    if (fd < 0)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (takes) {
        if (bind(fd, found->ai_addr, found->ai_addrlen) < 0)
            fail("bind");
        tcp ? take_tcp(fd) : take_udp(fd);
        return 0;
    }
    if (connect(fd, found->ai_addr, found->ai_addrlen) < 0)
        fail("connect");
    double until = now() + (count > 4 ? atof(words[4]) : 1.0);
    tcp ? send_tcp(fd, until) : send_udp(fd, until);
    return 0;
}
