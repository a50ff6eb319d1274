/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Hands the router of a FakeNet over to another one, as the service does with its successor: the links stay open, what their
 * kernels hold stays there. */

#include "tests/unit/fake-net.h"

/* After a turn; links are numbered in the order of `n->links`. Returns 0 and what is to be freed, or -ENOMEM. */
int fake_net_save(FakeNet *n, uint8_t **ret_data, size_t *ret_size);

/* The router that this makes takes the place of the one that there is, which goes without a word. Returns as handover_restore();
 * after a failure the old one is still there. */
int fake_net_take_over(FakeNet *n, const uint8_t *data, size_t size);

/* Both, of which neither may fail. */
void fake_net_hand_over(FakeNet *n);

/* What the router still has to write to this link: *ret_size bytes, to be freed. */
uint8_t *fake_get_queued(const FakeLink *l, size_t *ret_size);
