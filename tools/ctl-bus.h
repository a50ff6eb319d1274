/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* directctl's side of D-Bus: calls, and what to tell people when they fail. */

#include "tools/ctl.h"

int ctl_bus_open(Ctl *ctl);

/* A call to the service, which is never started for it. NULL for `path`: the Manager's. */
int ctl_bus_new_call(Ctl *ctl, const char *path, const char *interface, const char *member, sd_bus_message **ret_call);

/* Sends the call and waits. On failure it says on stderr what was wrong and what to do. `ret_reply` may be NULL. */
int ctl_bus_call(Ctl *ctl, sd_bus_message *call, sd_bus_message **ret_reply);

/* All properties of the object at `path` (NULL: the Manager): the reply stands before the a{sv}. */
int ctl_bus_get_all(Ctl *ctl, const char *path, const char *interface, sd_bus_message **ret_reply);

/* CLIENT on the command line: a name, or else an id */
typedef struct CtlTarget {
        uint64_t id;
        char *name;
        char *path;
} CtlTarget;

void ctl_target_deinit(CtlTarget *target);
int ctl_bus_find_client(Ctl *ctl, const char *text, CtlTarget *ret_target);

/* The id in the path of a client; 0 if it is none. */
uint64_t ctl_bus_path_to_id(const char *path);

/* "What failed: why", on stderr; returns `error`. */
int ctl_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));
