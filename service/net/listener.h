/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A listening socket: bound here, or handed over by the manager. */

#include "service/net/path-lock.h"
#include "service/net/socket.h"

typedef struct Listener {
        EventKind kind;
        int fd;
        bool local;
        bool in_epoll;
        char *path;    /* of a local socket that was bound here: removed at the end */
        PathLock lock; /* of that path */
        char text[ADDRESS_TEXT_MAX];
        TAILQ_ENTRY(Listener) entry;
} Listener;

enum {
        LISTENER_BACKLOG = 4096, /* clients of a service that was restarted come back all at once */
};

/* Binds and listens. A local socket's file is made for everyone to connect, and replaces one that nobody listens on any
 * more; a file beside it, with .lock behind its name, is locked for as long. Returns 0, or a negative errno with *ret_why
 * as address_parse(). */
int listener_new(const Address *address, Listener **ret_listener, const char **ret_why);

/* Takes over a descriptor that listens already. Returns 0, or -EINVAL if it does not, or is no stream socket; it is not
 * closed then. */
int listener_new_from_fd(int fd, Listener **ret_listener);

Listener *listener_free(Listener *l);

/* Accepts one. Returns 0; -EAGAIN: there is none; -EMFILE: out of descriptors or memory, try again later. */
int listener_accept(Listener *l, int *ret_fd, Address *ret_peer);
