/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Decides whether the caller of a method may change something: asks the bus who it is and polkit what it may, without ever
 * waiting. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

typedef struct Polkit Polkit;

/* Does what was asked for, once it is allowed, and replies to `call`. `who` names the caller for the log. On failure it returns a
 * negative errno, with or without filling in `error`, and Polkit sends the reply. */
typedef int (*PolkitRun)(sd_bus_message *call, const char *who, void *userdata, sd_bus_error *error);

/* There was no memory for the reply to a call. */
typedef void (*PolkitUnanswered)(void *userdata);

/* `ask` false: there is no polkit on this bus, only root and our own user pass. */
int polkit_new(sd_bus *bus, bool ask, PolkitUnanswered unanswered, void *userdata, Polkit **ret_polkit);

/* Forgets all checks under way; their callers get no reply. */
Polkit *polkit_free(Polkit *polkit);

/* Holds `call`, and calls `run` or refuses `call`, later. `client` (may be NULL) is put into the text of the dialogue.
 * Returns 1, as a method handler does that has dealt with its message, or a negative errno with `error`. */
int polkit_authorise(
                Polkit *polkit,
                sd_bus_message *call,
                const char *action,
                const char *client,
                PolkitRun run,
                void *userdata,
                sd_bus_error *error);
