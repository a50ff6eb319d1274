/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Most timers here are armed once and looked at late: a link that has heard something moves its timer only when it fires, so
 * traffic costs the heap nothing. Owns only the array of pointers. Room is reserved when a link or session is made, which leaves
 * no failure for later. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "service/core/timers.h"

void timers_deinit(Timers *t) {
        free(t->heap);
        *t = TIMERS_NULL;
}

int timers_reserve(Timers *t, size_t n) {
        if (t->n_reserved + n > t->n_allocated) {
                size_t n_allocated = (t->n_reserved + n) * 2;
                Timer **heap;

                heap = reallocarray(t->heap, n_allocated, sizeof(*heap));
                if (!heap)
                        return -ENOMEM;
                t->heap = heap;
                t->n_allocated = n_allocated;
        }
        t->n_reserved += n;
        return 0;
}

void timers_unreserve(Timers *t, size_t n) {
        assert(n <= t->n_reserved);
        t->n_reserved -= n;
}

static void put(Timers *t, size_t slot, Timer *timer) {
        t->heap[slot - 1] = timer;
        timer->slot = (uint32_t) slot;
}

static void sift_up(Timers *t, Timer *timer) {
        size_t slot = timer->slot;

        while (slot > 1 && t->heap[slot / 2 - 1]->when > timer->when) {
                put(t, slot, t->heap[slot / 2 - 1]);
                slot /= 2;
        }
        put(t, slot, timer);
}

static void sift_down(Timers *t, Timer *timer) {
        size_t slot = timer->slot;

        for (;;) {
                size_t child = slot * 2;

                if (child > t->n)
                        break;
                if (child < t->n && t->heap[child]->when < t->heap[child - 1]->when)
                        child++;
                if (t->heap[child - 1]->when >= timer->when)
                        break;
                put(t, slot, t->heap[child - 1]);
                slot = child;
        }
        put(t, slot, timer);
}

void timers_arm(Timers *t, Timer *timer, uint64_t when) {
        timer->when = when;
        if (timer->slot == 0) {
                assert(t->n < t->n_reserved);
                put(t, ++t->n, timer);
        }
        sift_up(t, timer);
        sift_down(t, timer);
}

void timers_disarm(Timers *t, Timer *timer) {
        Timer *last;
        size_t slot = timer->slot;

        if (slot == 0)
                return;
        timer->slot = 0;
        last = t->heap[--t->n];
        if (last == timer)
                return;
        put(t, slot, last);
        sift_up(t, last);
        sift_down(t, last);
}

Timer *timers_pop(Timers *t, uint64_t now) {
        Timer *timer;

        if (t->n == 0 || t->heap[0]->when > now)
                return NULL;
        timer = t->heap[0];
        timers_disarm(t, timer);
        return timer;
}
