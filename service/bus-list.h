/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The methods whose answer goes over all clients, made in slices. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <systemd/sd-bus.h>

#include "service/bus.h"

typedef enum BusListKind {
        BUS_LIST_CLIENTS,  /* ListClients() */
        BUS_LIST_OBJECTS,  /* GetManagedObjects() */
        BUS_LIST_DESCRIBE, /* Describe() */
        _BUS_LIST_KIND_N,
} BusListKind;

typedef struct BusListing BusListing;

typedef struct BusLister {
        BusListing *first, *last; /* the calls; the first may be under way */
        unsigned n_calls;
        bool under_way;
} BusLister;

void bus_lister_deinit(BusLister *lister);

/* Answers `call` at once if that takes no longer than a slice, else later. Returns as a method handler does. */
int bus_lister_add(Bus *bus, sd_bus_message *call, BusListKind kind);

/* Goes on with the listing under way, or begins the next, until it is done or `deadline_usec` (CLOCK_MONOTONIC) has come. */
void bus_lister_run(Bus *bus, uint64_t deadline_usec);
