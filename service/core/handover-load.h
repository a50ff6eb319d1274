/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The load figures in a handover: counters that only grow must not begin anew. */

#include "service/core/handover-records.h"
#include "service/core/load.h"

void handover_save_load(RecordWriter *w, const Load *load, uint64_t now);

/* The fields of one record each, in the order in which they were written. Return 0 or -EBADMSG. */
int handover_restore_load(WireReader *in, Load *load);
int handover_restore_load_sample(WireReader *in, Load *load, uint64_t now);
int handover_restore_routing_time(WireReader *in, Histogram *h);
