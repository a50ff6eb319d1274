/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two programs, one sends as fast as it is allowed to: by turns reliably and not, through the same service, with the same
 * handles. A turn is over when the receiver has taken all and the sender knows of it, so acknowledgements are part of the
 * price. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench-library-peer.h"
#include "bench/bench-library.h"
#include "bench/figures.h"

#define RATE_GOAL 0.9 /* reliable / unreliable */
#define FLUSH_USEC (UINT64_C(30) * 1000 * 1000)

enum {
        SIZE_MAX_BYTES = 65536,
        CLOCK_EVERY = 32, /* messages between two looks at the clock */
};

typedef enum Way { WAY_UNRELIABLE, WAY_RELIABLE, _WAY_N } Way;
typedef enum Part { PART_SENDER, PART_RECEIVER, PART_SERVICE, _PART_N } Part;

typedef struct Pair {
        Child service;
        Peer sender, receiver;
} Pair;

typedef struct Figures {
        double rate[ROUNDS_MAX];
        double cpu_usec[ROUNDS_MAX]; /* per message, all together */
        double part_usec[_PART_N][ROUNDS_MAX];
} Figures;

/* The sender's process */
static int task_pump(PeerSelf *self, const PeerOrder *order) {
        static const uint8_t data[SIZE_MAX_BYTES];
        uint64_t end = peer_now_nsec() + order->duration_nsec;
        int r = 0;

        for (unsigned i = 0; r >= 0 && (i % CLOCK_EVERY > 0 || peer_now_nsec() < end); i++)
                r = self_send(self, order->targets[0], KIND_PLAIN, data, order->size, order->unreliable);
        if (r >= 0)
                r = self_send(self, order->targets[0], KIND_LAST, data, order->size, order->unreliable);
        return r < 0 ? r : direct_flush(self->client, FLUSH_USEC);
}

/* The receiver's */
static int task_take(PeerSelf *self, const PeerOrder *order) {
        int r = 0;

        while (r >= 0 && !self->saw_last)
                r = self_turn(self, DIRECT_FOREVER);
        self->saw_last = false;
        return r;
}

static void pair_close(Pair *p) {
        peer_stop(&p->sender);
        peer_stop(&p->receiver);
        child_stop(&p->service);
}

static int pair_open(Pair *p, const Options *options) {
        char address[CHILD_ADDRESS_MAX];
        int r;

        *p = (Pair) { CHILD_NULL, PEER_NULL, PEER_NULL };
        r = child_start_service(options->service, CHILD_NO_PINGS, &p->service);
        if (r >= 0)
                r = child_get_address(&p->service, false, address);
        if (r >= 0)
                r = peer_start(address, 0, NULL, &p->sender);
        if (r >= 0)
                r = peer_start(address, 0, NULL, &p->receiver);
        return r;
}

static int pair_get_cpu(const Pair *p, uint64_t ret_nsec[_PART_N]) {
        int r;

        r = peer_get_cpu(&p->sender, &ret_nsec[PART_SENDER]);
        if (r >= 0)
                r = peer_get_cpu(&p->receiver, &ret_nsec[PART_RECEIVER]);
        return r < 0 ? r : child_get_cpu(&p->service, &ret_nsec[PART_SERVICE]);
}

/* One turn: returns when all has arrived, and checks that it has. */
static int pair_run(Pair *p, const PeerOrder *order, uint64_t *ret_messages) {
        uint64_t sent = p->sender.figures->n_sent, taken = p->receiver.figures->n_taken;
        int r;

        r = peer_order(&p->receiver, &(PeerOrder) { .task = task_take });
        if (r >= 0)
                r = peer_do(&p->sender, order);
        if (r >= 0)
                r = peer_wait(&p->receiver, 0);
        if (r < 0)
                return r;
        sent = p->sender.figures->n_sent - sent;
        taken = p->receiver.figures->n_taken - taken;
        if (sent != taken || sent == 0) {
                fprintf(stderr, "%" PRIu64 " messages were sent and %" PRIu64 " were taken.\n", sent, taken);
                return -EIO;
        }
        *ret_messages = sent;
        return 0;
}

static int measure_turn(Pair *p, Figures *f, unsigned round, const PeerOrder *order) {
        uint64_t before[_PART_N], after[_PART_N], messages, elapsed;
        int r;

        r = pair_get_cpu(p, before);
        if (r < 0)
                return r;
        elapsed = peer_now_nsec();
        r = pair_run(p, order, &messages);
        elapsed = peer_now_nsec() - elapsed;
        if (r >= 0)
                r = pair_get_cpu(p, after);
        if (r < 0)
                return r;
        f->rate[round] = (double) messages * 1e9 / (double) elapsed;
        f->cpu_usec[round] = 0;
        for (Part i = 0; i < _PART_N; i++) {
                f->part_usec[i][round] = (double) (after[i] - before[i]) / 1000 / (double) messages;
                f->cpu_usec[round] += f->part_usec[i][round];
        }
        return 0;
}

static int measure(Pair *p, const Options *options, uint32_t size, Figures figures[_WAY_N]) {
        PeerOrder order = { .task = task_pump, .targets = { p->receiver.figures->id }, .n_targets = 1, .size = size };
        int r = 0;

        order.duration_nsec = WARM_UP_MS * UINT64_C(1000000);
        for (Way w = 0; r >= 0 && w < _WAY_N; w++) {
                order.unreliable = w == WAY_UNRELIABLE;
                r = measure_turn(p, &figures[w], 0, &order);
        }
        order.duration_nsec = options->slice_ms * UINT64_C(1000000);
        for (unsigned round = 0; r >= 0 && round < options->n_rounds; round++)
                for (Way i = 0; r >= 0 && i < _WAY_N; i++) { /* by turns first and second */
                        Way w = (i + round) % _WAY_N;

                        order.unreliable = w == WAY_UNRELIABLE;
                        r = measure_turn(p, &figures[w], round, &order);
                }
        return r;
}

static void print_head(const Options *options) {
        printf("reliable: one sender, one receiver, as fast as it goes. %u rounds of %u ms for each of the two.\n"
               "Processor time per message is that of sender, receiver and service; the ratio of each round, median and\n"
               "quartiles.\n\n",
               options->n_rounds, options->slice_ms);
        printf("%-16s %20s %26s %5s %17s %24s %26s\n", "", "messages/s", "ratio", "goal", "processor us", "ratio",
               "of the reliable");
        printf("%-16s %10s %9s %26s %5s %8s %8s %24s %8s %8s %8s\n", "", "unreliable", "reliable", "", "", "unrel.", "reliable",
               "", "sender", "receiver", "service");
}

static void print_row(const Options *options, uint32_t size, Figures figures[_WAY_N]) {
        double rates[ROUNDS_MAX], cpus[ROUNDS_MAX];
        Figures *u = &figures[WAY_UNRELIABLE], *f = &figures[WAY_RELIABLE];
        unsigned n = options->n_rounds;
        Spread rate, cpu;
        char name[32];

        for (unsigned i = 0; i < n; i++) {
                rates[i] = f->rate[i] / u->rate[i];
                cpus[i] = f->cpu_usec[i] / u->cpu_usec[i];
        }
        rate = spread_of(rates, n);
        cpu = spread_of(cpus, n);
        snprintf(name, sizeof(name), "%" PRIu32 " B deep", size);
        printf("%-16s %10.0f %9.0f %9.2f [%5.2f .. %5.2f] %5.2f %8.3f %8.3f %7.2f [%5.2f .. %5.2f] %8.3f %8.3f %8.3f\n", name,
               spread_of(u->rate, n).median, spread_of(f->rate, n).median, rate.median, rate.low, rate.high, RATE_GOAL,
               spread_of(u->cpu_usec, n).median, spread_of(f->cpu_usec, n).median, cpu.median, cpu.low, cpu.high,
               spread_of(f->part_usec[PART_SENDER], n).median, spread_of(f->part_usec[PART_RECEIVER], n).median,
               spread_of(f->part_usec[PART_SERVICE], n).median);
        fflush(stdout);
}

int reliable_measure(const Options *options) {
        static const uint32_t sizes[] = { 128, SIZE_MAX_BYTES };
        static Figures figures[_WAY_N];
        int r = 0;

        print_head(options);
        for (size_t i = 0; r >= 0 && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
                Pair pair;

                r = pair_open(&pair, options);
                if (r >= 0)
                        r = measure(&pair, options, sizes[i], figures);
                if (r >= 0)
                        print_row(options, sizes[i], figures);
                else
                        library_explain(&pair.service);
                pair_close(&pair);
        }
        return r;
}
