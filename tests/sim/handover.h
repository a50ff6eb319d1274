/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a service saves when it hands over, until its successor restores it; and what must be the same then. */

#include "tests/sim/net.h"
#include "tests/unit/fake-handover.h"

/* After a turn. Returns 0 or -ENOMEM. */
int handover_begin(FakeNet *net);
/* A byte is changed, or the end is missing. */
void handover_damage(Rng *rng);
/* The successor takes over. Returns 0; or a negative errno, and the old router is still there. In both cases it is over. */
int handover_end(FakeNet *net);
/* … and after the first turn of the new one. */
void handover_check_links(void);
void handover_forget(void);
