/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Counters and what is derived from them. A rate over a window is how much a counter has grown between the window's beginning
 * and now. What the counter was at the beginning is interpolated between the two samples around it, so a rate does not depend
 * on when exactly the samples were taken, nor on the sampling having paused while nothing happened. Takes no clock and no
 * memory of its own. */

#include "service/core/load.h"

enum {
        USEC_PER_SEC = 1000000,
        LOAD_SAMPLE_MIN_USEC = USEC_PER_SEC / 2, /* closer calls are not kept, or the ring would not reach back 60 s */
};

const unsigned load_rate_seconds[LOAD_N_RATES] = { 1, 10, 60 };

void load_init(Load *l, uint64_t now_usec) {
        *l = (Load) {};
        l->sample_times[0] = now_usec;
        l->n_samples = 1;
}

/* The position in the ring of the sample that is `age` samples older than the newest. */
static unsigned sample_index(const Load *l, unsigned age) {
        return (l->newest + LOAD_N_SAMPLES - age) % LOAD_N_SAMPLES;
}

/* What all traffic moves. Not busy_usec: the sampling itself makes the loop busy, and would never stop. */
static bool same_traffic(const LoadCounters *a, const LoadCounters *b) {
        return a->messages_in == b->messages_in && a->messages_out == b->messages_out && a->bytes_in == b->bytes_in &&
                a->bytes_out == b->bytes_out;
}

/* Whether there was traffic in the last minute, or since the oldest sample: counters only grow, so one comparison tells. */
static bool changed_lately(const Load *l, uint64_t now_usec) {
        const uint64_t window = (uint64_t) load_rate_seconds[LOAD_N_RATES - 1] * USEC_PER_SEC;
        unsigned i = l->newest;

        for (unsigned age = 0; age < l->n_samples; age++) {
                i = sample_index(l, age);
                if (l->sample_times[i] + window <= now_usec)
                        break;
        }
        return !same_traffic(&l->samples[i], &l->counters);
}

bool load_sample(Load *l, uint64_t now_usec) {
        bool changed = changed_lately(l, now_usec);

        if (now_usec < l->sample_times[l->newest] + LOAD_SAMPLE_MIN_USEC)
                return changed;
        l->newest = (l->newest + 1) % LOAD_N_SAMPLES;
        if (l->n_samples < LOAD_N_SAMPLES)
                l->n_samples++;
        l->samples[l->newest] = l->counters;
        l->sample_times[l->newest] = now_usec;
        return changed;
}

/* a * b / c, rounded to the nearest, without overflow in between. c is not 0. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c) {
        return (uint64_t) (((unsigned __int128) a * b + c / 2) / c);
}

static LoadCounters between(const LoadCounters *a, const LoadCounters *b, uint64_t part, uint64_t whole) {
        return (LoadCounters) {
                .messages_in = a->messages_in + scale(b->messages_in - a->messages_in, part, whole),
                .messages_out = a->messages_out + scale(b->messages_out - a->messages_out, part, whole),
                .bytes_in = a->bytes_in + scale(b->bytes_in - a->bytes_in, part, whole),
                .bytes_out = a->bytes_out + scale(b->bytes_out - a->bytes_out, part, whole),
                .busy_usec = a->busy_usec + scale(b->busy_usec - a->busy_usec, part, whole),
        };
}

/* The counters as they were at `when`, or at the oldest sample if that is younger; *ret_when is which of them. */
static LoadCounters counters_at(const Load *l, uint64_t when, uint64_t now_usec, uint64_t *ret_when) {
        const LoadCounters *younger = &l->counters;
        uint64_t younger_time = now_usec;

        for (unsigned age = 0; age < l->n_samples; age++) {
                unsigned i = sample_index(l, age);

                if (l->sample_times[i] <= when) {
                        *ret_when = when;
                        if (younger_time <= l->sample_times[i])
                                return *younger;
                        return between(&l->samples[i], younger, when - l->sample_times[i], younger_time - l->sample_times[i]);
                }
                younger = &l->samples[i];
                younger_time = l->sample_times[i];
        }
        *ret_when = younger_time;
        return *younger;
}

static void get_rates(const Load *l, uint64_t now_usec, unsigned i, LoadFigures *ret) {
        uint64_t window = (uint64_t) load_rate_seconds[i] * USEC_PER_SEC;
        uint64_t begin, elapsed;
        LoadCounters then;

        then = counters_at(l, now_usec > window ? now_usec - window : 0, now_usec, &begin);
        elapsed = now_usec - begin;
        if (elapsed < USEC_PER_SEC) /* the first second counts in full, so that one early message is not a rate of thousands */
                elapsed = USEC_PER_SEC;

        ret->messages_in_rate[i] = scale(l->counters.messages_in - then.messages_in, USEC_PER_SEC, elapsed);
        ret->messages_out_rate[i] = scale(l->counters.messages_out - then.messages_out, USEC_PER_SEC, elapsed);
        ret->bytes_in_rate[i] = scale(l->counters.bytes_in - then.bytes_in, USEC_PER_SEC, elapsed);
        ret->bytes_out_rate[i] = scale(l->counters.bytes_out - then.bytes_out, USEC_PER_SEC, elapsed);
        ret->busy_permille[i] = scale(l->counters.busy_usec - then.busy_usec, 1000, elapsed);
        if (ret->busy_permille[i] > 1000) /* a turn is counted when it ends, so one may reach in from before the window */
                ret->busy_permille[i] = 1000;
}

void load_get_figures(const Load *l, uint64_t now_usec, LoadFigures *ret) {
        if (now_usec < l->sample_times[l->newest]) /* a clock that is behind counts as one that stands still */
                now_usec = l->sample_times[l->newest];

        ret->messages_in = l->counters.messages_in;
        ret->messages_out = l->counters.messages_out;
        ret->bytes_in = l->counters.bytes_in;
        ret->bytes_out = l->counters.bytes_out;
        for (unsigned i = 0; i < LOAD_N_RATES; i++)
                get_rates(l, now_usec, i, ret);

        ret->routing_p50_ns = histogram_percentile(&l->routing, 500);
        ret->routing_p90_ns = histogram_percentile(&l->routing, 900);
        ret->routing_p99_ns = histogram_percentile(&l->routing, 990);
        ret->routing_p999_ns = histogram_percentile(&l->routing, 999);
        ret->routing_max_ns = l->routing.max;

        ret->bounces = l->bounces;
        ret->skipped_broadcasts = l->skipped_broadcasts;
        ret->protocol_errors = l->protocol_errors;
}
