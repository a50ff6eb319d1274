/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the descriptor, and the file of a local socket that it has bound itself, with the lock beside it. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol/loopback.h"
#include "service/net/listener.h"

static void free_text(char **text) {
        free(*text);
}

static void cleanup_listener(Listener **l) {
        listener_free(*l);
}

/* What it accepts inherits that. */
static void set_loopback_options(int fd, const Address *own) {
        if (loopback_is((const struct sockaddr *) &own->storage))
                setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, LOOPBACK_CONGESTION, strlen(LOOPBACK_CONGESTION));
}

static int listener_alloc(int fd, Listener **ret_listener) {
        Address own = { .size = sizeof(own.storage) };
        Listener *l;

        if (getsockname(fd, (struct sockaddr *) &own.storage, &own.size) < 0)
                return -errno;
        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        *l = (Listener) { .kind = EVENT_LISTENER, .fd = fd, .local = own.storage.ss_family == AF_UNIX, .lock = PATH_LOCK_NULL };
        set_loopback_options(fd, &own);
        address_format(&own, l->text);
        *ret_listener = l;
        return 0;
}

int listener_new_from_fd(int fd, Listener **ret_listener) {
        int type, listening, flags;
        socklen_t size = sizeof(type);

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM)
                return -EINVAL;
        size = sizeof(listening);
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) < 0 || !listening)
                return -EINVAL;
        /* As systemd passes it, accept() would wait for the next client, and everybody else with it. */
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        return listener_alloc(fd, ret_listener);
}

/* The file of a service that is no more keeps the address in use. To a file that is no socket connect() is refused just as well,
 * but that is not ours to remove. */
static bool is_stale(const Address *address) {
        const struct sockaddr_un *sun = (const struct sockaddr_un *) &address->storage;
        struct stat st;
        bool stale;
        int fd;

        if (lstat(sun->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return false;
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return false;
        stale = connect(fd, (const struct sockaddr *) &address->storage, address->size) < 0 && errno == ECONNREFUSED;
        close(fd);
        return stale;
}

/* Under the lock nobody else looks whether the file is stale: not before listen(), when it seems to be, nor when another is about
 * to replace it. */
static int bind_unix(int fd, const Address *address, Listener *l) {
        __attribute__((cleanup(free_text))) char *path = strdup(((const struct sockaddr_un *) &address->storage)->sun_path);
        int r;

        if (!path)
                return -ENOMEM;
        r = path_lock_init(&l->lock, path);
        if (r < 0)
                return r;
        r = bind(fd, (const struct sockaddr *) &address->storage, address->size) < 0 ? -errno : 0;
        if (r == -EADDRINUSE && is_stale(address) && unlink(path) >= 0)
                r = bind(fd, (const struct sockaddr *) &address->storage, address->size) < 0 ? -errno : 0;
        if (r < 0)
                return r;
        l->path = path; /* ours from here on, and to be removed */
        path = NULL;
        /* Whoever may use the loopback address may use this; before listen(), so that nobody meets a moment of another mode. */
        return chmod(l->path, 0666) < 0 ? -errno : 0;
}

static int bind_tcp(int fd, const Address *address) {
        int on = 1;

        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
                return -errno;
        if (address->storage.ss_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
                return -errno;
        set_loopback_options(fd, address);
        return bind(fd, (const struct sockaddr *) &address->storage, address->size) < 0 ? -errno : 0;
}

static const char *explain(int error) {
        switch (error) {
        case -EADDRINUSE:
                return "it is in use; is another service running?";
        case -EEXIST:
                return "the file that is to lock it, of the same name with .lock, is something else";
        default:
                return strerror(-error);
        }
}

int listener_new(const Address *address, Listener **ret_listener, const char **ret_why) {
        __attribute__((cleanup(cleanup_listener))) Listener *l = NULL;
        Address own = { .size = sizeof(own.storage) };
        int r;

        l = calloc(1, sizeof(*l));
        if (!l) {
                *ret_why = "out of memory";
                return -ENOMEM;
        }
        *l = (Listener) { .kind = EVENT_LISTENER, .local = address->storage.ss_family == AF_UNIX, .lock = PATH_LOCK_NULL };
        l->fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = l->fd < 0 ? -errno : l->local ? bind_unix(l->fd, address, l) : bind_tcp(l->fd, address);
        if (r >= 0 && (listen(l->fd, LISTENER_BACKLOG) < 0 ||
                       getsockname(l->fd, (struct sockaddr *) &own.storage, &own.size) < 0))
                r = -errno;
        if (r < 0) {
                *ret_why = explain(r);
                return r;
        }
        address_format(&own, l->text);
        *ret_listener = l;
        l = NULL;
        return 0;
}

Listener *listener_free(Listener *l) {
        if (!l)
                return NULL;
        if (l->fd >= 0)
                close(l->fd);
        if (l->path)
                unlink(l->path);
        path_lock_deinit(&l->lock);
        free(l->path);
        free(l);
        return NULL;
}

int listener_accept(Listener *l, int *ret_fd, Address *ret_peer) {
        for (;;) {
                Address peer = { .size = sizeof(peer.storage) };
                int fd;

                fd = accept4(l->fd, (struct sockaddr *) &peer.storage, &peer.size, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd >= 0) {
                        if (l->local)
                                peer.storage.ss_family = AF_UNIX;
                        *ret_fd = fd;
                        *ret_peer = peer;
                        return 0;
                }
                switch (errno) {
                case EAGAIN:
                        return -EAGAIN;
                case EMFILE:
                case ENFILE:
                case ENOBUFS:
                case ENOMEM:
                        return -EMFILE;
                default:
                        /* The peer has gone already, or what accept(2) calls pending network errors: its loss. */
                        continue;
                }
        }
}
