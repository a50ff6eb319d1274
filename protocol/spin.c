/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who polls is there when a message comes; who sleeps has to be woken, which takes longer than all else that becomes of a small
 * message. But polling costs processor time that others may need, so it has to pay: it is done while traffic is brisk, that is
 * when the last wait would have been short enough, and less and less often where it finds nothing more than it finds something.
 * That is so where those who are waited for need the very processor that is polled on: their answers come soon, and only because
 * of the sleep.
 *
 * KVM's halt polling goes by the length of waits in the same way, but lets the time for which it polls grow and shrink; it sees
 * whether somebody else wants the processor. Here the time is the user's, and what is adapted is how often. Takes no
 * clock of its own, and polls nothing itself. */

#include "protocol/spin.h"

enum { SPIN_MISSES_MAX = 10 }; /* then one wait of 1024 is polled in: at 10,000 waits a second, ten times a second */

void spin_set(Spin *s, uint64_t usec) {
        *s = (Spin) { .limit_nsec = usec * 1000 };
}

uint64_t spin_begin(Spin *s) {
        if (!s->is_brisk)
                return 0;
        if (s->n_rests > 0) {
                s->n_rests--;
                return 0;
        }
        return s->limit_nsec;
}

void spin_end(Spin *s, uint64_t polled_nsec, uint64_t waited_nsec, bool traffic) {
        s->is_brisk = traffic && waited_nsec < s->limit_nsec;
        if (polled_nsec == 0)
                return;
        if (s->is_brisk) {
                s->n_misses -= s->n_misses > 0; /* not 0: where he is preempted while he polls, some find something by chance */
                return;
        }
        s->n_rests = 1U << s->n_misses;
        if (s->n_misses < SPIN_MISSES_MAX)
                s->n_misses++;
}
