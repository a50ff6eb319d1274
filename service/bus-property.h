/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The properties of a whole object, by its sd-bus table: as D-Bus a{sv}, and as JSON. So there is one list of properties. */

#include <stdio.h>
#include <systemd/sd-bus.h>

/* Only for tables whose properties have no getter (sd-bus reads them by their offset) and a basic type. */
int bus_property_append_all(sd_bus_message *m, const sd_bus_vtable *table, const void *object);

/* Writes `"Name":value,…`, without braces, of those properties whose signature is in `signatures` (a NULL-terminated list). */
void bus_property_write_json(FILE *f, const sd_bus_vtable *table, const void *object, const char *const *signatures);
