/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The Manager object: /org/directserver/DirectServer1 */

#include "service/bus-private.h"

int bus_manager_export(Bus *bus);

/* Writes `"Version":…,"ListenAddresses":[…],"Load":{…}` */
void bus_manager_write_json(FILE *f, Bus *bus);
