/* What the kernel itself needs for namespaces behind one bridge: a process that knows beforehand what to say, says it
 * in as few messages as there are, and asks nothing back. It neither translates nor forwards.
 * Usage: floor COUNT early|late|gone     early: the bridge is up first, and serves from the first namespace on.
 *                                        late: it comes up when all ports are there.
 *                                        gone: what was built goes, and the kernel has taken it away. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LOOPBACK = 1, INSIDE = 2, LENGTH = 16 };
#define BRIDGE "br0"
#define GATEWAY 0x0a160001u /* 10.22.0.1 */

/* Messages that go to the kernel in one send. */
struct batch {
    _Alignas(NLMSG_ALIGNTO) char bytes[4096];
    size_t used;
    unsigned messages;
    struct nlmsghdr *open;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void *extend(struct batch *batch, size_t size)
{
    char *place = batch->bytes + batch->used;
    if (batch->used + NLMSG_ALIGN(size) > sizeof batch->bytes) {
        errno = EMSGSIZE;
        fail("a batch");
    }
    memset(place, 0, NLMSG_ALIGN(size));
    batch->used += NLMSG_ALIGN(size);
    if (batch->open)
        batch->open->nlmsg_len = (unsigned)(batch->bytes + batch->used - (char *)batch->open);
    return place;
}

/* Begins a message and returns its fixed part, which is still empty. */
static void *message(struct batch *batch, int type, int flags, size_t fixed)
{
    batch->open = NULL;
    struct nlmsghdr *header = extend(batch, NLMSG_HDRLEN);
    batch->open = header;
    header->nlmsg_type = (unsigned short)type;
    header->nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
    header->nlmsg_seq = ++batch->messages;
    return extend(batch, fixed);
}

static struct rtattr *attribute(struct batch *batch, int type, const void *value, size_t size)
{
    struct rtattr *made = extend(batch, RTA_LENGTH(size));
    made->rta_type = (unsigned short)type;
    made->rta_len = (unsigned short)RTA_LENGTH(size);
    if (size)
        memcpy(RTA_DATA(made), value, size);
    return made;
}

static void text(struct batch *batch, int type, const char *value) { attribute(batch, type, value, strlen(value) + 1); }

static struct rtattr *nest(struct batch *batch, int type) { return attribute(batch, type, NULL, 0); }

static void unnest(struct batch *batch, struct rtattr *outer)
{
    outer->rta_len = (unsigned short)(batch->bytes + batch->used - (char *)outer);
}

static int open_netlink(void)
{
    int made = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (made < 0)
        fail("netlink");
    return made;
}

/* Sends a batch, and waits until each of its messages is acknowledged. */
static void say(int netlink, struct batch *batch)
{
    static _Alignas(NLMSG_ALIGNTO) char answers[16384];
    if (send(netlink, batch->bytes, batch->used, 0) < 0)
        fail("send");
    while (batch->messages) {
        ssize_t got = recv(netlink, answers, sizeof answers, 0);
        if (got < 0)
            fail("recv");
        for (struct nlmsghdr *one = (void *)answers; NLMSG_OK(one, (size_t)got); one = NLMSG_NEXT(one, got)) {
            if (one->nlmsg_type != NLMSG_ERROR)
                continue;
            errno = -((struct nlmsgerr *)NLMSG_DATA(one))->error;
            if (errno)
                fail("the kernel refuses");
            batch->messages--;
        }
    }
    batch->used = 0;
    batch->open = NULL;
}

static void raise_link(struct batch *batch, int index)
{
    struct ifinfomsg *link = message(batch, RTM_NEWLINK, 0, sizeof *link);
    link->ifi_index = index;
    link->ifi_flags = link->ifi_change = IFF_UP;
}

static void give_address(struct batch *batch, int index, unsigned address)
{
    unsigned wire = htonl(address);
    struct ifaddrmsg *given = message(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *given);
    given->ifa_family = AF_INET;
    given->ifa_prefixlen = 16;
    given->ifa_index = (unsigned)index;
    attribute(batch, IFA_LOCAL, &wire, sizeof wire);
    attribute(batch, IFA_ADDRESS, &wire, sizeof wire);
}

static void route_by_gateway(struct batch *batch)
{
    unsigned wire = htonl(GATEWAY);
    struct rtmsg *route = message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *route);
    route->rtm_family = AF_INET;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_scope = RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    attribute(batch, RTA_GATEWAY, &wire, sizeof wire);
}

static int make_bridge(int netlink, struct batch *batch)
{
    message(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
    text(batch, IFLA_IFNAME, BRIDGE);
    struct rtattr *information = nest(batch, IFLA_LINKINFO);
    text(batch, IFLA_INFO_KIND, "bridge");
    unnest(batch, information);
    say(netlink, batch);
    int index = (int)if_nametoindex(BRIDGE);
    give_address(batch, index, GATEWAY);
    say(netlink, batch);
    return index;
}

static void name_of(char *path, size_t size, int number) { snprintf(path, size, "/run/netns/s%d", number); }

static void port_of(char *port, int number) { snprintf(port, LENGTH, "v%d", number); }

/* Makes a namespace, gives it its name, and comes back. A socket stays where it was opened. */
static int make_namespace(int home, int number, int *netlink)
{
    char path[64];
    name_of(path, sizeof path, number);
    int name = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (name < 0 || close(name) || unshare(CLONE_NEWNET))
        fail(path);
    if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL))
        fail(path);
    int made = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    *netlink = open_netlink();
    if (made < 0 || setns(home, CLONE_NEWNET))
        fail(path);
    return made;
}

/* One message makes a pair: a port of the bridge that is up, and a link inside, which cannot be up yet. */
static void make_pair(int netlink, struct batch *batch, int number, int bridge, int inside)
{
    char port[LENGTH];
    port_of(port, number);
    struct ifinfomsg *outer = message(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *outer);
    outer->ifi_flags = outer->ifi_change = IFF_UP;
    text(batch, IFLA_IFNAME, port);
    attribute(batch, IFLA_MASTER, &bridge, sizeof bridge);
    struct rtattr *information = nest(batch, IFLA_LINKINFO);
    text(batch, IFLA_INFO_KIND, "veth");
    struct rtattr *data = nest(batch, IFLA_INFO_DATA);
    struct rtattr *peer = nest(batch, VETH_INFO_PEER);
    struct ifinfomsg *inner = extend(batch, sizeof *inner);
    inner->ifi_index = INSIDE;
    text(batch, IFLA_IFNAME, "eth0");
    attribute(batch, IFLA_NET_NS_FD, &inside, sizeof inside);
    unnest(batch, peer);
    unnest(batch, data);
    unnest(batch, information);
    say(netlink, batch);
}

static void build_one(int netlink, struct batch *batch, int home, int number, int bridge)
{
    int own, inside = make_namespace(home, number, &own);
    make_pair(netlink, batch, number, bridge, inside);
    raise_link(batch, LOOPBACK);
    raise_link(batch, INSIDE);
    give_address(batch, INSIDE, GATEWAY + (unsigned)number);
    route_by_gateway(batch);
    say(own, batch);
    close(own);
    close(inside);
}

static void remove_bridge(int netlink, struct batch *batch)
{
    message(batch, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
    text(batch, IFLA_IFNAME, BRIDGE);
    say(netlink, batch);
}

/* A pair goes with the namespace of one of its ends, once the kernel comes to it. */
static void remove_namespaces(int count)
{
    char path[64], port[LENGTH];
    for (int number = 1; number <= count; number++) {
        name_of(path, sizeof path, number);
        if (umount2(path, MNT_DETACH) || unlink(path))
            fail(path);
    }
    for (int number = count; number; number--)
        for (port_of(port, number); if_nametoindex(port);)
            usleep(1000);
}

int main(int count, char **words)
{
    static struct batch batch;
    int late = count == 3 && strcmp(words[2], "late") == 0, gone = count == 3 && strcmp(words[2], "gone") == 0;
    if (count != 3 || (!late && !gone && strcmp(words[2], "early") != 0)) {
        fprintf(stderr, "usage: floor COUNT early|late|gone\n");
        return 3;
    }
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), netlink = open_netlink();
    if (gone) {
        /* The other way round takes longer. */
        remove_bridge(netlink, &batch);
        remove_namespaces(atoi(words[1]));
        return 0;
    }
    int bridge = make_bridge(netlink, &batch);
    if (!late)
        raise_link(&batch, bridge), say(netlink, &batch);
    for (int number = 1; number <= atoi(words[1]); number++)
        build_one(netlink, &batch, home, number, bridge);
    if (late)
        raise_link(&batch, bridge), say(netlink, &batch);
    return 0;
}
