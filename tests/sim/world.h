/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What one run is: a time that moves from event to event, chance that comes from the seed, and the first that went wrong. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIM_CLIENTS_MAX = 8, SIM_VIOLATION_MAX = 512 };

#define SIM_MSEC UINT64_C(1000)
#define SIM_SEC UINT64_C(1000000)
#define SIM_START (1000 * SIM_SEC) /* the time is never 0, as on a real machine */

typedef struct Rng {
        uint64_t state;
} Rng;

static inline uint64_t rng_next(Rng *r) {
        uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}
/* In [0, n); n > 0 */
static inline uint64_t rng_below(Rng *r, uint64_t n) {
        return rng_next(r) % n;
}
static inline uint64_t rng_between(Rng *r, uint64_t first, uint64_t last) {
        return first + rng_below(r, last - first + 1);
}
static inline bool rng_chance(Rng *r, unsigned percent) {
        return rng_below(r, 100) < percent;
}
/* Its numbers do not depend on how many others were drawn before. */
static inline Rng rng_derive(uint64_t a, uint64_t b) {
        Rng r = { a ^ b * UINT64_C(0xd1342543de82ef95) };

        rng_next(&r);
        return r;
}

typedef void (*WorldFn)(void *object, uint64_t number);

/* There is one world at a time: the library under test asks for the time without saying who it is. */
extern uint64_t world_now;
extern bool world_verbose;

void world_init(uint64_t seed);
void world_deinit(void);

uint64_t world_seed(void);
Rng *world_rng(void); /* for whatever has no chance of its own */

/* Calls `fn` then; events of the same moment in the order in which they were made. */
void world_at(uint64_t usec, WorldFn fn, void *object, uint64_t number);
static inline void world_in(uint64_t usec, WorldFn fn, void *object, uint64_t number) {
        world_at(world_now + usec, fn, object, number);
}

/* Until `end`, or until something is wrong. */
void world_run(uint64_t end);

/* Adds to the hash that tells two runs apart. */
void world_trace(uint64_t a, uint64_t b);
uint64_t world_hash(void);

/* Tells, if --verbose. */
void world_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Something is not as it must be: the first one counts. */
void world_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *world_get_violation(void); /* NULL: none */

/* A condition of the simulation itself, not of what it tests */
#define sim_require(e) ((e) ? (void) 0 : sim_fail(__FILE__, __LINE__, #e))
void sim_fail(const char *file, int line, const char *what) __attribute__((noreturn));
void *sim_must(void *p);
