/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Alive, busy, slow: what silence and a blocked output mean, and when. */

#include "service/core/link.h"

/* The link is up: its silence is measured from now on. */
void liveness_begin(Link *l);

/* Something was heard of a link that is up. */
void liveness_heard(Link *l);

void liveness_pong(Link *l, uint32_t tag);

/* Pings the link now, unless a ping is outstanding. */
void liveness_ping(Link *l);

/* The link's timer is due. */
void liveness_check(Link *l);

/* Output was written; it is blocked. */
void liveness_sent(Link *l);
void liveness_blocked(Link *l);
void liveness_check_stall(Link *l);
