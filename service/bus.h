/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* D-Bus: turns method calls into server_*() calls and the server's events into signals. Never sees a link. */

#include "service/server.h"

typedef struct Bus Bus;

/* Connects in the background and takes the bus name, that of the main service if `instance` is NULL; while there is no bus or
 * the name is not to be had, it tries again (1 s, doubling to 60 s) and says so once in the log. Never fails for that reason. */
int bus_new(sd_event *event, Server *server, BusKind kind, const char *instance, Bus **ret_bus);
Bus *bus_free(Bus *bus);

/* From the server, after the fact (joined) or with the last of what was known (left). Cheap while no bus is connected. */
void bus_client_joined(Bus *bus, const ServerClient *client);
void bus_client_left(Bus *bus, uint64_t id, const char *name, unsigned reason);
void bus_client_state_changed(Bus *bus, uint64_t id);
