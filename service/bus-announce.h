/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is to be announced by signals: who came, went, or changed its state. At most one announcement for each client waits. */

#include "service/bus.h"
#include "service/core/idmap.h"

typedef struct Announcement Announcement;

typedef struct BusAnnouncer {
        Announcement *first, *last; /* in the order in which they are made */
        IdMap by_id;
} BusAnnouncer;

void bus_announcer_deinit(BusAnnouncer *announcer);

/* Memory is all that can fail: -ENOMEM, and the change will not be announced. */
int bus_announcer_joined(BusAnnouncer *announcer, uint64_t id);
int bus_announcer_left(BusAnnouncer *announcer, uint64_t id, const char *name, unsigned reason);
int bus_announcer_changed(BusAnnouncer *announcer, uint64_t id);

/* Sends signals until none waits, `deadline_usec` (CLOCK_MONOTONIC) has come, or the bus takes no more at present. -ENOMEM:
 * what waits is to be tried again later. */
int bus_announcer_run(Bus *bus, uint64_t deadline_usec);
