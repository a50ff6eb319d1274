/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Runs plans in processes of their own, so that a crash is a failure like any other; and finds a small one that still fails. */

#include "tests/sim/run.h"

/* Also fails if it crashes or takes too long. */
void try_plan(const Plan *p, RunResult *ret);

/* Leaves out of `p` what it fails without in the same way. */
void shrink_plan(Plan *p, const char *violation);
