/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Other programs at the far ends of pipes, which write bit by bit what a client sends on with direct_send_fd(). */

#include "tests/sim/actor.h"

/* The end to read from, of a pipe that `size` bytes at `data` (copied) come out of, or if it `ends_early` half of them. */
int pipes_new(Actor *reader, const void *data, uint64_t size, bool ends_early, uint64_t seed);

/* True if there have been any: then a handle's descriptor may be readable because of one. */
bool pipes_are_used(void);

void pipes_deinit(void);
