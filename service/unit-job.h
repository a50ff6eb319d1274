/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Why the manager stops this service: for good, or to start it again. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "service/config.h"

typedef struct UnitJob UnitJob;

typedef enum UnitJobAnswer {
        UNIT_JOB_STOP,    /* also: nobody has asked the manager to, but somebody has sent the signal */
        UNIT_JOB_RESTART,
        UNIT_JOB_UNKNOWN, /* there is no bus, no such manager, or no answer in time */
} UnitJobAnswer;

/* Asks; `handler` is called once, from the event loop, soon. It may free the object. Returns 0, or a negative errno: it can't
 * be asked. */
typedef void (*UnitJobHandler)(void *userdata, UnitJobAnswer answer);
int unit_job_new(sd_event *event, BusKind kind, UnitJobHandler handler, void *userdata, UnitJob **ret_job);
UnitJob *unit_job_free(UnitJob *job);
