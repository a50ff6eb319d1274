/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The descriptor of one link: what is read, written, and asked of the kernel. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/queue.h>

#include "service/core/router.h"
#include "service/net/address.h"

/* What stands behind an epoll event */
typedef enum EventKind {
        EVENT_LISTENER,
        EVENT_SOCKET,
} EventKind;

typedef struct Socket {
        EventKind kind;
        int fd;
        Link *link; /* NULL: closed, freed at the end of the turn */
        bool local;
        bool in_epoll;
        bool write_blocked;  /* until EPOLLOUT */
        bool write_broken;   /* nobody takes what is written; what was sent before is still read */
        bool was_reset;      /* … because of a reset */
        bool shut;           /* FIN was sent */
        bool hung;           /* the peer has closed while nothing is to be read; out of the epoll set until it is */
        uint32_t mask;
        char principal[16];  /* "uid:1000", or "" */
        TAILQ_ENTRY(Socket) entry;
        char address[];      /* for people */
} Socket;

/* Takes over `fd`. Returns 0, or a negative errno and closes it. */
int socket_new(int fd, const Address *peer, Router *router, Socket **ret_socket);

/* … of a link that another service has had, and that is to be made: `link` is NULL. `was_reset` as it was there. -EINVAL: it is
 * no stream socket. */
int socket_new_passed(int fd, bool was_reset, Socket **ret_socket);
Socket *socket_free(Socket *s);

/* Reads once, into `buffer`, of which `room` bytes are free, SOCKET_BUFFER_SIZE at least, and feeds the link. Returns how many of
 * them are in use until the end of the turn. */
size_t socket_read(Socket *s, uint8_t *buffer, size_t room);

enum { SOCKET_BUFFER_SIZE = WIRE_FRAME_MAX + LINK_READ_SIZE_USUAL };

/* Writes what the link has, keeps the rest, and goes on with closing. */
void socket_flush(Socket *s);

/* Puts what it now waits for into the epoll set. */
void socket_update(Socket *s, int epoll_fd);

/* The kernel's options for TCP; on a listener they are inherited by what it accepts. */
void socket_set_tcp_options(int fd, uint64_t kernel_timeout_usec);

/* For RouterOps: see there. */
void socket_get_kernel_figures(Link *l, uint32_t *ret_silence_ms, uint32_t *ret_rtt_usec);
bool socket_is_pending(const Link *l);
void socket_set_stalled(Link *l, bool on, uint64_t kernel_timeout_usec);
bool socket_is_dead(Link *l, uint64_t kernel_timeout_usec);
