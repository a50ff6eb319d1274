/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Timers on a clock that the caller reads: a binary heap with the earliest on top. */

#include <stddef.h>
#include <stdint.h>

#define TIMERS_NEVER UINT64_MAX

/* What a timer belongs to is known by its kind; see router_tick(). */
typedef enum TimerKind {
        TIMER_LINK,  /* opening, waiting for a name, silence, closing: as the link's state says */
        TIMER_STALL, /* the link's output has been blocked for a while */
        TIMER_GRACE, /* an away session is kept no longer */
        TIMER_LOAD,  /* the load figures' sample */
} TimerKind;

typedef struct Timer {
        uint64_t when;
        uint32_t slot; /* its place in the heap, from 1; 0: not armed */
        uint8_t kind;
} Timer;

#define TIMER_INIT(_kind) ((Timer) { .kind = (_kind) })

typedef struct Timers {
        Timer **heap;
        size_t n;
        size_t n_allocated;
        size_t n_reserved;
} Timers;

#define TIMERS_NULL ((Timers) {})

void timers_deinit(Timers *t);

/* Makes room for `n` more timers, so that arming them can't fail. Returns 0 or -ENOMEM. Give the room back when they are gone. */
int timers_reserve(Timers *t, size_t n);
void timers_unreserve(Timers *t, size_t n);

/* Arms, or moves, a timer for which there is room. */
void timers_arm(Timers *t, Timer *timer, uint64_t when);
void timers_disarm(Timers *t, Timer *timer);

/* When the earliest is due, or TIMERS_NEVER. */
static inline uint64_t timers_next(const Timers *t) {
        return t->n > 0 ? t->heap[0]->when : TIMERS_NEVER;
}

/* Takes out the earliest that is due at `now`, or NULL. */
Timer *timers_pop(Timers *t, uint64_t now);
