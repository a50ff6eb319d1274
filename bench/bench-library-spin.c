/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One program asks the service, or calls another program, again and again, or with a pause between two calls. By turns their
 * waits sleep at once, and look for a while first: those of the caller, and those of both (direct_set_spin()). What a round trip
 * takes then, and what it costs. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/bench-library-peer.h"
#include "bench/bench-library.h"
#include "bench/figures.h"

#define CALL_USEC (UINT64_C(30) * 1000 * 1000)

enum {
        CALL_SIZE = 64,
        SPIN_USEC = 200,   /* a few round trips */
        PAUSE_USEC = 2000, /* much longer than that: a wait that has to sleep */
};

typedef enum Part { PART_CALLER, PART_ANSWERER, PART_SERVICE, _PART_N } Part;
typedef enum Way { WAY_SLEEP, WAY_CALLER, WAY_BOTH, _WAY_N } Way;

static const char *const ways[_WAY_N] = {
        [WAY_SLEEP] = "both sleep at once",
        [WAY_CALLER] = "the caller looks",
        [WAY_BOTH] = "both look",
};

typedef struct Figures {
        double p50[ROUNDS_MAX], p99[ROUNDS_MAX]; /* usec */
        double part_usec[_PART_N][ROUNDS_MAX];   /* of a processor, a call */
} Figures;

typedef struct Pair {
        Child service;
        Peer caller, answerer;
} Pair;

static int call(PeerSelf *self, const PeerOrder *order) {
        static const uint8_t data[CALL_SIZE];
        DirectMessage *reply = NULL;
        int r;

        r = direct_call(self->client, order->targets[0], 0, data, sizeof(data), CALL_USEC, &reply);
        direct_message_free(reply);
        return r;
}

static int ask(PeerSelf *self, const PeerOrder *order) {
        uint64_t id;

        return direct_resolve(self->client, direct_get_name(self->client), CALL_USEC, &id);
}

static int make_round_trips(PeerSelf *self, const PeerOrder *order, PeerTask once) {
        struct timespec pause = { .tv_nsec = order->pause_usec * 1000 };
        uint64_t begin = peer_now_nsec(), end = begin + order->duration_nsec;
        int r;

        r = direct_set_spin(self->client, order->spin_usec);
        while (r >= 0 && begin < end) {
                r = once(self, order);
                if (r < 0)
                        break;
                histogram_add(&self->figures->round_trips, peer_now_nsec() - begin);
                self->figures->n_done++;
                if (order->pause_usec > 0)
                        nanosleep(&pause, NULL);
                begin = peer_now_nsec();
        }
        if (r >= 0)
                r = self_send(self, order->targets[0], KIND_LAST, NULL, 0, false);
        return r < 0 ? r : direct_flush(self->client, CALL_USEC);
}

static int task_call(PeerSelf *self, const PeerOrder *order) {
        return make_round_trips(self, order, call);
}

static int task_ask(PeerSelf *self, const PeerOrder *order) {
        return make_round_trips(self, order, ask);
}

static int task_answer(PeerSelf *self, const PeerOrder *order) {
        int r;

        r = direct_set_spin(self->client, order->spin_usec);
        while (r >= 0 && !self->saw_last)
                r = self_turn(self, DIRECT_FOREVER);
        self->saw_last = false;
        return r;
}

typedef struct Shape {
        const char *name;
        Way way_max;
        uint32_t pause_usec;
        PeerTask task;
} Shape;

static const Shape shapes[] = {
        { "questions", WAY_CALLER, 0, task_ask }, /* between two processes: the service has the answer */
        { "calls", WAY_BOTH, 0, task_call },
        { "with pauses", WAY_BOTH, PAUSE_USEC, task_call },
};

static void pair_close(Pair *p) {
        peer_stop(&p->caller);
        peer_stop(&p->answerer);
        child_stop(&p->service);
}

static int pair_open(Pair *p, const Options *options, bool is_local) {
        char address[CHILD_ADDRESS_MAX];
        int r;

        *p = (Pair) { CHILD_NULL, PEER_NULL, PEER_NULL };
        r = child_start_service(options->service, CHILD_NO_PINGS, &p->service);
        if (r >= 0)
                r = child_get_address(&p->service, is_local, address);
        if (r >= 0)
                r = peer_start(address, 0, NULL, &p->caller);
        if (r >= 0)
                r = peer_start(address, 0, NULL, &p->answerer);
        return r;
}

static int pair_get_cpu(const Pair *p, uint64_t ret_nsec[_PART_N]) {
        int r;

        r = peer_get_cpu(&p->caller, &ret_nsec[PART_CALLER]);
        if (r >= 0)
                r = peer_get_cpu(&p->answerer, &ret_nsec[PART_ANSWERER]);
        return r < 0 ? r : child_get_cpu(&p->service, &ret_nsec[PART_SERVICE]);
}

static int pair_run(Pair *p, const Shape *shape, Way way, unsigned duration_ms) {
        PeerOrder order = {
                .task = shape->task,
                .targets = { p->answerer.figures->id },
                .duration_nsec = duration_ms * UINT64_C(1000000),
                .spin_usec = way != WAY_SLEEP ? SPIN_USEC : 0,
                .pause_usec = shape->pause_usec,
        };
        int r;

        r = peer_order(&p->answerer, &(PeerOrder) { .task = task_answer, .spin_usec = way == WAY_BOTH ? SPIN_USEC : 0 });
        if (r >= 0)
                r = peer_do(&p->caller, &order);
        return r < 0 ? r : peer_wait(&p->answerer, 0);
}

static int measure_turn(Pair *p, const Shape *shape, Way way, unsigned duration_ms, unsigned round, Figures *f) {
        uint64_t before[_PART_N], after[_PART_N];
        int r;

        r = pair_get_cpu(p, before);
        if (r >= 0)
                r = pair_run(p, shape, way, duration_ms);
        if (r >= 0)
                r = pair_get_cpu(p, after);
        if (r < 0)
                return r;
        f->p50[round] = (double) histogram_percentile(&p->caller.figures->round_trips, 500) / 1000;
        f->p99[round] = (double) histogram_percentile(&p->caller.figures->round_trips, 990) / 1000;
        for (Part i = 0; i < _PART_N; i++)
                f->part_usec[i][round] = (double) (after[i] - before[i]) / 1000 / (double) p->caller.figures->n_done;
        return 0;
}

static int measure(Pair *p, const Options *options, const Shape *shape, Figures figures[_WAY_N]) {
        unsigned n_ways = shape->way_max + 1;
        int r = 0;

        for (Way way = 0; r >= 0 && way < n_ways; way++)
                r = pair_run(p, shape, way, WARM_UP_MS);
        for (unsigned round = 0; r >= 0 && round < options->n_rounds; round++)
                for (Way i = 0; r >= 0 && i < n_ways; i++) { /* each is first by turns */
                        Way way = (i + round) % n_ways;

                        r = measure_turn(p, shape, way, options->slice_ms, round, &figures[way]);
                }
        return r;
}

static void print_rows(bool is_local, const Shape *shape, Figures figures[_WAY_N], unsigned n) {
        double ratios[ROUNDS_MAX];

        for (Way way = 0; way <= shape->way_max; way++) {
                Figures *f = &figures[way];
                Spread ratio;

                for (unsigned i = 0; i < n; i++)
                        ratios[i] = f->p50[i] / figures[WAY_SLEEP].p50[i];
                ratio = spread_of(ratios, n);
                printf("%-5s %-12s %-19s %8.1f %8.1f %6.2f [%5.2f ..%5.2f] %8.1f %8.1f %8.1f\n", is_local ? "local" : "TCP",
                       shape->name, ways[way], spread_of(f->p50, n).median, spread_of(f->p99, n).median,
                       ratio.median, ratio.low, ratio.high, spread_of(f->part_usec[PART_CALLER], n).median,
                       spread_of(f->part_usec[PART_ANSWERER], n).median, spread_of(f->part_usec[PART_SERVICE], n).median);
        }
        fflush(stdout);
}

static int measure_link(const Options *options, bool is_local) {
        static Figures figures[_WAY_N];
        Pair pair;
        int r;

        r = pair_open(&pair, options, is_local);
        for (size_t i = 0; r >= 0 && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
                r = measure(&pair, options, &shapes[i], figures);
                if (r >= 0)
                        print_rows(is_local, &shapes[i], figures, options->n_rounds);
        }
        if (r < 0)
                library_explain(&pair.service);
        pair_close(&pair);
        return r;
}

int spin_measure(const Options *options) {
        int r = 0;

        printf("spin: questions to the service, and calls of %d bytes, one after the other or with pauses of %d us. %u rounds\n"
               "of %u ms for each. Those who look do so for up to %d us before they sleep. Round trips in us; the ratio of each\n"
               "round to that where both sleep at once, median and quartiles; processor time of each, in us.\n\n",
               CALL_SIZE, PAUSE_USEC, options->n_rounds, options->slice_ms, SPIN_USEC);
        printf("%-38s %8s %8s %22s %8s %8s %8s\n", "", "median", "p99", "ratio of medians", "caller", "answerer", "service");
        for (int is_local = 0; r >= 0 && is_local <= 1; is_local++)
                r = measure_link(options, is_local);
        return r;
}
