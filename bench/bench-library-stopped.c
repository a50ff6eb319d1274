/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Some receivers, each with a few messages on their way to it, which it sends back. One of them is stopped (SIGSTOP), and those
 * who send to it then have much more for it than anybody but themselves may hold. What do the others notice? With a sender for
 * each receiver, with one sender for all, and with as many senders, each to all. When the stopped one goes on, it must get
 * everything, once and in order, and all senders must be told that it has. "Otherwise" is the time before and after the stop, in
 * the same round. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench-library-peer.h"
#include "bench/bench-library-window.h"
#include "bench/bench-library.h"
#include "bench/figures.h"

/* While one is stopped / otherwise */
#define RATE_GOAL 0.9
#define P99_GOAL 2.0

enum {
        DEEP_WINDOW = 24576, /* 24 MiB: more than the kernel and the service hold on the way to a program that does not read */
        STOPPED = 0,         /* which of the receivers */

        /* What is said of the memory of each process, beyond what it has before the stop */
        OUTBOX_HIGH_KIB = 4096,    /* OutboxHighWater= by default, and … */
        SENDER_SHARE_KIB = 512,    /* … four times InitialCredit= for each sender, and … */
        READ_KIB = 128,            /* … what was read from it at once: directserver.conf(5) */
        SEND_BUFFER_KIB = 4096,    /* by default; */
        HELD_KIB = 4096 + 64,      /* what came in, and one message of the largest size: directclient.h */
        ALLOCATOR_KIB = 1024,      /* what it has not given back, and pages that were used for the first time */
        MESSAGE_BYTES = WINDOW_MESSAGE_SIZE + 256, /* with header and what is to be told of it */
};

typedef enum Phase { PHASE_OTHERWISE, PHASE_STOPPED, _PHASE_N } Phase;
typedef enum Who { WHO_SERVICE, WHO_RECEIVER, WHO_SENDER, WHO_OTHERS, _WHO_N } Who;
typedef enum Shape { SHAPE_PAIRS, SHAPE_ONE, SHAPE_ALL, _SHAPE_N } Shape;

typedef struct Crowd {
        Child service;
        Peer senders[PEER_TARGETS_MAX], receivers[PEER_TARGETS_MAX];
        unsigned n_senders, n_receivers;
        Shape shape;
} Crowd;

typedef struct Figures {
        double rate[_PHASE_N][ROUNDS_MAX];                           /* of all others, round trips/s */
        double p50[_PHASE_N][ROUNDS_MAX], p99[_PHASE_N][ROUNDS_MAX]; /* usec */
        double catch_up_msec[ROUNDS_MAX];
        uint64_t n_held;                 /* messages that the stopped one got late, all rounds */
        uint64_t before_kib[_WHO_N][PEER_TARGETS_MAX * 2], grown_kib[_WHO_N]; /* the largest of each */
        uint64_t n_messages;
} Figures;

/* All of them */

static bool sends_to_stopped(const Crowd *c, unsigned sender) {
        return c->shape != SHAPE_PAIRS || sender == STOPPED;
}

static unsigned crowd_get_deep_window(const Crowd *c) {
        return DEEP_WINDOW / (c->shape == SHAPE_ALL ? c->n_senders : 1);
}

/* All windows fit, so that a full buffer is not what holds the others up; and so do the answers of the one that was stopped. */
static uint64_t crowd_get_send_buffer_kib(const Crowd *c, Who who) {
        uint64_t deep = who == WHO_RECEIVER ? DEEP_WINDOW : who == WHO_SENDER ? crowd_get_deep_window(c) : 0;
        uint64_t kib = deep * MESSAGE_BYTES / 1024 + ALLOCATOR_KIB;

        return kib > SEND_BUFFER_KIB ? kib : SEND_BUFFER_KIB;
}

static Who who_receives(unsigned receiver) {
        return receiver == STOPPED ? WHO_RECEIVER : WHO_OTHERS;
}

static Who who_sends(const Crowd *c, unsigned sender) {
        return sends_to_stopped(c, sender) ? WHO_SENDER : WHO_OTHERS;
}

static void crowd_close(Crowd *c) {
        for (size_t i = 0; i < PEER_TARGETS_MAX; i++) {
                peer_stop(&c->senders[i]);
                peer_stop(&c->receivers[i]);
        }
        child_stop(&c->service);
}

static int crowd_open(Crowd *c, const Options *options, Shape shape, bool local) {
        char address[CHILD_ADDRESS_MAX];
        int r;

        *c = (Crowd) {
                .service = CHILD_NULL,
                .n_senders = shape == SHAPE_ONE ? 1 : options->n_receivers,
                .n_receivers = options->n_receivers,
                .shape = shape,
        };
        for (size_t i = 0; i < PEER_TARGETS_MAX; i++)
                c->senders[i] = c->receivers[i] = PEER_NULL;
        r = child_start_service(options->service, "", &c->service); /* as it is by default */
        if (r >= 0)
                r = child_get_address(&c->service, local, address);
        for (unsigned i = 0; r >= 0 && i < c->n_receivers; i++)
                r = peer_start(address, crowd_get_send_buffer_kib(c, who_receives(i)) * 1024, NULL, &c->receivers[i]);
        for (unsigned i = 0; r >= 0 && i < c->n_senders; i++)
                r = peer_start(address, crowd_get_send_buffer_kib(c, who_sends(c, i)) * 1024, NULL, &c->senders[i]);
        return r;
}

static void crowd_share_out(const Crowd *c, unsigned sender, PeerOrder *order) {
        unsigned first = c->shape == SHAPE_PAIRS ? sender : 0, n = c->shape == SHAPE_PAIRS ? 1 : c->n_receivers;

        order->n_targets = n;
        for (unsigned i = 0; i < n; i++)
                order->targets[i] = c->receivers[first + i].figures->id;
        order->deep = sends_to_stopped(c, sender) ? STOPPED : -1;
}

/* Adds to `h`. */
static int crowd_exchange(Crowd *c, unsigned duration_ms, unsigned deep_window, Histogram *h, double *ret_rate) {
        PeerOrder order = {
                .task = task_window,
                .window = WINDOW_SIZE,
                .deep_window = deep_window,
                .duration_nsec = duration_ms * UINT64_C(1000000),
        };
        uint64_t n_done = 0;
        int r = 0;

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

/* Those of the stopped one first: that is what is timed. Then all others, and the sums are compared. */
static int crowd_drain(Crowd *c, double *ret_catch_up_msec, uint64_t *ret_n) {
        uint64_t begin = peer_now_nsec(), n_sent = 0, n_taken = 0;
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < c->n_senders; i++) {
                r = peer_do(&c->senders[i], &(PeerOrder) { .task = task_drain });
                if (sends_to_stopped(c, i))
                        *ret_catch_up_msec = (double) (peer_now_nsec() - begin) / 1e6;
                n_sent += c->senders[i].figures->n_sent;
        }
        for (unsigned i = 0; i < c->n_receivers; i++)
                n_taken += c->receivers[i].figures->n_taken;
        if (r >= 0 && n_sent != n_taken) {
                fprintf(stderr, "%" PRIu64 " messages were sent and %" PRIu64 " were taken.\n", n_sent, n_taken);
                return -EIO;
        }
        *ret_n = n_sent;
        return r;
}

/* Memory */

typedef void (*MemoryFunction)(Figures *f, Who who, unsigned index, pid_t pid);

static void note_before(Figures *f, Who who, unsigned index, pid_t pid) {
        f->before_kib[who][index] = peer_get_rss_kib(pid);
}

static void note_peak(Figures *f, Who who, unsigned index, pid_t pid) {
        uint64_t peak = peer_get_peak_kib(pid), before = f->before_kib[who][index];

        if (peak > before && peak - before > f->grown_kib[who])
                f->grown_kib[who] = peak - before;
}

static void crowd_note_memory(const Crowd *c, Figures *f, MemoryFunction note) {
        note(f, WHO_SERVICE, 0, c->service.pid);
        for (unsigned i = 0; i < c->n_receivers; i++)
                note(f, who_receives(i), i, c->receivers[i].pid);
        for (unsigned i = 0; i < c->n_senders; i++)
                note(f, who_sends(c, i), PEER_TARGETS_MAX + i, c->senders[i].pid);
}

static uint64_t crowd_get_bound_kib(const Crowd *c, Who who) {
        unsigned n = c->shape == SHAPE_ALL ? c->n_senders : 1;

        if (who == WHO_SERVICE)
                return OUTBOX_HIGH_KIB + n * (SENDER_SHARE_KIB + READ_KIB) + ALLOCATOR_KIB;
        return HELD_KIB + crowd_get_send_buffer_kib(c, who) + ALLOCATOR_KIB;
}

/* Measuring */

static void note_phase(Figures *f, Phase phase, unsigned round, const Histogram *h) {
        f->p50[phase][round] = (double) histogram_percentile(h, 500) / 1000;
        f->p99[phase][round] = (double) histogram_percentile(h, 990) / 1000;
}

static int measure_stop(Crowd *c, const Options *options, unsigned round, Figures *f) {
        static Histogram h;
        Peer *stopped = &c->receivers[STOPPED];
        uint64_t n_taken;
        int r;

        memset(&h, 0, sizeof(h));
        if (kill(stopped->pid, SIGSTOP) < 0)
                return -errno;
        r = crowd_exchange(c, options->stop_ms, crowd_get_deep_window(c), &h, &f->rate[PHASE_STOPPED][round]);
        if (r < 0)
                return r;
        note_phase(f, PHASE_STOPPED, round, &h);
        n_taken = stopped->figures->n_taken;
        if (kill(stopped->pid, SIGCONT) < 0)
                return -errno;
        r = crowd_drain(c, &f->catch_up_msec[round], &f->n_messages);
        f->n_held += stopped->figures->n_taken - n_taken;
        return r;
}

static int measure_round(Crowd *c, const Options *options, unsigned round, Figures *f) {
        static Histogram h;
        double before, after, drain_msec;
        int r;

        memset(&h, 0, sizeof(h));
        r = crowd_exchange(c, options->before_ms, WINDOW_SIZE, &h, &before);
        if (r >= 0)
                r = measure_stop(c, options, round, f);
        if (r >= 0)
                r = crowd_exchange(c, options->before_ms, WINDOW_SIZE, &h, &after);
        if (r >= 0)
                r = crowd_drain(c, &drain_msec, &f->n_messages);
        if (r < 0)
                return r;
        f->rate[PHASE_OTHERWISE][round] = (before + after) / 2;
        note_phase(f, PHASE_OTHERWISE, round, &h);
        return 0;
}

static int measure(Crowd *c, const Options *options, Figures *f) {
        static Histogram h;
        double rate;
        int r;

        r = crowd_exchange(c, WARM_UP_MS, WINDOW_SIZE, &h, &rate);
        crowd_note_memory(c, f, note_before);
        for (unsigned round = 0; r >= 0 && round < options->n_stops; round++)
                r = measure_round(c, options, round, f);
        crowd_note_memory(c, f, note_peak);
        return r;
}

/* Output */

static void print_head(const Options *options) {
        printf("stopped: %u receivers that send back what they get, %d messages of %d bytes on their way for each.\n"
               "One is stopped for %u ms, %d messages are sent to it meanwhile; %u rounds, each with %u ms before and after.\n"
               "Figures of all others, median of the rounds; memory is what a process has grown by, the most of its kind.\n",
               options->n_receivers, WINDOW_SIZE, WINDOW_MESSAGE_SIZE, options->stop_ms, DEEP_WINDOW, options->n_stops,
               options->before_ms);
}

static void print_name(const Options *options, Shape shape, bool local) {
        static const char *const names[_SHAPE_N] = { "senders, one for each", "sender for all", "senders, each to all" };

        printf("\n%u %s, %s\n", shape == SHAPE_ONE ? 1 : options->n_receivers, names[shape], local ? "local socket" : "TCP");
}

static const char *verdict(bool holds, bool *all) {
        *all = *all && holds;
        return holds ? "holds" : "MISSED";
}

static Spread ratio_of(double values[_PHASE_N][ROUNDS_MAX], unsigned n) {
        double ratios[ROUNDS_MAX];

        for (unsigned i = 0; i < n; i++)
                ratios[i] = values[PHASE_STOPPED][i] / values[PHASE_OTHERWISE][i];
        return spread_of(ratios, n);
}

static void print_memory(const Crowd *c, const Figures *f, bool *all) {
        static const char *const whos[_WHO_N] = { "the service", "the stopped one", "its sender", "any other" };

        for (Who i = 0; i < _WHO_N; i++) {
                uint64_t bound = crowd_get_bound_kib(c, i);

                printf("  %-16s grown by %6.1f MiB %27s at most %5.1f: %s\n", whos[i], (double) f->grown_kib[i] / 1024, "",
                       (double) bound / 1024, verdict(f->grown_kib[i] <= bound, all));
        }
}

static bool print(const Crowd *c, const Options *options, Figures *f) {
        unsigned n = options->n_stops;
        Spread rate = ratio_of(f->rate, n), p99 = ratio_of(f->p99, n);
        bool all = true;

        printf("  %-16s %8.0f, otherwise %8.0f: %5.2f [%5.2f .. %5.2f]  at least %3.1f: %s\n", "round trips/s",
               spread_of(f->rate[PHASE_STOPPED], n).median, spread_of(f->rate[PHASE_OTHERWISE], n).median, rate.median, rate.low,
               rate.high, RATE_GOAL, verdict(rate.median >= RATE_GOAL, &all));
        printf("  %-16s %8.1f, otherwise %8.1f: %5.2f [%5.2f .. %5.2f]  at most  %3.1f: %s\n", "p99 us",
               spread_of(f->p99[PHASE_STOPPED], n).median, spread_of(f->p99[PHASE_OTHERWISE], n).median, p99.median, p99.low,
               p99.high, P99_GOAL, verdict(p99.median <= P99_GOAL, &all));
        printf("  %-16s %8.1f, otherwise %8.1f\n", "median us", spread_of(f->p50[PHASE_STOPPED], n).median,
               spread_of(f->p50[PHASE_OTHERWISE], n).median);
        print_memory(c, f, &all);
        printf("  %" PRIu64 " messages, %" PRIu64 " of them to the stopped one when it went on, within %.0f ms:\n"
               "  each once, in order, and its sender knows that it is delivered: holds\n",
               f->n_messages, f->n_held, spread_of(f->catch_up_msec, n).median);
        fflush(stdout);
        return all;
}

static int measure_shape(const Options *options, Shape shape, bool local, bool *all) {
        static Figures figures;
        Crowd crowd;
        int r;

        memset(&figures, 0, sizeof(figures));
        print_name(options, shape, local);
        r = crowd_open(&crowd, options, shape, local);
        if (r >= 0)
                r = measure(&crowd, options, &figures);
        if (r < 0)
                library_explain(&crowd.service);
        else
                *all = print(&crowd, options, &figures) && *all;
        crowd_close(&crowd);
        return r;
}

int stopped_measure(const Options *options) {
        bool all = true;
        int r = 0;

        print_head(options);
        for (Shape shape = 0; r >= 0 && shape < _SHAPE_N; shape++)
                for (int local = options->skips_tcp; r >= 0 && local <= !options->skips_local; local++)
                        r = measure_shape(options, shape, local, &all);
        return r < 0 ? r : all ? 0 : 1;
}
