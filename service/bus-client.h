/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The objects of the clients: /org/directserver/DirectServer1/client/ID */

#include "service/bus-private.h"

int bus_client_export(Bus *bus);

void bus_client_path(uint64_t id, char path[static BUS_CLIENT_PATH_SIZE]);

/* "a{sa{sv}}": the interfaces of the client with all their properties, as GetManagedObjects and InterfacesAdded have it */
int bus_client_append_interfaces(sd_bus_message *m, Bus *bus, const ServerClient *client);
void bus_client_write_json(FILE *f, Bus *bus, const ServerClient *client);

/* Kicks it once polkit allows that. For the method handlers: returns as they do. */
int bus_client_kick(Bus *bus, sd_bus_message *call, uint64_t id, const char *reason, sd_bus_error *error);
