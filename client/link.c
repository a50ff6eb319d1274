/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A Link owns the socket and the read buffer. It does not know what a frame is and takes no decision: when to connect again, and
 * what to wait for, its owner says.
 *
 * A dead host is noticed in two ways. While nothing is under way, by keepalive. While something is, by looking at TCP_INFO from
 * time to time: bytes in flight that nobody acknowledged for LINK_STALL_TIMEOUT_USEC, or that many unanswered probes of a closed
 * window. TCP_USER_TIMEOUT would be simpler, but since Linux 5.11 it also ends a connection whose peer keeps its window closed
 * for that long although it answers every probe. The service does just that to a program that sends to a slow one, and the
 * program may be computing meanwhile, in no position to switch the option off. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>
#include <unistd.h>

#include "client/link.h"
#include "client/util.h"
#include "protocol/loopback.h"

enum {
        /* An idle link: a dead host is noticed within 9 s, at the cost of one packet each way in 5 s */
        LINK_KEEPALIVE_IDLE_SEC = 5,
        LINK_KEEPALIVE_INTERVAL_SEC = 1,
        LINK_KEEPALIVE_COUNT = 4,

        /* Bulk that the kernel holds and has not sent yet is ahead of each later small message */
        LINK_NOTSENT_LOWAT = 128 * 1024,

        /* Probes of a closed window come at intervals that double, up to two minutes, so there is no waiting for many. The third
         * goes out when two had no answer */
        LINK_PROBES_MAX = 3,

        /* What link_close() reads and throws away, so that the kernel ends the connection with FIN and not with RST */
        LINK_DRAIN_MAX = 1024 * 1024,
};

#define LINK_STALL_CHECK_USEC (5 * USEC_PER_SEC)
#define LINK_STALL_TIMEOUT_USEC (10 * USEC_PER_SEC)

void link_init(Link *link, int epoll_fd) {
        *link = (Link) { .epoll_fd = epoll_fd, .fd = -1, .stall_deadline = USEC_NEVER };
}

void link_deinit(Link *link) {
        link_close(link);
        free(link->buffer);
        link->buffer = NULL;
}

static void link_set_options(int fd, const Address *address) {
        const struct {
                int level, option, value;
        } options[] = {
                { SOL_SOCKET, SO_KEEPALIVE, 1 },
                { IPPROTO_TCP, TCP_NODELAY, 1 },
                { IPPROTO_TCP, TCP_KEEPIDLE, LINK_KEEPALIVE_IDLE_SEC },
                { IPPROTO_TCP, TCP_KEEPINTVL, LINK_KEEPALIVE_INTERVAL_SEC },
                { IPPROTO_TCP, TCP_KEEPCNT, LINK_KEEPALIVE_COUNT },
                { IPPROTO_TCP, TCP_NOTSENT_LOWAT, LINK_NOTSENT_LOWAT },
        };

        /* A kernel that does not know one of them gives a link that is slower to notice things, and is a link all the same */
        for (size_t i = 0; i < N_ELEMENTS(options); i++)
                (void) setsockopt(fd, options[i].level, options[i].option, &options[i].value, sizeof(options[i].value));
        if (loopback_is((const struct sockaddr *) &address->storage))
                (void) setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, LOOPBACK_CONGESTION, strlen(LOOPBACK_CONGESTION));
}

int link_open(Link *link, const Address *address) {
        _cleanup_close_ int fd = -1;
        int r = 0;

        if (!link->buffer) {
                link->buffer = malloc(LINK_BUFFER_SIZE);
                if (!link->buffer)
                        return -ENOMEM;
        }
        link_close(link);
        fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        link->is_tcp = address->storage.ss_family != AF_UNIX;
        if (link->is_tcp)
                link_set_options(fd, address);
        if (connect(fd, (const struct sockaddr *) &address->storage, address->size) < 0) {
                r = -errno;
                if (r != -EINPROGRESS)
                        return r;
        }
        link->fd = fd;
        fd = -1;
        return r;
}

int link_finish(Link *link) {
        socklen_t size = sizeof(int);
        int error = 0;

        if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
                error = errno;
        if (error != 0)
                link_close(link);
        return -error;
}

/* Not into the read buffer: the caller may be dealing with a frame in it. */
static void link_drain(int fd) {
        uint8_t nowhere[4096];
        ssize_t n;

        for (size_t drained = 0; drained < LINK_DRAIN_MAX; drained += (size_t) n) {
                n = recv(fd, nowhere, sizeof(nowhere), MSG_DONTWAIT);
                if (n <= 0)
                        return;
        }
}

void link_close(Link *link) {
        if (link->fd >= 0) {
                (void) link_watch(link, 0);
                if (link->is_given_up) {
                        /* A FIN that gets through after all would say that this program has ended; a reset keeps the session */
                        static const struct linger linger = { .l_onoff = 1 };

                        (void) setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
                } else {
                        (void) shutdown(link->fd, SHUT_WR);
                        link_drain(link->fd);
                }
        }
        link->fd = close_fd(link->fd);
        link->mask = 0;
        link->is_blocked = link->is_gone = link->is_given_up = false;
        link->start = link->end = 0;
        link->stall_deadline = USEC_NEVER;
}

int link_read(Link *link) {
        size_t size;
        ssize_t n;

        if (link->start > 0) {
                memmove(link->buffer, link->buffer + link->start, link_get_size(link));
                link->end -= link->start;
                link->start = 0;
        }
        size = LINK_BUFFER_SIZE - link->end;
        if (size > LINK_READ_SIZE)
                size = LINK_READ_SIZE;
        n = recv(link->fd, link->buffer + link->end, size, MSG_DONTWAIT);
        if (n < 0) {
                if (errno == EAGAIN || errno == EINTR)
                        return errno == EINTR;
                return -errno;
        }
        if (n == 0)
                return -EPIPE;
        link->end += (size_t) n;
        return (size_t) n == size || link->is_gone; /* after a hang-up only the end of the file is left to be read */
}

ssize_t link_write(Link *link, const struct iovec *iov, size_t n_iov) {
        struct msghdr message = { .msg_iov = (struct iovec *) iov, .msg_iovlen = n_iov };
        ssize_t n;

        do
                n = sendmsg(link->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        link->is_blocked = n < 0 && (errno == EAGAIN || errno == ENOBUFS);
        if (link->is_tcp && link->stall_deadline == USEC_NEVER)
                link->stall_deadline = usec_add(usec_now(), LINK_STALL_TIMEOUT_USEC);
        if (n < 0)
                return link->is_blocked ? -EAGAIN : -errno;
        link->n_written += (uint64_t) n;
        return n;
}

int link_watch(Link *link, uint32_t mask) {
        struct epoll_event event = { .events = mask, .data.ptr = link };
        int op;

        if (mask == link->mask || link->fd < 0)
                return 0;
        /* A socket that nothing is wanted of leaves the set, because the set reports a hang-up whatever the mask is */
        op = mask == 0 ? EPOLL_CTL_DEL : link->mask == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
        if (epoll_ctl(link->epoll_fd, op, link->fd, &event) < 0)
                return -errno;
        link->mask = mask;
        return 0;
}

/* The deadline was set with the first write after all had been acknowledged, so what is in flight without any acknowledgement
 * since has been so for at least that long. */
int link_check(Link *link, uint64_t now) {
        struct tcp_info info = {};
        socklen_t size = sizeof(info);
        int n_queued = 0;

        if (now < link->stall_deadline)
                return 0;
        if (ioctl(link->fd, SIOCOUTQ, &n_queued) < 0 || n_queued == 0) {
                link->stall_deadline = USEC_NEVER;
                return 0;
        }
        link->stall_deadline = usec_add(now, LINK_STALL_CHECK_USEC);
        if (getsockopt(link->fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
                return 0;
        if (info.tcpi_unacked > 0 && info.tcpi_last_ack_recv * USEC_PER_MSEC >= LINK_STALL_TIMEOUT_USEC)
                return -ETIMEDOUT;
        if (info.tcpi_unacked == 0 && info.tcpi_probes >= LINK_PROBES_MAX)
                return -ETIMEDOUT;
        return 0;
}
