/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Seeded bugs: frames are changed on their way, so that both ends together behave as if one of them lacked something. The checks
 * must find that. */

#include "tests/sim/net.h"

typedef enum Bug {
        BUG_NONE,
        BUG_DUPLICATES, /* what is sent again is not known for what it is */
        BUG_SEND_AGAIN, /* nothing is sent again */
        BUG_CREDIT,     /* more is sent than was granted */
        BUG_ID_CHECK,   /* a successor gets what was for the client before it */
        BUG_EPOCH,      /* does not grow as it should */
        BUG_FORGETFUL,  /* who is gone may come back after a restart */
        BUG_HANDOVER,   /* what was written in part is forgotten */
        _BUG_N,
} Bug;

extern Bug bug;

/* -1: there is no such bug. */
int bug_parse(const char *name);

/* A frame that the client has written; false: swallow it. `is_again`: it was sent before. */
bool bug_up(uint8_t *frame, bool is_again);
/* … that it is about to read; and one of those that the checks are to see as they were. */
void bug_down(Conn *c, uint64_t id, uint8_t *frame);
void bug_down_unseen(uint8_t *frame);
void bug_clear(void);
