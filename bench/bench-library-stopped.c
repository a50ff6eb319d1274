/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Some receivers, each with a few messages on their way to it, which it sends back. One of them is stopped (SIGSTOP), and its
 * sender then sends it much more than anybody but the sender itself may hold. What do the others notice? Once with a sender for
 * each receiver, once with one sender for all. When the stopped one goes on, it must get everything, once and in order. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench-library-peer.h"
#include "bench/bench-library.h"
#include "bench/figures.h"

#define P99_GOAL 2.0 /* while one is stopped / before */

enum {
        MESSAGE_SIZE = 1024,
        WINDOW = 8,
        DEEP_WINDOW = 24576, /* 24 MiB: more than the kernel and the service hold on the way to a program that does not read */
        SEND_BUFFER = 40 * 1024 * 1024, /* all windows fit, so that a full buffer is not what holds the others up */
        STOPPED = 0,                    /* which of the receivers */
};

typedef enum Phase { PHASE_BEFORE, PHASE_STOPPED, _PHASE_N } Phase;
typedef enum Moment { MOMENT_BEFORE, MOMENT_STOPPED, MOMENT_AFTER, _MOMENT_N } Moment;
typedef enum Who { WHO_SERVICE, WHO_RECEIVER, WHO_SENDER, WHO_OTHERS, _WHO_N } Who;

typedef struct Crowd {
        Child service;
        Peer senders[PEER_TARGETS_MAX], receivers[PEER_TARGETS_MAX];
        unsigned n_senders, n_receivers;
} Crowd;

typedef struct Figures {
        double rate[_PHASE_N][ROUNDS_MAX];                           /* of all others, round trips/s */
        double p50[_PHASE_N][ROUNDS_MAX], p99[_PHASE_N][ROUNDS_MAX]; /* usec */
        double catch_up_msec[ROUNDS_MAX];
        uint64_t n_held;                     /* messages that the stopped one got late, all rounds */
        uint64_t rss_kib[_MOMENT_N][_WHO_N]; /* the most of all rounds; of the others the largest */
} Figures;

/* A sender's process */

typedef struct Window {
        PeerOrder order;
        bool is_open;
        uint64_t n_sent[PEER_TARGETS_MAX], n_answered[PEER_TARGETS_MAX];
        uint64_t sent_nsec[PEER_TARGETS_MAX][WINDOW]; /* not of the deep one */
} Window;

typedef struct Message {
        uint32_t target; /* which of the order's */
        uint64_t number;
        uint8_t rest[MESSAGE_SIZE - 16];
} Message;

static int window_fill(PeerSelf *self, Window *w, uint32_t i) {
        bool is_deep = (int32_t) i == w->order.deep;
        unsigned size = is_deep ? w->order.deep_window : w->order.window;
        int r = 0;

        while (r >= 0 && w->is_open && w->n_sent[i] - w->n_answered[i] < size) {
                Message message = { .target = i, .number = w->n_sent[i] };

                w->sent_nsec[i][w->n_sent[i] % WINDOW] = peer_now_nsec();
                r = direct_send(self->client, w->order.targets[i], KIND_ECHO, &message, sizeof(message));
                if (r < 0)
                        break;
                w->n_sent[i]++;
                self->figures->n_sent++;
        }
        return r;
}

static void on_answer(PeerSelf *self, const void *data, size_t size) {
        Window *w = self->state;
        Message message;
        uint32_t i;
        int r;

        memcpy(&message, data, sizeof(message) <= size ? sizeof(message) : size);
        i = message.target;
        if (size != sizeof(message) || i >= w->order.n_targets || message.number != w->n_answered[i]) {
                self->error = -EPROTO; /* lost, doubled, or out of order */
                return;
        }
        if (w->is_open && (int32_t) i != w->order.deep) {
                self->figures->n_done++;
                histogram_add(&self->figures->round_trips, peer_now_nsec() - w->sent_nsec[i][message.number % WINDOW]);
        }
        w->n_answered[i]++;
        r = window_fill(self, w, i);
        if (r < 0)
                self->error = r;
}

/* What has no answer yet has waited for so long already: without this, a standstill would look like no delay at all. */
static void window_close(PeerSelf *self, Window *w) {
        uint64_t now = peer_now_nsec();

        w->is_open = false;
        for (uint32_t i = 0; i < w->order.n_targets; i++)
                for (uint64_t n = w->n_answered[i]; (int32_t) i != w->order.deep && n < w->n_sent[i]; n++)
                        histogram_add(&self->figures->round_trips, now - w->sent_nsec[i][n % WINDOW]);
}

static int task_window(PeerSelf *self, const PeerOrder *order) {
        static Window w;
        uint64_t now = peer_now_nsec(), end = now + order->duration_nsec;
        int r = 0;

        w.order = *order;
        w.is_open = true;
        self->state = &w;
        self->on_answer = on_answer;
        for (uint32_t i = 0; r >= 0 && i < order->n_targets; i++)
                r = window_fill(self, &w, i);
        for (; r >= 0 && now < end; now = peer_now_nsec())
                r = self_turn(self, (end - now) / 1000 + 1);
        window_close(self, &w);
        return r;
}

static int task_drain(PeerSelf *self, const PeerOrder *order) {
        Window *w = self->state;
        int r = 0;

        for (uint32_t i = 0; i < w->order.n_targets; i++)
                while (r >= 0 && w->n_answered[i] < w->n_sent[i])
                        r = self_turn(self, DIRECT_FOREVER);
        return r;
}

/* All of them */

static void crowd_close(Crowd *c) {
        for (size_t i = 0; i < PEER_TARGETS_MAX; i++) {
                peer_stop(&c->senders[i]);
                peer_stop(&c->receivers[i]);
        }
        child_stop(&c->service);
}

static int crowd_open(Crowd *c, const Options *options, unsigned n_senders) {
        int r;

        *c = (Crowd) { .service = CHILD_NULL, .n_senders = n_senders, .n_receivers = options->n_receivers };
        for (size_t i = 0; i < PEER_TARGETS_MAX; i++)
                c->senders[i] = c->receivers[i] = PEER_NULL;
        r = child_start_service(options->service, &c->service);
        for (size_t i = 0; r >= 0 && i < c->n_receivers; i++)
                r = peer_start(c->service.port, SEND_BUFFER, NULL, &c->receivers[i]);
        for (size_t i = 0; r >= 0 && i < c->n_senders; i++)
                r = peer_start(c->service.port, SEND_BUFFER, NULL, &c->senders[i]);
        return r;
}

/* One sender has all receivers, or each its own. */
static void crowd_share_out(const Crowd *c, unsigned sender, PeerOrder *order) {
        unsigned n = c->n_receivers / c->n_senders;

        order->n_targets = n;
        for (unsigned i = 0; i < n; i++)
                order->targets[i] = c->receivers[sender * n + i].figures->id;
        order->deep = sender == 0 ? STOPPED : -1;
}

static int crowd_exchange(Crowd *c, unsigned duration_ms, unsigned deep_window, Histogram *h, double *ret_rate) {
        PeerOrder order = {
                .task = task_window,
                .window = WINDOW,
                .deep_window = deep_window,
                .duration_nsec = duration_ms * UINT64_C(1000000),
        };
        uint64_t n_done = 0;
        int r = 0;

        memset(h, 0, sizeof(*h));
        for (unsigned i = 0; r >= 0 && i < c->n_senders; i++) {
                crowd_share_out(c, i, &order);
                r = peer_order(&c->senders[i], &order);
        }
        for (unsigned i = 0; r >= 0 && i < c->n_senders; i++) {
                r = peer_wait(&c->senders[i], order.duration_nsec);
                n_done += c->senders[i].figures->n_done;
                histogram_merge(h, &c->senders[i].figures->round_trips);
        }
        *ret_rate = (double) n_done * 1000 / duration_ms;
        return r;
}

/* The stopped one's sender first: that is what is timed. Then all others, and the sums are compared. */
static int crowd_drain(Crowd *c, double *ret_catch_up_msec) {
        uint64_t begin = peer_now_nsec(), n_sent = 0, n_taken = 0;
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < c->n_senders; i++) {
                r = peer_do(&c->senders[i], &(PeerOrder) { .task = task_drain });
                if (i == 0)
                        *ret_catch_up_msec = (double) (peer_now_nsec() - begin) / 1e6;
                n_sent += c->senders[i].figures->n_sent;
        }
        for (unsigned i = 0; i < c->n_receivers; i++)
                n_taken += c->receivers[i].figures->n_taken;
        if (r >= 0 && n_sent != n_taken) {
                fprintf(stderr, "%" PRIu64 " messages were sent and %" PRIu64 " were taken.\n", n_sent, n_taken);
                return -EIO;
        }
        return r;
}

static void note_rss(uint64_t *kib, pid_t pid) {
        uint64_t now = peer_get_rss_kib(pid);

        if (now > *kib)
                *kib = now;
}

static void crowd_note_rss(const Crowd *c, uint64_t kib[_WHO_N]) {
        note_rss(&kib[WHO_SERVICE], c->service.pid);
        for (unsigned i = 0; i < c->n_receivers; i++)
                note_rss(&kib[i == STOPPED ? WHO_RECEIVER : WHO_OTHERS], c->receivers[i].pid);
        for (unsigned i = 0; i < c->n_senders; i++)
                note_rss(&kib[i == 0 ? WHO_SENDER : WHO_OTHERS], c->senders[i].pid);
}

/* Measuring */

static void note_phase(Figures *f, Phase phase, unsigned round, const Histogram *h) {
        f->p50[phase][round] = (double) histogram_percentile(h, 500) / 1000;
        f->p99[phase][round] = (double) histogram_percentile(h, 990) / 1000;
}

static int measure_round(Crowd *c, const Options *options, unsigned round, Figures *f) {
        static Histogram h;
        Peer *stopped = &c->receivers[STOPPED];
        uint64_t n_taken;
        int r;

        r = crowd_exchange(c, options->before_ms, WINDOW, &h, &f->rate[PHASE_BEFORE][round]);
        if (r < 0)
                return r;
        note_phase(f, PHASE_BEFORE, round, &h);
        crowd_note_rss(c, f->rss_kib[MOMENT_BEFORE]);
        if (kill(stopped->pid, SIGSTOP) < 0)
                return -errno;
        r = crowd_exchange(c, options->stop_ms, DEEP_WINDOW, &h, &f->rate[PHASE_STOPPED][round]);
        if (r < 0)
                return r;
        note_phase(f, PHASE_STOPPED, round, &h);
        crowd_note_rss(c, f->rss_kib[MOMENT_STOPPED]);
        n_taken = stopped->figures->n_taken;
        if (kill(stopped->pid, SIGCONT) < 0)
                return -errno;
        r = crowd_drain(c, &f->catch_up_msec[round]);
        if (r < 0)
                return r;
        f->n_held += stopped->figures->n_taken - n_taken;
        crowd_note_rss(c, f->rss_kib[MOMENT_AFTER]);
        return 0;
}

static int measure(const Options *options, unsigned n_senders, Figures *f) {
        static Histogram h;
        Crowd crowd;
        double rate;
        int r;

        r = crowd_open(&crowd, options, n_senders);
        if (r >= 0)
                r = crowd_exchange(&crowd, WARM_UP_MS, WINDOW, &h, &rate);
        for (unsigned round = 0; r >= 0 && round < options->n_rounds; round++)
                r = measure_round(&crowd, options, round, f);
        if (r < 0)
                library_explain(&crowd.service);
        crowd_close(&crowd);
        return r;
}

/* Output */

static void print_head(const Options *options) {
        printf("stopped: %u receivers that send back what they get, %d messages of %d bytes on their way for each.\n"
               "One is stopped for %u ms, %d messages are sent to it meanwhile; %u rounds, each with %u ms before.\n"
               "Figures of all others; the ratio of each round, median and quartiles.\n\n",
               options->n_receivers, WINDOW, MESSAGE_SIZE, options->stop_ms, DEEP_WINDOW, options->n_rounds, options->before_ms);
        printf("%-16s %17s %24s %19s %19s %27s %5s %9s %9s\n", "", "round trips/s", "ratio", "median us", "p99 us", "ratio",
               "goal", "then came", "within ms");
        printf("%-16s %8s %8s %24s %9s %9s %9s %9s\n", "", "before", "stopped", "", "before", "stopped", "before", "stopped");
}

static void format_name(const Options *options, unsigned n_senders, char name[static 32]) {
        if (n_senders == 1)
                snprintf(name, 32, "one to %u", options->n_receivers);
        else
                snprintf(name, 32, "%u pairs", n_senders);
}

static Spread ratio_of(double values[_PHASE_N][ROUNDS_MAX], unsigned n) {
        double ratios[ROUNDS_MAX];

        for (unsigned i = 0; i < n; i++)
                ratios[i] = values[PHASE_STOPPED][i] / values[PHASE_BEFORE][i];
        return spread_of(ratios, n);
}

static void print_row(const Options *options, unsigned n_senders, Figures *f) {
        unsigned n = options->n_rounds;
        Spread rate = ratio_of(f->rate, n), p99 = ratio_of(f->p99, n);
        char name[32];

        format_name(options, n_senders, name);
        printf("%-16s %8.0f %8.0f %6.2f [%6.2f ..%6.2f]", name, spread_of(f->rate[PHASE_BEFORE], n).median,
               spread_of(f->rate[PHASE_STOPPED], n).median, rate.median, rate.low, rate.high);
        printf(" %9.1f %9.1f", spread_of(f->p50[PHASE_BEFORE], n).median, spread_of(f->p50[PHASE_STOPPED], n).median);
        printf(" %9.1f %9.1f %9.2f [%6.2f ..%6.2f] %5.1f", spread_of(f->p99[PHASE_BEFORE], n).median,
               spread_of(f->p99[PHASE_STOPPED], n).median, p99.median, p99.low, p99.high, P99_GOAL);
        printf(" %9" PRIu64 " %9.1f\n", f->n_held, spread_of(f->catch_up_msec, n).median);
        fflush(stdout);
}

static void print_rss(const Options *options, unsigned n_senders, Figures *f) {
        static const char *const whos[_WHO_N] = { "the service", "the stopped one", "its sender", "any other" };
        char name[32];

        format_name(options, n_senders, name);
        printf("\n%-16s %26s\n%-16s %8s %8s %8s\n", name, "resident MiB, at most", "", "before", "stopped", "after");
        for (Who i = 0; i < _WHO_N; i++)
                printf("%-16s %8.1f %8.1f %8.1f\n", whos[i], (double) f->rss_kib[MOMENT_BEFORE][i] / 1024,
                       (double) f->rss_kib[MOMENT_STOPPED][i] / 1024, (double) f->rss_kib[MOMENT_AFTER][i] / 1024);
}

int stopped_measure(const Options *options) {
        const unsigned n_senders[] = { options->n_receivers, 1 };
        static Figures figures[sizeof(n_senders) / sizeof(n_senders[0])];
        int r = 0;

        print_head(options);
        for (size_t i = 0; r >= 0 && i < sizeof(n_senders) / sizeof(n_senders[0]); i++) {
                r = measure(options, n_senders[i], &figures[i]);
                if (r >= 0)
                        print_row(options, n_senders[i], &figures[i]);
        }
        for (size_t i = 0; r >= 0 && i < sizeof(n_senders) / sizeof(n_senders[0]); i++)
                print_rss(options, n_senders[i], &figures[i]);
        return r;
}
