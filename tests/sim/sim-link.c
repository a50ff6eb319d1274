/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* In place of client/link.c: the same over a connection of the simulated network. What the kernel would say of an unanswered
 * connection the network says; the times are those of the original. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/link.h"
#include "client/util.h"
#include "tests/sim/actor.h"
#include "tests/sim/alloc.h"
#include "tests/sim/net.h"

#define LINK_STALL_CHECK_USEC (5 * USEC_PER_SEC)
#define LINK_STALL_TIMEOUT_USEC (10 * USEC_PER_SEC)

void link_init(Link *link, int epoll_fd) {
        *link = (Link) { .epoll_fd = epoll_fd, .fd = -1, .is_tcp = true, .stall_deadline = USEC_NEVER };
}

void link_deinit(Link *link) {
        link_close(link);
        free(link->buffer);
        link->buffer = NULL;
}

int link_open(Link *link, const Address *address) {
        bool connected;
        Conn *c;

        if (!link->buffer) {
                link->buffer = malloc(LINK_BUFFER_SIZE);
                if (!link->buffer)
                        return -ENOMEM;
        }
        link_close(link);
        OUTSIDE(c = actor_connect(&connected));
        if (c->state == CONN_FAILED)
                return c->error;
        link->fd = (int) c->number;
        return connected ? 0 : -EINPROGRESS;
}

int link_finish(Link *link) {
        Conn *c = conn_find(link->fd);

        if (c->state == CONN_UP)
                return 0;
        if (c->state == CONN_OPENING)
                return -EINPROGRESS;
        link_close(link);
        return c->error;
}

void link_close(Link *link) {
        if (link->fd >= 0)
                OUTSIDE(conn_close(conn_find(link->fd)));
        link->fd = -1;
        link->mask = 0;
        link->is_blocked = link->is_gone = false;
        link->start = link->end = 0;
        link->stall_deadline = USEC_NEVER;
}

int link_read(Link *link) {
        size_t size;
        ssize_t n;

        if (link->fd < 0)
                return -EBADF;
        if (link->start > 0) {
                memmove(link->buffer, link->buffer + link->start, link_get_size(link));
                link->end -= link->start;
                link->start = 0;
        }
        size = LINK_BUFFER_SIZE - link->end;
        if (size > LINK_READ_SIZE)
                size = LINK_READ_SIZE;
        OUTSIDE(n = conn_read(conn_find(link->fd), link->buffer + link->end, size));
        if (n < 0)
                return n == -EAGAIN ? 0 : (int) n;
        if (n == 0)
                return -EPIPE;
        link->end += (size_t) n;
        return (size_t) n == size;
}

ssize_t link_write(Link *link, const struct iovec *iov, size_t n_iov) {
        ssize_t n;

        if (link->fd < 0)
                return -EBADF;
        OUTSIDE(n = conn_write(conn_find(link->fd), iov, n_iov));
        link->is_blocked = n == -EAGAIN;
        if (link->stall_deadline == USEC_NEVER)
                link->stall_deadline = usec_add(usec_now(), LINK_STALL_TIMEOUT_USEC);
        if (n > 0)
                link->n_written += (uint64_t) n;
        return n;
}

int link_watch(Link *link, uint32_t mask) {
        if (link->fd >= 0)
                link->mask = mask;
        return 0;
}

int link_check(Link *link, uint64_t now) {
        const Conn *c = conn_find(link->fd);

        if (now < link->stall_deadline)
                return 0;
        if (conn_is_acknowledged(c)) {
                link->stall_deadline = USEC_NEVER;
                return 0;
        }
        link->stall_deadline = usec_add(now, LINK_STALL_CHECK_USEC);
        return now - conn_silent_since(c) >= LINK_STALL_TIMEOUT_USEC ? -ETIMEDOUT : 0;
}

uint32_t sim_link_events(const Link *link) {
        const Conn *c = link->fd >= 0 ? conn_find(link->fd) : NULL;
        uint32_t events;

        if (!c || link->mask == 0)
                return 0;
        if (c->state == CONN_FAILED)
                return EPOLLERR | EPOLLHUP | (link->mask & (EPOLLIN | EPOLLOUT));
        events = (conn_can_read(c) ? EPOLLIN : 0) | (conn_can_write(c) ? EPOLLOUT : 0);
        return events & link->mask;
}
