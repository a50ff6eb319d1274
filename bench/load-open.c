/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Builds a load: who its clients are, what they send, and how much of it is on its way. Each way is tried once, and what
 * arrives is compared with what has to, byte by byte, because while something is measured it is only counted. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load-internal.h"

enum {
        /* Deep: what may be on its way for one receiver. It stays below what the kernel gives all sockets together, and below
         * what is kept for a receiver that is not slow. */
        DEEP_SIZE = 256 * 1024,
        DEEP_TOTAL = 32 * 1024 * 1024,

        /* One send */
        PIECE_SIZE = 128 * 1024,
        PIECE_MIN = 16 * 1024,
        PIECES_TOTAL = 8 * 1024 * 1024, /* stays in the caches: a sender has just made what it sends */

        VERIFY_MAX = 16 * 1024, /* fits into any socket's buffers, so that nobody has to read meanwhile */
        PATIENCE_DROPS_SEC = 1,           /* with servers that are known to drop */
        PATIENCE_DROPS_MAX = 1024 * 1024, /* and messages that they do not take longer than that for, themselves */
};

void load_put_message(const Target *target, TargetPut *put, Out *o, const Client *from, const Client *to, uint64_t size) {
        uint64_t max = target->message_max ? target->message_max : size;

        while (size > max) {
                put(o, from, to, max);
                size -= max;
        }
        put(o, from, to, size);
}

static uint64_t at_most(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

static uint64_t at_least(uint64_t a, uint64_t b) {
        return a > b ? a : b;
}

/* The k-th receiver of what an end sends; NULL for all */
static const Client *find_receiver(const Load *l, const End *e, size_t k) {
        if (l->workload.shape == SHAPE_BROADCAST)
                return NULL;
        if (e->peer)
                return &e->peer->client;
        return &l->ends[l->n_leaders + ((size_t) (e - l->ends) + k) % l->workload.n].client;
}

static void plan_pairs(Load *l) {
        const Workload *w = &l->workload;

        for (size_t i = 0; i < l->n_ends; i++) {
                End *e = &l->ends[i];

                e->peer = &l->ends[i ^ 1];
                e->leads = i % 2 == 0;
                e->window = w->shape == SHAPE_BUSY ? i < 2 : w->window;
                e->client.sends = e->leads || e->window > 0;
                e->client.receives = !e->leads || e->window > 0;
        }
}

static void plan_ends(Load *l) {
        for (size_t i = 0; i < l->n_ends; i++) {
                l->ends[i].client = CLIENT_NULL;
                l->ends[i].client.index = (uint32_t) i;
                l->ends[i].n_cycle = l->workload.shape == SHAPE_ALL ? l->workload.n : 1;
                l->ends[i].leads = i < l->n_leaders;
                l->ends[i].client.sends = i < l->n_leaders;
                l->ends[i].client.receives = i >= l->n_leaders;
        }
        if (l->workload.shape == SHAPE_PAIRS || l->workload.shape == SHAPE_BUSY)
                plan_pairs(l);
}

static void choose_sizes(Load *l) {
        const Workload *w = &l->workload;
        const Client *from = &l->ends[0].client, *to = find_receiver(l, &l->ends[0], 0);
        Out sent = {}, delivered = {};
        size_t n_senders = w->shape == SHAPE_BROADCAST ? 1 : w->n;
        uint64_t deep, frame, piece;

        load_put_message(l->target, l->target->put_sent, &sent, from, to, w->size);
        load_put_message(l->target, l->target->put_delivered, &delivered, from, to, w->size);
        l->sent_size = sent.size;
        l->delivered_size = delivered.size;
        frame = at_least(sent.size, delivered.size);
        deep = at_least(at_most(DEEP_TOTAL / w->n, DEEP_SIZE) / frame, 2);
        if (l->target->in_flight_max > 0)
                deep = at_most(deep, l->target->in_flight_max);
        if (l->target->in_flight_total > 0)
                deep = at_most(deep, l->target->in_flight_total / w->n);
        l->deep_messages = deep;
        piece = at_least(at_most(PIECES_TOTAL / n_senders, PIECE_SIZE), PIECE_MIN);
        l->piece_size = sent.size * at_least(at_most(piece / sent.size, deep / 2), 1);
        l->patience = l->target->drops && w->size <= PATIENCE_DROPS_MAX ? PATIENCE_DROPS_SEC : PATIENCE_SEC;
}

static int open_ends(Load *l, const Server *server) {
        TargetSubject subject = l->workload.shape == SHAPE_BROADCAST ? TARGET_ALL : TARGET_ONE;
        uint32_t n_receivers = 0;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < l->n_ends; i++)
                r = l->target->open(&l->ends[i].client, server);
        for (size_t i = 0; r >= 0 && i < l->n_ends; i++)
                if (l->ends[i].client.receives) {
                        r = l->target->subscribe(&l->ends[i].client, subject);
                        n_receivers++;
                }
        for (size_t i = 0; l->target->settle && r >= 0 && i < l->n_ends; i++)
                if (l->ends[i].client.sends)
                        r = l->target->settle(&l->ends[i].client, subject, n_receivers);
        return r;
}

static int make_piece(Load *l, End *e) {
        size_t n = l->piece_size / l->sent_size + e->n_cycle;
        Out o = {};

        e->piece = malloc(n * l->sent_size);
        if (!e->piece)
                return -ENOMEM;
        o.data = e->piece;
        for (size_t k = 0; k < n; k++)
                load_put_message(l->target, l->target->put_sent, &o, &e->client, find_receiver(l, e, k), l->workload.size);
        return o.size == n * l->sent_size ? 0 : -EPROTO; /* all have one size, or counting is in vain */
}

/* Looks behind what the server may say at any time */
static int skip_stray(const Load *l, int fd) {
        size_t n = l->target->stray ? strlen(l->target->stray) : 0;
        char data[16];

        if (n > 0 && recv(fd, data, n, MSG_PEEK | MSG_WAITALL) == (ssize_t) n && memcmp(data, l->target->stray, n) == 0)
                return target_receive(fd, data, n);
        return 0;
}

static int expect(const Load *l, const Out *message, const Client *to) {
        uint8_t *data;
        int r;

        data = malloc(message->size);
        if (!data)
                return -ENOMEM;
        r = skip_stray(l, to->receive_fd);
        if (r >= 0)
                r = target_receive(to->receive_fd, data, message->size);
        if (r >= 0 && memcmp(data, message->data, message->size) != 0)
                r = -EPROTO;
        free(data);
        return r;
}

static int verify_to(const Load *l, const End *e, const Client *to, uint8_t *buffer) {
        size_t size = at_most(l->workload.size, VERIFY_MAX);
        Out o = { .data = buffer };
        int r = 0;

        l->target->put_sent(&o, &e->client, to, size);
        r = target_send(e->client.fd, o.data, o.size);
        o.size = 0;
        l->target->put_delivered(&o, &e->client, to, size);
        if (to)
                return r < 0 ? r : expect(l, &o, to);
        for (size_t i = 0; r >= 0 && i < l->n_ends; i++)
                if (l->ends[i].client.receives)
                        r = expect(l, &o, &l->ends[i].client);
        return r;
}

static int verify(const Load *l) {
        uint8_t *buffer;
        int r = 0;

        buffer = malloc(2 * VERIFY_MAX);
        if (!buffer)
                return -ENOMEM;
        for (size_t i = 0; r >= 0 && i < l->n_ends; i++)
                if (l->ends[i].client.sends)
                        r = verify_to(l, &l->ends[i], find_receiver(l, &l->ends[i], 0), buffer);
        free(buffer);
        return r;
}

static int watch(Load *l, End *e) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u64 = (uint64_t) (uintptr_t) e | 1 };

        if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, e->client.receive_fd, &event) < 0)
                return -errno;
        if (e->client.fd == e->client.receive_fd)
                return 0;
        event.data.u64 &= ~UINT64_C(1);
        return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, e->client.fd, &event) < 0 ? -errno : 0;
}

static int prepare(Load *l, const Server *server) {
        int r;

        choose_sizes(l);
        r = open_ends(l, server);
        if (r >= 0)
                r = verify(l);
        for (size_t i = 0; r >= 0 && i < l->n_ends; i++) {
                End *e = &l->ends[i];

                if (e->client.sends)
                        r = make_piece(l, e);
                if (r >= 0)
                        r = watch(l, e);
        }
        return r;
}

static void cleanup_load(Load **l) {
        load_free(*l);
}

int load_new(const Target *target, const Server *server, const Workload *w, Load **ret_load) {
        __attribute__((cleanup(cleanup_load))) Load *l = NULL;
        bool few_lead = w->shape == SHAPE_BROADCAST;
        int r;

        l = calloc(1, sizeof(*l));
        if (!l)
                return -ENOMEM;
        l->target = target;
        l->workload = *w;
        l->fan_out = few_lead ? w->n : 1;
        l->n_leaders = few_lead ? 1 : w->n;
        l->n_ends = few_lead ? 1 + (size_t) w->n : 2 * ((size_t) w->n + (w->shape == SHAPE_BUSY));
        l->ends = calloc(l->n_ends, sizeof(*l->ends));
        if (l->ends)
                plan_ends(l);
        l->round_trips = calloc(ROUND_TRIPS_MAX, sizeof(*l->round_trips));
        l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (l->epoll_fd < 0)
                return -errno;
        if (!l->ends || !l->round_trips)
                return -ENOMEM;
        r = prepare(l, server);
        if (r < 0)
                return r;
        *ret_load = l;
        l = NULL;
        return 0;
}

Load *load_free(Load *l) {
        if (!l)
                return NULL;
        for (size_t i = 0; l->ends && i < l->n_ends; i++) {
                Client *c = &l->ends[i].client;

                if (c->receive_fd >= 0 && c->receive_fd != c->fd)
                        close(c->receive_fd);
                if (c->fd >= 0)
                        close(c->fd);
                free(l->ends[i].piece);
        }
        if (l->epoll_fd >= 0)
                close(l->epoll_fd);
        free(l->ends);
        free(l->round_trips);
        free(l);
        return NULL;
}
