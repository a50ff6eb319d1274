/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The generator has to cost less than the server that it measures. So it makes no message and looks into none: it sends pieces
 * of a buffer that is full of frames, counts bytes, and has the kernel throw away what arrives (MSG_TRUNC). All sockets are
 * watched edge-triggered, so that the epoll set is never changed. How many messages an end may have sent, `allowed`, grows with
 * what has been received; a run is over when it has stopped growing and all that was sent has arrived. That what arrives is
 * what was sent is looked at once, before (load-open.c). */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bench/load-internal.h"

enum {
        EVENTS_MAX = 256,
        DISCARD_SIZE = 1024 * 1024,
        LOST_MS = 1000,
};

uint64_t load_now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

static uint64_t arrived(const Load *l, const End *e) {
        return e->received / l->delivered_size;
}

/* How many messages an end may have sent by now */
static uint64_t find_allowed(const Load *l, const End *e) {
        if (e->window > 0)
                return arrived(l, e) + (e->leads ? e->window : 0);
        if (!e->leads)
                return 0;
        if (e->peer)
                return arrived(l, e->peer) + l->deep_messages;
        return l->n_received / (l->workload.shape == SHAPE_ALL ? l->n_leaders : l->fan_out) + l->deep_messages;
}

static int send_allowed(Load *l, End *e) {
        uint64_t end = e->allowed * l->sent_size;

        while (e->sent < end) {
                size_t offset = e->sent % (l->sent_size * e->n_cycle), size = l->piece_size + l->sent_size * e->n_cycle - offset;
                ssize_t k;

                if (size > l->piece_size)
                        size = l->piece_size;
                if (size > end - e->sent)
                        size = end - e->sent;
                k = send(e->client.fd, e->piece + offset, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                if (k < 0)
                        return errno == EAGAIN ? 0 : -errno;
                e->sent += (uint64_t) k;
                if ((size_t) k < size)
                        return 0;
        }
        return 0;
}

static int allow(Load *l, End *e) {
        uint64_t allowed;

        if (e->leads && l->stopping)
                return 0;
        allowed = find_allowed(l, e);
        if (allowed <= e->allowed)
                return 0;
        if (e->window == 0 && allowed * l->sent_size < e->sent + l->piece_size)
                return 0; /* deep means large pieces */
        l->n_allowed += allowed - e->allowed;
        e->allowed = allowed;
        if (e->window == 1)
                e->sent_nsec = load_now_nsec();
        return send_allowed(l, e);
}

static void note_round_trip(Load *l, const End *e) {
        if (e->window == 1 && e->leads && arrived(l, e) == e->allowed && l->n_round_trips < ROUND_TRIPS_MAX)
                l->round_trips[l->n_round_trips++] = (uint32_t) (load_now_nsec() - e->sent_nsec);
}

/* Who may send more now that this one has received something */
static int allow_more(Load *l, End *e) {
        int r = 0;

        if (e->window > 0)
                return allow(l, e);
        if (e->peer)
                return allow(l, e->peer);
        for (size_t i = 0; r >= 0 && i < l->n_leaders; i++)
                r = allow(l, &l->ends[i]);
        return r;
}

static int discard(int fd, uint64_t *ret_size) {
        uint64_t size = 0;
        ssize_t k;

        do {
                k = recv(fd, NULL, DISCARD_SIZE, MSG_TRUNC | MSG_DONTWAIT);
                if (k < 0 && errno != EAGAIN)
                        return -errno;
                if (k == 0)
                        return -ECONNRESET;
                size += k > 0 ? (uint64_t) k : 0;
        } while (k == DISCARD_SIZE);
        *ret_size = size;
        return 0;
}

static int receive(Load *l, End *e) {
        uint64_t size, before = arrived(l, e);
        int r;

        r = discard(e->client.receive_fd, &size);
        if (r < 0 || size == 0)
                return r;
        e->received += size;
        if (arrived(l, e) == before)
                return 0;
        l->n_received += arrived(l, e) - before;
        note_round_trip(l, e);
        return allow_more(l, e);
}

/* The lowest bit says which of an end's two sockets it is */
static int dispatch(Load *l, const struct epoll_event *event) {
        End *e = (End *) (event->data.u64 & ~UINT64_C(1));
        bool receives = event->data.u64 & 1;
        int r = 0;

        if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                uint64_t ignored;

                r = receives ? receive(l, e) : discard(e->client.fd, &ignored);
        }
        if (r >= 0 && event->events & EPOLLOUT && (!receives || e->client.fd == e->client.receive_fd))
                r = send_allowed(l, e);
        return r;
}

static bool is_over(const Load *l) {
        return l->stopping && l->n_received == l->n_allowed * l->fan_out;
}

/* Between two runs all that was sent has arrived; what is left over is what the server says now and then. */
static int answer_stray(Load *l, End *e) {
        uint64_t n = e->received % l->delivered_size;

        if (n == 0 || !l->target->stray)
                return 0;
        e->received -= n;
        return target_send(e->client.fd, l->target->stray_answer, strlen(l->target->stray_answer));
}

/* Nothing moves any more: what has not arrived will not. All begin from here as if it had. */
static void forgive(Load *l) {
        uint64_t expected;

        for (size_t i = 0; i < l->n_ends; i++) {
                End *e = &l->ends[i];

                if (e->peer)
                        expected = e->peer->sent / l->sent_size;
                else if (l->workload.shape == SHAPE_BROADCAST)
                        expected = i == 0 ? 0 : l->ends[0].sent / l->sent_size;
                else
                        expected = arrived(l, e);
                if (expected <= arrived(l, e))
                        continue;
                l->n_lost += expected - arrived(l, e);
                l->n_received += expected - arrived(l, e);
                e->received = expected * l->delivered_size;
        }
        if (l->workload.shape == SHAPE_ALL && l->n_allowed > l->n_received) {
                l->n_lost += l->n_allowed - l->n_received;
                l->n_received = l->n_allowed;
        }
}

static bool all_sent(const Load *l) {
        uint64_t sent = 0;

        for (size_t i = 0; i < l->n_ends; i++)
                sent += l->ends[i].sent / l->sent_size;
        return sent == l->n_allowed;
}

/* Nothing has come for a while. 0 if that is a loss that can be gone on from. */
static int settle_loss(Load *l) {
        int r = 0;

        if (!all_sent(l))
                return -ETIMEDOUT; /* the server reads no more */
        forgive(l);
        for (size_t i = 0; r >= 0 && !is_over(l) && i < l->n_ends; i++)
                r = allow(l, &l->ends[i]);
        return r;
}

static int wait_for_events(const Load *l, struct epoll_event events[static EVENTS_MAX]) {
        uint64_t end = l->workload.spin_usec > 0 ? load_now_nsec() + (uint64_t) l->workload.spin_usec * 1000 : 0;
        int n = 0;

        while (n == 0 && end > 0 && load_now_nsec() < end)
                n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, 0);
        return n == 0 ? epoll_wait(l->epoll_fd, events, EVENTS_MAX, LOST_MS) : n;
}

static int turn(Load *l, uint64_t end, unsigned *n_silent) {
        struct epoll_event events[EVENTS_MAX];
        int n, r = 0;

        n = wait_for_events(l, events);
        if (n < 0 && errno != EINTR)
                return -errno;
        for (int i = 0; r >= 0 && i < n; i++)
                r = dispatch(l, &events[i]);
        l->stopping = load_now_nsec() >= end;
        *n_silent = n == 0 ? *n_silent + 1 : 0;
        if (*n_silent == 0 || *n_silent < (all_sent(l) ? l->patience : PATIENCE_SEC))
                return r;
        l->silent_nsec += (uint64_t) LOST_MS * 1000000 * *n_silent;
        *n_silent = 0;
        return settle_loss(l);
}

int load_run(Load *l, uint64_t duration_nsec, LoadFigures *ret_figures) {
        uint64_t begin = load_now_nsec(), before = l->n_received, lost_before = l->n_lost;
        unsigned n_silent = 0;
        int r = 0;

        l->stopping = false;
        l->n_round_trips = 0;
        l->silent_nsec = 0;
        for (size_t i = 0; r >= 0 && i < l->n_ends; i++)
                r = answer_stray(l, &l->ends[i]);
        for (size_t i = 0; r >= 0 && i < l->n_ends; i++)
                if (l->ends[i].leads)
                        r = allow(l, &l->ends[i]);
        while (r >= 0 && !is_over(l))
                r = turn(l, begin + duration_nsec, &n_silent);
        if (r < 0)
                return r;
        *ret_figures = (LoadFigures) {
                .messages = l->n_received - before - (l->n_lost - lost_before),
                .lost = l->n_lost - lost_before,
                .elapsed_nsec = load_now_nsec() - begin - l->silent_nsec,
                .round_trips_nsec = l->round_trips,
                .n_round_trips = l->n_round_trips,
        };
        return 0;
}
