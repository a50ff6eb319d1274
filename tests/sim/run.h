/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One run of one plan. */

#include "tests/sim/plan.h"

typedef struct RunResult {
        bool failed;
        char violation[SIM_VIOLATION_MAX];
        uint64_t hash;
        uint64_t n_sent, n_received, n_failed_allocations;
} RunResult;

void run_plan(const Plan *p, RunResult *ret);
