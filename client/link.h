/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One connection to the service: the socket, the bytes that came in and are not used yet, and whether the other host still
 * answers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "client/address.h"
#include "protocol/wire.h"

enum {
        LINK_READ_SIZE = 256 * 1024, /* of one read: a few frames of the largest size, so bulk costs few calls */
        LINK_BUFFER_SIZE = LINK_READ_SIZE + WIRE_FRAME_MAX,
};

typedef struct Link {
        int epoll_fd; /* borrowed */
        int fd;
        uint32_t mask; /* the socket's in the epoll set; 0: it is not in it */
        bool is_tcp;
        bool is_blocked; /* the socket took no more */
        bool is_given_up; /* by us: closing it must not look like the end of this program */
        bool is_gone;    /* the connection has ended or failed: read to the end, then close */

        AddressList addresses; /* where its owner may open it */

        uint8_t *buffer; /* LINK_BUFFER_SIZE; kept from the first connection on */
        size_t start, end;

        uint64_t n_written;      /* bytes, on all connections that this was */
        uint64_t stall_deadline; /* when to look whether the other host acknowledges what was written */
} Link;

void link_init(Link *link, int epoll_fd);
void link_deinit(Link *link);

/* Closes what there is, and connects. 0: connected; -EINPROGRESS: call link_finish() when the socket is writable; -EAGAIN: the
 * local socket's queue is full, try again soon; else what it failed with, and the link is closed. */
int link_open(Link *link, const Address *address);
int link_finish(Link *link);

/* Closes so that what was written still arrives; opens no second time by itself. */
void link_close(Link *link);

/* Reads once. 1: there may be more; 0: not now; -ECONNRESET, -EPIPE (end of file) or another error: the link has ended. */
int link_read(Link *link);

/* The bytes that were read; what is used up is said with link_consume(). */
static inline const uint8_t *link_get_data(const Link *link) {
        return link->buffer + link->start;
}
static inline size_t link_get_size(const Link *link) {
        return link->end - link->start;
}
static inline void link_consume(Link *link, size_t size) {
        link->start += size;
}

/* The number of bytes that the socket took, -EAGAIN, or an error of the connection. */
ssize_t link_write(Link *link, const struct iovec *iov, size_t n_iov);

/* What the epoll set is to wait for (EPOLLIN, EPOLLOUT). 0 or an error of epoll_ctl(2). */
int link_watch(Link *link, uint32_t mask);

/* Looks after its timer: 0, or -ETIMEDOUT: the other host is dead. */
int link_check(Link *link, uint64_t now);
