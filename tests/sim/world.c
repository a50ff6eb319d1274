/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the time and the events to come, in a heap ordered by time and then by when they were made. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

enum {
        WORLD_EVENTS_MAX = 3000000, /* of one run: far more than any should need, so it goes round in circles */
};

typedef struct Event {
        uint64_t usec;
        uint64_t order;
        WorldFn fn;
        void *object;
        uint64_t number;
} Event;

static struct {
        uint64_t seed, hash, order, n_done;
        Rng rng;
        Event *events;
        size_t n, n_allocated;
        char violation[SIM_VIOLATION_MAX];
} world;

uint64_t world_now;
bool world_verbose;

void sim_fail(const char *file, int line, const char *what) {
        fprintf(stderr, "%s:%d: not true: %s (seed %" PRIu64 ")\n", file, line, what, world.seed);
        abort();
}

void *sim_must(void *p) {
        sim_require(p);
        return p;
}

void world_init(uint64_t seed) {
        memset(&world, 0, sizeof(world));
        world.seed = seed;
        world.hash = UINT64_C(0xcbf29ce484222325);
        world.rng = rng_derive(seed, 1);
        world_now = SIM_START;
}

void world_deinit(void) {
        free(world.events);
        world.events = NULL;
}

uint64_t world_seed(void) {
        return world.seed;
}

Rng *world_rng(void) {
        return &world.rng;
}

static bool event_is_before(const Event *a, const Event *b) {
        return a->usec != b->usec ? a->usec < b->usec : a->order < b->order;
}

void world_at(uint64_t usec, WorldFn fn, void *object, uint64_t number) {
        Event event = { usec > world_now ? usec : world_now, world.order++, fn, object, number };
        size_t i;

        if (world.n == world.n_allocated) {
                world.n_allocated = world.n_allocated * 2 + 64;
                world.events = sim_must(realloc(world.events, world.n_allocated * sizeof(Event)));
        }
        for (i = world.n++; i > 0 && event_is_before(&event, &world.events[(i - 1) / 2]); i = (i - 1) / 2)
                world.events[i] = world.events[(i - 1) / 2];
        world.events[i] = event;
}

static Event world_pop(void) {
        Event first = world.events[0], last = world.events[--world.n];
        size_t i = 0, child;

        while ((child = 2 * i + 1) < world.n) {
                if (child + 1 < world.n && event_is_before(&world.events[child + 1], &world.events[child]))
                        child++;
                if (!event_is_before(&world.events[child], &last))
                        break;
                world.events[i] = world.events[child];
                i = child;
        }
        world.events[i] = last;
        return first;
}

void world_run(uint64_t end) {
        while (world.n > 0 && world.events[0].usec <= end && !world_get_violation()) {
                Event event = world_pop();

                world_now = event.usec;
                event.fn(event.object, event.number);
                if (++world.n_done > WORLD_EVENTS_MAX)
                        world_violation("it does not come to rest");
        }
        if (world_now < end)
                world_now = end;
}

void world_trace(uint64_t a, uint64_t b) {
        const uint64_t words[] = { world_now, a, b };

        for (size_t i = 0; i < 3; i++) {
                world.hash = (world.hash ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
                world.hash ^= world.hash >> 29;
        }
}

uint64_t world_hash(void) {
        return world.hash;
}

void world_say(const char *format, ...) {
        va_list ap;

        if (!world_verbose)
                return;
        printf("%10.6f ", (double) (world_now - SIM_START) / 1e6);
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
}

void world_violation(const char *format, ...) {
        size_t n;
        va_list ap;

        if (world.violation[0])
                return;
        n = (size_t) snprintf(world.violation, sizeof(world.violation), "at %.6f s: ", (double) (world_now - SIM_START) / 1e6);
        va_start(ap, format);
        vsnprintf(world.violation + n, sizeof(world.violation) - n, format, ap);
        va_end(ap);
        world_say("VIOLATION %s", world.violation);
}

const char *world_get_violation(void) {
        return world.violation[0] ? world.violation : NULL;
}
