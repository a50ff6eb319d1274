/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The other bare relay: it does not even read the bytes, but has the kernel move them from socket to pipe to socket (splice).
 * Nothing that looks at messages could be so; it shows where the floor is for large ones. It pairs connections in the order in
 * which they come. While a pipe is not empty, its source is not read from. Who connects is greeted with a byte. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/listen.h"

enum {
        EVENTS_MAX = 256,
        PIPE_SIZE = 1024 * 1024, /* the most that an unprivileged process gets; less costs it more with large messages */
        CONNECTIONS_MAX = 16384,
};

typedef struct End {
        int fd;
        uint32_t mask;
        int pipe[2];  /* what it has sent */
        size_t held;  /* in there */
        struct End *peer;
} End;

static void update(int epoll_fd, End *e) {
        struct epoll_event event = {
                .events = (e->held == 0 ? EPOLLIN : 0) | (e->peer && e->peer->held > 0 ? EPOLLOUT : 0),
                .data.ptr = e,
        };

        if (e->fd < 0 || event.events == e->mask)
                return;
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, e->fd, &event);
        e->mask = event.events;
}

static void accept_ends(int epoll_fd, int listen_fd, End *ends, size_t *n_ends) {
        int fd, on = 1;

        while (*n_ends < CONNECTIONS_MAX && (fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
                End *e = &ends[*n_ends];
                struct epoll_event event = { .events = EPOLLIN, .data.ptr = e };

                *e = (End) { .fd = fd, .mask = EPOLLIN };
                if (pipe2(e->pipe, O_CLOEXEC | O_NONBLOCK) < 0) {
                        close(fd);
                        return;
                }
                (void) fcntl(e->pipe[1], F_SETPIPE_SZ, PIPE_SIZE); /* less does as well */
                if (*n_ends % 2 == 1) {
                        e->peer = e - 1;
                        e->peer->peer = e;
                }
                (*n_ends)++;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
                send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
}

static void push(int epoll_fd, End *from) {
        ssize_t k;

        if (from->held == 0 || !from->peer || from->peer->fd < 0)
                return;
        k = splice(from->pipe[0], NULL, from->peer->fd, NULL, from->held, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (k > 0)
                from->held -= (size_t) k;
        update(epoll_fd, from);
        update(epoll_fd, from->peer);
}

static void pull(int epoll_fd, End *e) {
        ssize_t k;

        k = splice(e->fd, NULL, e->pipe[1], NULL, PIPE_SIZE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (k < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (k <= 0) {
                close(e->fd);
                e->fd = -1;
                return;
        }
        e->held = (size_t) k;
        push(epoll_fd, e);
}

static int run(int epoll_fd, int listen_fd, End *ends) {
        struct epoll_event events[EVENTS_MAX];
        size_t n_ends = 0;

        for (;;) {
                int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

                if (n < 0 && errno != EINTR)
                        return -errno;
                for (int i = 0; i < n; i++) {
                        End *e = events[i].data.ptr;

                        if (!e) {
                                accept_ends(epoll_fd, listen_fd, ends, &n_ends);
                                continue;
                        }
                        if (e->fd >= 0 && e->peer && events[i].events & EPOLLOUT)
                                push(epoll_fd, e->peer);
                        if (e->fd >= 0 && e->held == 0 && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                                pull(epoll_fd, e);
                }
        }
}

int main(void) {
        struct epoll_event event = { .events = EPOLLIN };
        int listen_fd, epoll_fd, r;
        uint16_t port = 0;
        End *ends;

        ends = calloc(CONNECTIONS_MAX, sizeof(*ends));
        listen_fd = listen_somewhere(&port);
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!ends || listen_fd < 0 || epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0) {
                perror("bench-relay-splice");
                return EXIT_FAILURE;
        }
        fprintf(stderr, "Listening on 127.0.0.1:%u\n", port);
        r = run(epoll_fd, listen_fd, ends);
        fprintf(stderr, "bench-relay-splice: epoll_wait: %d\n", -r);
        return EXIT_FAILURE;
}
