/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The bare relay: what any program that passes bytes between sockets has to pay. It pairs connections in the order in which
 * they come (the first with the second, …), or passes what one sends to all others (--broadcast); who connects is greeted
 * with a byte, if asked (--greet), so that a load knows when it is known; it looks for a while before it sleeps, if asked
 * (--spin). For each ready socket it makes one recv into a buffer that all share and one send for each target, of the service's
 * usual sizes. It parses nothing, counts nothing, and looks at no clock.
 * What a target does not take is kept, and its source is not read from meanwhile: so memory is bounded here as well. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/listen.h"

enum {
        EVENTS_MAX = 256,         /* as the service's data plane */
        READ_SIZE = 128 * 1024,   /* as LINK_READ_SIZE_USUAL */
        CONNECTIONS_MAX = 16384,
        SPIN_LOOKS = 64,          /* take some 50 us, as SpinUSec=50 */
};

typedef struct End End;

struct End {
        int fd;
        uint32_t mask;
        uint32_t n_behind; /* targets that have not taken all that this one has sent */
        End *source;       /* whose bytes are in `rest` */
        uint8_t *rest;
        size_t begin, n_rest;
};

typedef struct Relay {
        int listen_fd;
        int epoll_fd;
        bool broadcast, greet, spin;
        End *ends;
        size_t n_ends;
        uint8_t buffer[READ_SIZE];
} Relay;

static void update(Relay *r, End *e) {
        struct epoll_event event = {
                .events = (e->n_behind == 0 ? EPOLLIN : 0) | (e->n_rest > 0 ? EPOLLOUT : 0),
                .data.ptr = e,
        };

        if (e->fd < 0 || event.events == e->mask)
                return;
        epoll_ctl(r->epoll_fd, EPOLL_CTL_MOD, e->fd, &event);
        e->mask = event.events;
}

static void accept_end(Relay *r) {
        struct epoll_event event = { .events = EPOLLIN };
        int fd, on = 1;
        End *e;

        while (r->n_ends < CONNECTIONS_MAX && (fd = accept4(r->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                e = &r->ends[r->n_ends++];
                *e = (End) { .fd = fd, .mask = EPOLLIN };
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                event.data.ptr = e;
                epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event);
                if (r->greet)
                        send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
}

static void forget_rest(Relay *r, End *e) {
        if (e->n_rest == 0)
                return;
        free(e->rest);
        e->rest = NULL;
        e->n_rest = 0;
        e->source->n_behind--;
        update(r, e->source);
}

static void close_end(Relay *r, End *e) {
        close(e->fd);
        e->fd = -1;
        forget_rest(r, e);
}

static void deliver(Relay *r, End *from, End *to, const uint8_t *data, size_t size) {
        ssize_t k;

        if (to->fd < 0)
                return;
        k = send(to->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN)
                return; /* its end comes as an event */
        if (k < 0)
                k = 0;
        if ((size_t) k == size)
                return;
        to->n_rest = size - (size_t) k;
        to->begin = 0;
        to->rest = malloc(to->n_rest);
        if (!to->rest)
                abort();
        memcpy(to->rest, data + k, to->n_rest);
        to->source = from;
        from->n_behind++;
        update(r, to);
}

static void deliver_rest(Relay *r, End *e) {
        ssize_t k;

        k = send(e->fd, e->rest + e->begin, e->n_rest, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (k < 0)
                return;
        if ((size_t) k == e->n_rest)
                forget_rest(r, e);
        else {
                e->begin += (size_t) k;
                e->n_rest -= (size_t) k;
        }
        update(r, e);
}

static void pass_on(Relay *r, End *from) {
        ssize_t n;

        n = recv(from->fd, r->buffer, sizeof(r->buffer), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                close_end(r, from);
                return;
        }
        if (r->broadcast) {
                for (size_t i = 0; i < r->n_ends; i++)
                        if (&r->ends[i] != from)
                                deliver(r, from, &r->ends[i], r->buffer, (size_t) n);
        } else {
                size_t peer = (size_t) (from - r->ends) ^ 1;

                if (peer < r->n_ends)
                        deliver(r, from, &r->ends[peer], r->buffer, (size_t) n);
        }
        update(r, from);
}

static int run(Relay *r) {
        struct epoll_event events[EVENTS_MAX];
        int n;

        for (;;) {
                n = 0;
                for (unsigned i = 0; r->spin && n == 0 && i < SPIN_LOOKS; i++)
                        n = epoll_wait(r->epoll_fd, events, EVENTS_MAX, 0);
                if (n == 0)
                        n = epoll_wait(r->epoll_fd, events, EVENTS_MAX, -1);
                if (n < 0 && errno != EINTR)
                        return -errno;
                for (int i = 0; i < n; i++) {
                        End *e = events[i].data.ptr;

                        if (!e) {
                                accept_end(r);
                                continue;
                        }
                        if (e->fd >= 0 && e->n_rest > 0 && events[i].events & EPOLLOUT)
                                deliver_rest(r, e);
                        if (e->fd >= 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                                pass_on(r, e);
                }
        }
}

int main(int argc, char **argv) {
        static Relay relay;
        struct epoll_event event = { .events = EPOLLIN };
        uint16_t port = 0;
        int r;

        for (int i = 1; i < argc; i++) {
                relay.broadcast |= strcmp(argv[i], "--broadcast") == 0;
                relay.greet |= strcmp(argv[i], "--greet") == 0;
                relay.spin |= strcmp(argv[i], "--spin") == 0;
        }
        if (argc > 1 + relay.broadcast + relay.greet + relay.spin) {
                fprintf(stderr, "usage: %s [--broadcast] [--greet] [--spin]\n", argv[0]);
                return EXIT_FAILURE;
        }
        relay.ends = calloc(CONNECTIONS_MAX, sizeof(*relay.ends));
        relay.listen_fd = listen_somewhere(&port);
        relay.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!relay.ends || relay.listen_fd < 0 || relay.epoll_fd < 0 ||
            epoll_ctl(relay.epoll_fd, EPOLL_CTL_ADD, relay.listen_fd, &event) < 0) {
                perror("bench-relay");
                return EXIT_FAILURE;
        }
        fprintf(stderr, "Listening on 127.0.0.1:%u\n", port);
        r = run(&relay);
        fprintf(stderr, "bench-relay: epoll_wait: %s\n", strerror(-r));
        return EXIT_FAILURE;
}
