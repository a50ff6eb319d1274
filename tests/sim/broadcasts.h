/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which broadcasts each client has heard of each other, and which it was told are lost. */

#include "tests/sim/oracle.h"

void broadcasts_init(bool with_large);
void broadcasts_clear(void);
void broadcasts_received(Actor *receiver, const Message *m);
void broadcasts_lost(Actor *receiver, uint64_t source, uint64_t count);
void broadcasts_check_end(Message *const *messages, size_t n);
