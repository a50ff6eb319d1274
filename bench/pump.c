/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The generator has to cost less than the server that it measures. So it makes no message and looks into none: it sends pieces
 * of a buffer that is full of the same frame, counts bytes, and has the kernel throw away what arrives (MSG_TRUNC). All
 * sockets are watched edge-triggered, so that the epoll set is never changed. What an end may send is a number of bytes,
 * `allowed`, that grows with what has been received; a run is over when it has stopped growing and all that was sent has
 * arrived. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/pump.h"
#include "protocol/wire.h"

enum {
        EVENTS_MAX = 256,
        DISCARD_SIZE = 1024 * 1024,
        ROUND_TRIPS_MAX = 1024 * 1024,
        ARRIVE_MS = 10 * 1000,
        CONNECT_SEC = 10,

        /* Deep: what may be on its way for one receiver. It stays below the credit that a flow has by default, and below what the
         * kernel gives all sockets together. */
        DEEP_SIZE = 256 * 1024,
        DEEP_TOTAL = 32 * 1024 * 1024,

        /* One send */
        PIECE_SIZE = 128 * 1024,
        PIECE_MIN = 16 * 1024,
        PIECES_TOTAL = 8 * 1024 * 1024, /* stays in the caches: a sender has just made what it sends */
};

typedef struct End {
        int fd;
        uint64_t id;
        struct End *peer;
        bool leads;      /* sends first */
        uint8_t *piece;  /* whole frames, and one more, so that a piece may begin anywhere in a frame */
        uint64_t allowed, sent, received;
        uint64_t sent_nsec;
} End;

struct Pump {
        Workload workload;
        size_t frame_size;
        size_t piece_size;
        uint64_t deep_size;
        size_t fan_out;
        bool stopping;
        int epoll_fd;
        End *ends;
        size_t n_ends;
        uint64_t allowed, sent, received; /* of all ends */
        uint32_t *round_trips;
        size_t n_round_trips;
};

uint64_t pump_now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

/* Opening */

static int connect_end(End *e, uint16_t port) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        struct timeval timeout = { .tv_sec = CONNECT_SEC };
        int on = 1;

        e->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (e->fd < 0)
                return -errno;
        setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(e->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        return connect(e->fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
}

static int receive_all(int fd, uint8_t *buffer, size_t size) {
        ssize_t k = recv(fd, buffer, size, MSG_WAITALL);

        return k < 0 ? -errno : (size_t) k == size ? 0 : -ECONNRESET;
}

static int say_hello(End *e) {
        uint8_t frame[WIRE_HELLO_FRAME_MAX];
        WireHello hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION, .version_max = WIRE_VERSION };
        WireHeader header = { .type = WIRE_HELLO };
        WireWelcome welcome;
        int r;

        r = wire_hello_store(&hello, frame + WIRE_HEADER_SIZE, sizeof(frame) - WIRE_HEADER_SIZE);
        if (r < 0)
                return r;
        header.length = (uint32_t) r;
        wire_header_store(frame, &header);
        if (send(e->fd, frame, WIRE_HEADER_SIZE + header.length, MSG_NOSIGNAL) < 0)
                return -errno;
        r = receive_all(e->fd, frame, WIRE_HEADER_SIZE);
        if (r < 0)
                return r;
        wire_header_load(frame, &header);
        if (header.type != WIRE_WELCOME || header.length > sizeof(frame))
                return -EPROTO;
        r = receive_all(e->fd, frame, header.length);
        if (r >= 0)
                r = wire_welcome_parse(frame, header.length, &welcome);
        if (r >= 0)
                e->id = welcome.id;
        return r;
}

static int make_piece(const Pump *p, End *e, uint64_t target) {
        WireHeader header = {
                .length = p->workload.size,
                .type = WIRE_DATA,
                .flags = WIRE_FIRST | WIRE_LAST,
                .target = target,
        };

        e->piece = calloc(1, p->piece_size + p->frame_size);
        if (!e->piece)
                return -ENOMEM;
        for (size_t i = 0; i <= p->piece_size; i += p->frame_size)
                wire_header_store(e->piece + i, &header);
        return 0;
}

static int open_end(Pump *p, size_t i, uint16_t port, bool speaks_direct) {
        End *e = &p->ends[i];
        int r;

        e->leads = p->workload.broadcast ? i == 0 : i % 2 == 0;
        if (!p->workload.broadcast)
                e->peer = &p->ends[i ^ 1];
        r = connect_end(e, port);
        if (r >= 0 && speaks_direct)
                r = say_hello(e);
        return r;
}

static int prepare_end(Pump *p, End *e) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = e };

        if (e->leads || p->workload.window > 0) {
                int r = make_piece(p, e, e->peer ? e->peer->id : WIRE_TARGET_BROADCAST);

                if (r < 0)
                        return r;
        }
        return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, e->fd, &event) < 0 ? -errno : 0;
}

static size_t whole_frames(const Pump *p, uint64_t size) {
        return size - size % p->frame_size;
}

static uint64_t at_most(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

static void choose_sizes(Pump *p) {
        const Workload *w = &p->workload;
        size_t n_senders = w->broadcast ? 1 : w->n;
        uint64_t piece;

        p->frame_size = WIRE_HEADER_SIZE + w->size;
        p->fan_out = w->broadcast ? w->n : 1;
        piece = at_most(PIECES_TOTAL / n_senders, PIECE_SIZE);
        if (piece < PIECE_MIN)
                piece = PIECE_MIN;
        p->piece_size = piece > p->frame_size ? whole_frames(p, piece) : p->frame_size;
        p->deep_size = at_most(DEEP_TOTAL / w->n, DEEP_SIZE);
        if (p->deep_size < 2 * p->piece_size)
                p->deep_size = 2 * p->piece_size;
}

static void cleanup_pump(Pump **p) {
        pump_free(*p);
}

int pump_new(const Workload *workload, uint16_t port, bool speaks_direct, Pump **ret_pump) {
        __attribute__((cleanup(cleanup_pump))) Pump *p = NULL;
        int r = 0;

        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->workload = *workload;
        choose_sizes(p);
        p->n_ends = workload->broadcast ? 1 + (size_t) workload->n : 2 * (size_t) workload->n;
        p->ends = calloc(p->n_ends, sizeof(*p->ends));
        p->round_trips = workload->window == 1 ? calloc(ROUND_TRIPS_MAX, sizeof(*p->round_trips)) : NULL;
        p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (!p->ends || (workload->window == 1 && !p->round_trips))
                return -ENOMEM;
        if (p->epoll_fd < 0)
                return -errno;
        for (size_t i = 0; i < p->n_ends; i++)
                p->ends[i].fd = -1;
        for (size_t i = 0; r >= 0 && i < p->n_ends; i++)
                r = open_end(p, i, port, speaks_direct);
        for (size_t i = 0; r >= 0 && i < p->n_ends; i++)
                r = prepare_end(p, &p->ends[i]);
        if (r < 0)
                return r;
        *ret_pump = p;
        p = NULL;
        return 0;
}

Pump *pump_free(Pump *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; p->ends && i < p->n_ends; i++) {
                if (p->ends[i].fd >= 0)
                        close(p->ends[i].fd);
                free(p->ends[i].piece);
        }
        if (p->epoll_fd >= 0)
                close(p->epoll_fd);
        free(p->ends);
        free(p->round_trips);
        free(p);
        return NULL;
}

/* Running */

/* What an end may have sent by now, in whole frames */
static uint64_t find_allowed(const Pump *p, const End *e) {
        if (p->workload.window > 0)
                return whole_frames(p, e->received) + (e->leads ? p->workload.window * p->frame_size : 0);
        if (!e->leads)
                return 0;
        return whole_frames(p, (e->peer ? e->peer->received : p->received / p->fan_out) + p->deep_size);
}

static int send_allowed(Pump *p, End *e) {
        while (e->sent < e->allowed) {
                size_t size = at_most(e->allowed - e->sent, p->piece_size);
                ssize_t k;

                k = send(e->fd, e->piece + e->sent % p->frame_size, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (k < 0)
                        return errno == EAGAIN ? 0 : -errno;
                e->sent += (uint64_t) k;
                p->sent += (uint64_t) k;
                if ((size_t) k < size)
                        return 0;
        }
        return 0;
}

static int allow(Pump *p, End *e) {
        uint64_t allowed;

        if (e->leads && p->stopping)
                return 0;
        allowed = find_allowed(p, e);
        if (allowed <= e->allowed)
                return 0;
        if (p->workload.window == 0 && allowed < e->sent + p->piece_size)
                return 0; /* deep means large pieces */
        p->allowed += allowed - e->allowed;
        e->allowed = allowed;
        if (p->round_trips)
                e->sent_nsec = pump_now_nsec();
        return send_allowed(p, e);
}

static void note_round_trip(Pump *p, const End *e) {
        if (p->round_trips && e->leads && e->received == e->sent && p->n_round_trips < ROUND_TRIPS_MAX)
                p->round_trips[p->n_round_trips++] = (uint32_t) (pump_now_nsec() - e->sent_nsec);
}

static int receive(Pump *p, End *e) {
        ssize_t k;

        do {
                k = recv(e->fd, NULL, DISCARD_SIZE, MSG_TRUNC | MSG_DONTWAIT);
                if (k < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (k == 0)
                        return -ECONNRESET;
                e->received += (uint64_t) k;
                p->received += (uint64_t) k;
        } while (k == DISCARD_SIZE);
        note_round_trip(p, e);
        return allow(p, p->workload.window > 0 ? e : e->peer ? e->peer : &p->ends[0]);
}

static int dispatch(Pump *p, const struct epoll_event *event) {
        End *e = event->data.ptr;
        int r = 0;

        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                r = receive(p, e);
        if (r >= 0 && event->events & EPOLLOUT)
                r = send_allowed(p, e);
        return r;
}

static bool is_over(const Pump *p) {
        return p->stopping && p->sent == p->allowed && p->received == p->sent * p->fan_out;
}

int pump_run(Pump *p, uint64_t duration_nsec, PumpFigures *ret_figures) {
        uint64_t begin = pump_now_nsec(), end = begin + duration_nsec, before = p->received;
        struct epoll_event events[EVENTS_MAX];
        int r = 0;

        p->stopping = false;
        p->n_round_trips = 0;
        for (size_t i = 0; r >= 0 && i < p->n_ends; i++)
                if (p->ends[i].leads)
                        r = allow(p, &p->ends[i]);
        while (r >= 0 && !is_over(p)) {
                int n;

                n = epoll_wait(p->epoll_fd, events, EVENTS_MAX, ARRIVE_MS);
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n == 0)
                        return -ETIMEDOUT;
                for (int i = 0; r >= 0 && i < n; i++)
                        r = dispatch(p, &events[i]);
                p->stopping = pump_now_nsec() >= end;
        }
        if (r < 0)
                return r;
        *ret_figures = (PumpFigures) {
                .messages = (p->received - before) / p->frame_size,
                .elapsed_nsec = pump_now_nsec() - begin,
                .round_trips_nsec = p->round_trips,
                .n_round_trips = p->n_round_trips,
        };
        return 0;
}
