/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A and B exchange small calls; C and D do the same. First nothing else happens, then a large file moves from A to B, with the
 * same two handles as the calls. The two pairs call by turns, so that neither is what slows the other down. The file is a hole in
 * memory (memfd_create(2)): no disk is measured, and no page of it is ever there.
 *
 * With few processors the sender, the receiver and the service leave little of them to the two others. What that alone costs
 * shows the control: bytes move between two unrelated processes, through a bare relay, and the service has only the calls. What
 * it costs that one process serves all show calls between two programs at that relay, without the library and the service. */

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/bench-library-control.h"
#include "bench/bench-library-peer.h"
#include "bench/bench-library.h"
#include "bench/figures.h"

#define CALL_USEC (UINT64_C(30) * 1000 * 1000)

enum {
        CALL_SIZE = 64,
        CONTROL_SLICES = 2, /* of each pair */
        FEW_CALLS = 100, /* with less than so many there is no p99 */
};

typedef enum PairIndex { PAIR_SAME, PAIR_OTHER, _PAIR_N, PAIR_RELAY = _PAIR_N, _ROW_N } PairIndex;
typedef enum Phase { PHASE_IDLE, PHASE_CONTROL, PHASE_MOVING, _PHASE_N } Phase;

static const struct {
        const char *name;
        double ratio_max; /* the goal for a call while the file moves / idle */
} pairs[_ROW_N] = {
        [PAIR_SAME] = { "the same two (A, B)", 10 },
        [PAIR_OTHER] = { "two others (C, D)", 2 },
        [PAIR_RELAY] = { "two at the relay", 0 }, /* not of ours: what is there to compare with */
};

typedef struct Four {
        Child service;
        Peer peers[2 * _PAIR_N]; /* who calls, and who answers, of each pair */
        atomic_bool *moving;
} Four;

typedef struct Figures {
        double p50[_PHASE_N][_ROW_N][ROUNDS_MAX], p99[_PHASE_N][_ROW_N][ROUNDS_MAX]; /* usec */
        double mean[_PHASE_N][_ROW_N][ROUNDS_MAX];
        uint64_t n_calls[_PHASE_N][_ROW_N];
        double mib_per_sec[ROUNDS_MAX];
} Figures;

/* A's and C's process */
static int task_call(PeerSelf *self, const PeerOrder *order) {
        static const uint8_t data[CALL_SIZE];
        atomic_bool *moving = self->shared;
        uint64_t begin = peer_now_nsec(), end = begin + order->duration_nsec;
        int r = 0;

        while (r >= 0 && begin < end && (!order->while_moving || atomic_load(moving))) {
                DirectMessage *reply = NULL;

                r = direct_call(self->client, order->targets[0], 0, data, sizeof(data), CALL_USEC, &reply);
                if (r < 0)
                        break;
                histogram_add(&self->figures->round_trips, peer_now_nsec() - begin);
                direct_message_free(reply);
                r = self_turn(self, 0);
                begin = peer_now_nsec();
        }
        return r;
}

static void on_file_sent(DirectClient *client, int result, void *userdata) {
        PeerSelf *self = userdata;

        self->file_result = result;
}

/* A's: begins; what is said of the end, it keeps */
static int task_send_file(PeerSelf *self, const PeerOrder *order) {
        int fd, r;

        fd = memfd_create("file", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = ftruncate(fd, (off_t) order->size) < 0 ? -errno : 0;
        self->file_result = 1;
        if (r >= 0)
                r = direct_send_fd(self->client, order->targets[0], 0, fd, order->size, on_file_sent, self);
        close(fd);
        return r;
}

static int task_end_file(PeerSelf *self, const PeerOrder *order) {
        int r = 0;

        while (r >= 0 && self->file_result > 0)
                r = self_turn(self, DIRECT_FOREVER);
        return r < 0 ? r : self->file_result;
}

/* B's: says when the last part has come */
static int task_take_file(PeerSelf *self, const PeerOrder *order) {
        int r = 0;

        while (r >= 0 && !self->saw_end)
                r = self_turn(self, DIRECT_FOREVER);
        self->saw_end = false;
        atomic_store((atomic_bool *) self->shared, false);
        return r;
}

static void four_close(Four *f) {
        for (size_t i = 0; i < 2 * _PAIR_N; i++)
                peer_stop(&f->peers[i]);
        child_stop(&f->service);
        if (f->moving)
                munmap(f->moving, sizeof(*f->moving));
}

static int four_open(Four *f, const Options *options) {
        char address[CHILD_ADDRESS_MAX];
        int r;

        *f = (Four) { .service = CHILD_NULL };
        for (size_t i = 0; i < 2 * _PAIR_N; i++)
                f->peers[i] = PEER_NULL;
        f->moving = peer_share(sizeof(*f->moving));
        if (!f->moving)
                return -ENOMEM;
        r = child_start_service(options->service, CHILD_NO_PINGS, &f->service);
        if (r >= 0)
                r = child_get_address(&f->service, false, address);
        for (size_t i = 0; r >= 0 && i < 2 * _PAIR_N; i++)
                r = peer_start(address, 0, f->moving, &f->peers[i]);
        return r;
}

static int four_call(Four *f, PairIndex pair, unsigned duration_ms, bool while_moving, Histogram *h) {
        PeerOrder order = {
                .task = task_call,
                .targets = { f->peers[2 * pair + 1].figures->id },
                .duration_nsec = duration_ms * UINT64_C(1000000),
                .while_moving = while_moving,
        };
        int r;

        r = peer_do(&f->peers[2 * pair], &order);
        if (r >= 0)
                histogram_merge(h, &f->peers[2 * pair].figures->round_trips);
        return r;
}

/* Both pairs call by turns until the file is there. */
static int four_move(Four *f, const Options *options, Histogram h[_PAIR_N], double *ret_mib_per_sec) {
        Peer *a = &f->peers[0], *b = &f->peers[1];
        PeerOrder order = { .task = task_send_file, .targets = { b->figures->id }, .size = (uint64_t) options->file_mib << 20 };
        uint64_t begin;
        int r;

        atomic_store(f->moving, true);
        r = peer_order(b, &(PeerOrder) { .task = task_take_file });
        begin = peer_now_nsec();
        if (r >= 0)
                r = peer_do(a, &order);
        for (unsigned i = 0; r >= 0 && atomic_load(f->moving); i++)
                r = four_call(f, i % _PAIR_N, options->slice_ms, true, &h[i % _PAIR_N]);
        if (r >= 0)
                r = peer_wait(b, 0);
        *ret_mib_per_sec = options->file_mib * 1e9 / (double) (peer_now_nsec() - begin);
        return r < 0 ? r : peer_do(a, &(PeerOrder) { .task = task_end_file });
}

static int control_measure(Control *c, Four *f, const Options *options, Histogram h[_PHASE_N][_ROW_N]) {
        int r;

        r = control_call(c, options->slice_ms, &h[PHASE_IDLE][PAIR_RELAY]);
        if (r >= 0)
                r = control_move(c);
        for (unsigned i = 0; r >= 0 && i < CONTROL_SLICES; i++) {
                for (PairIndex pair = 0; r >= 0 && pair < _PAIR_N; pair++)
                        r = four_call(f, pair, options->slice_ms, false, &h[PHASE_CONTROL][pair]);
                if (r >= 0)
                        r = control_call(c, options->slice_ms, &h[PHASE_MOVING][PAIR_RELAY]);
        }
        return r;
}

static int four_control(Four *f, const Options *options, Histogram h[_PHASE_N][_ROW_N]) {
        Control control;
        int r;

        r = control_start(options->relay, &control);
        if (r < 0)
                return r;
        r = control_measure(&control, f, options, h);
        control_stop(&control);
        return r;
}

static int measure_round(Four *f, const Options *options, unsigned round, Figures *figures) {
        static Histogram h[_PHASE_N][_ROW_N];
        int r = 0;

        memset(h, 0, sizeof(h));
        for (PairIndex i = 0; r >= 0 && i < _PAIR_N; i++)
                r = four_call(f, i, options->slice_ms, false, &h[PHASE_IDLE][i]);
        if (r >= 0)
                r = four_control(f, options, h);
        if (r >= 0)
                r = four_move(f, options, h[PHASE_MOVING], &figures->mib_per_sec[round]);
        for (Phase phase = 0; r >= 0 && phase < _PHASE_N; phase++)
                for (PairIndex i = 0; i < _ROW_N; i++) {
                        figures->n_calls[phase][i] += h[phase][i].n;
                        figures->p50[phase][i][round] = (double) histogram_percentile(&h[phase][i], 500) / 1000;
                        figures->mean[phase][i][round] = histogram_mean(&h[phase][i]) / 1000;
                        figures->p99[phase][i][round] = (double) histogram_percentile(&h[phase][i], 990) / 1000;
                }
        return r;
}

static int measure(Four *f, const Options *options, Figures *figures) {
        static Histogram warm_up;
        int r = 0;

        for (PairIndex i = 0; r >= 0 && i < _PAIR_N; i++)
                r = four_call(f, i, WARM_UP_MS, false, &warm_up);
        for (unsigned round = 0; r >= 0 && round < options->n_rounds; round++)
                r = measure_round(f, options, round, figures);
        return r;
}

static Spread ratio_of(const double *values, const double *idle, unsigned n) {
        double ratios[ROUNDS_MAX];

        for (unsigned i = 0; i < n; i++)
                ratios[i] = values[i] / idle[i];
        return spread_of(ratios, n);
}

static void print_ratio(const double *values, const double *base, unsigned n) {
        Spread ratio = ratio_of(values, base, n);

        printf(" %7.1f [%5.1f ..%5.1f]", ratio.median, ratio.low, ratio.high);
}

static void print_figures(const char *what, double values[_PHASE_N][_ROW_N][ROUNDS_MAX], PairIndex pair, unsigned n) {
        const double *idle = values[PHASE_IDLE][pair], *control = values[PHASE_CONTROL][pair];
        const double *moving = values[PHASE_MOVING][pair];
        double figures[_PHASE_N][ROUNDS_MAX];

        for (Phase i = 0; i < _PHASE_N; i++)
                memcpy(figures[i], values[i][pair], sizeof(figures[i]));
        printf("%-20s %-6s %8.1f %8.1f", pairs[pair].name, what, spread_of(figures[PHASE_IDLE], n).median,
               spread_of(figures[PHASE_MOVING], n).median);
        print_ratio(moving, idle, n);
        if (pair < _PAIR_N) {
                printf(" %8.1f", spread_of(figures[PHASE_CONTROL], n).median);
                print_ratio(control, idle, n);
                print_ratio(moving, control, n);
        }
        putchar('\n');
}

static bool print_verdicts(Figures *f, PairIndex i, unsigned n) {
        double ratio = ratio_of(f->p50[PHASE_MOVING][i], f->p50[PHASE_IDLE][i], n).median;
        double of_control = ratio_of(f->mean[PHASE_MOVING][i], f->mean[PHASE_CONTROL][i], n).median;
        bool holds = ratio < pairs[i].ratio_max, holds_too = of_control < pairs[i].ratio_max;

        printf("%s: the median of %" PRIu64 " calls is %.1f of idle, less than %.0f: %s%s\n", pairs[i].name,
               f->n_calls[PHASE_MOVING][i], ratio, pairs[i].ratio_max, holds ? "holds" : "MISSED",
               f->n_calls[PHASE_MOVING][i] < FEW_CALLS * n ? " (few calls)" : "");
        printf("%s: their mean is %.1f of the control, less than %.0f: %s\n", pairs[i].name, of_control, pairs[i].ratio_max,
               holds_too ? "holds" : "MISSED");
        return holds && holds_too;
}

static bool print(const Options *options, Figures *f) {
        unsigned n = options->n_rounds;
        Spread speed = spread_of(f->mib_per_sec, n);
        bool all = true;

        printf("latency: calls of %d bytes, while a file of %u MiB moves from A to B. %u rounds, calls in slices of %u ms.\n"
               "Round trips in us; the ratio of each round, median and quartiles. Control: as many bytes as it takes move\n"
               "through a bare relay instead, between two processes that have nothing to do with the service. The last three\n"
               "rows: calls between two programs at that relay.\n"
               "The file moved with %.0f [%.0f .. %.0f] MiB/s.\n\n",
               CALL_SIZE, options->file_mib, n, options->slice_ms, speed.median, speed.low, speed.high);
        printf("%-27s %8s %8s %23s %8s %23s %23s\n", "", "idle", "moving", "moving / idle", "control", "control / idle",
               "moving / control");
        for (PairIndex i = 0; i < _ROW_N; i++) {
                print_figures("median", f->p50, i, n);
                print_figures("p99", f->p99, i, n);
                print_figures("mean", f->mean, i, n);
        }
        for (PairIndex i = 0; i < _PAIR_N; i++)
                all = print_verdicts(f, i, n) && all;
        fflush(stdout);
        return all;
}

int latency_measure(const Options *options) {
        static Figures figures;
        bool holds = false;
        Four four;
        int r;

        r = four_open(&four, options);
        if (r >= 0)
                r = measure(&four, options, &figures);
        if (r >= 0)
                holds = print(options, &figures);
        else
                library_explain(&four.service);
        four_close(&four);
        return r < 0 ? r : !holds;
}
