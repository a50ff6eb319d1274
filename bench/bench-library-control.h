/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the machine itself costs: one process sends to another as fast as it goes, through a bare relay, and none of them has to do
 * with the service or with those who are measured. */

#include "bench/child.h"

typedef struct Control {
        Child relay;
        pid_t pids[2]; /* who sends, and who receives */
} Control;

/* 0, or a negative errno. */
int control_start(const char *relay, Control *ret_control);
void control_stop(Control *c);
