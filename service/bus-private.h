/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the bus share: the Bus itself, and how its parts ask for time. */

#include <inttypes.h>
#include <stdlib.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "dbus/instance.h"
#include "service/bus-announce.h"
#include "service/bus-list.h"
#include "service/bus.h"
#include "service/polkit.h"

#define _cleanup_(f) __attribute__((cleanup(f)))

enum {
        BUS_CLIENT_PATH_SIZE = sizeof BUS_CLIENT_ROOT + 21, /* "/" and 20 digits */

        /* Calls come before what takes long. The data plane has a turn after each event, whatever it is. */
        BUS_PRIORITY = SD_EVENT_PRIORITY_NORMAL,
        BUS_WORK_PRIORITY = SD_EVENT_PRIORITY_NORMAL + 10,

        BUS_SLICE_USEC = 500, /* what announcements and listings may take of one turn of the loop */
};

/* The property tables hold offsets into these two. They are filled in anew for each message, right before sd-bus reads them. */
typedef struct BusManagerView {
        Bus *bus;
        const char *version;
        const char *const *listen;
        LoadFigures load;
} BusManagerView;

typedef struct BusClientView {
        Bus *bus;
        ServerClient client;
        const char *state;
        int paused; /* sd-bus reads booleans as int */
} BusClientView;

struct Bus {
        sd_event *event;
        Server *server;
        BusKind kind;
        bool is_instance; /* not the main service */
        char name[BUS_NAME_SIZE];

        sd_bus *sd_bus; /* NULL while there is no connection */
        sd_event_source *retry;
        uint64_t retry_usec;
        bool ready;    /* the name is ours */
        bool reported; /* that there is no bus */
        bool missed;   /* somebody waits for what was not said for want of memory */

        Polkit *polkit; /* NULL while there is no connection */
        BusAnnouncer announcer;
        BusLister lister;
        bool lister_next; /* announcements and listings take turns */

        sd_event_source *work; /* a timer, on while there is something to announce or to list */

        BusManagerView manager;
        BusClientView client;
};

static inline void freep(char **p) {
        free(*p);
}

uint64_t bus_now(void); /* CLOCK_MONOTONIC */

/* To be called when there is something for the announcer or the lister to do. */
void bus_wake(Bus *bus);

/* Something could not be said: the connection ends soon and is made anew, because that is said to everyone, by the bus. Callers
 * have their answer then, and who keeps a list of the clients makes a new one. */
void bus_miss(Bus *bus);

/* Replies with one of BUS_E_. Returns 1, as a method handler does that has dealt with its message. sd-bus would do that too,
 * but does not look whether it could. */
int bus_reply_error(Bus *bus, sd_bus_message *call, int e);

/* What sd-bus holds because the bus is slow to take it must not grow without end. */
bool bus_has_room_for_signals(Bus *bus);
bool bus_has_room_for_listing(Bus *bus);
