/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Signals, made when there is time. A change is noted in a few dozen nanoseconds, and what is noted of one client is merged: a
 * client that left before it was announced is not announced at all, and a state is read when the signal is made. So in a storm
 * of joins, or when the bus is slow, what waits is bounded by the number of clients, not by the number of changes.
 *
 * Owns the announcements. The signals of the object manager are made here and not by sd-bus, so that they say what
 * GetManagedObjects() says: the one interface that is ours. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/wire.h"
#include "service/bus-announce.h"
#include "service/bus-client.h"
#include "service/bus-private.h"
#include "service/log.h"

typedef enum AnnouncementKind {
        ANNOUNCE_JOINED,
        ANNOUNCE_CHANGED,
        ANNOUNCE_LEFT,
} AnnouncementKind;

struct Announcement {
        Announcement *previous, *next;
        Announcement *in_bucket;
        uint64_t id;
        AnnouncementKind kind;
        bool is_half_sent;           /* the first of its two signals is out */
        unsigned reason;             /* ANNOUNCE_LEFT */
        char name[WIRE_NAME_MAX + 1]; /* ANNOUNCE_LEFT: of all others the server knows it */
};

static void announcer_remove(BusAnnouncer *announcer, Announcement *a) {
        idmap_remove(&announcer->by_id, a->id);
        if (a->previous)
                a->previous->next = a->next;
        else
                announcer->first = a->next;
        if (a->next)
                a->next->previous = a->previous;
        else
                announcer->last = a->previous;
        free(a);

        /* After a storm the map goes back to nothing. */
        if (!announcer->first)
                idmap_deinit(&announcer->by_id);
}

/* The announcement that waits for `id`, or a new one of this kind; NULL if there is no memory */
static Announcement *announcer_get(BusAnnouncer *announcer, uint64_t id, AnnouncementKind kind) {
        Announcement *a;

        a = idmap_find(&announcer->by_id, id);
        if (a)
                return a;
        a = calloc(1, sizeof *a);
        if (!a || idmap_add(&announcer->by_id, id, a) < 0) {
                free(a);
                return NULL;
        }
        a->id = id;
        a->kind = kind;
        a->previous = announcer->last;
        if (announcer->last)
                announcer->last->next = a;
        else
                announcer->first = a;
        announcer->last = a;
        return a;
}

int bus_announcer_joined(BusAnnouncer *announcer, uint64_t id) {
        Announcement *a;

        a = announcer_get(announcer, id, ANNOUNCE_JOINED);
        if (!a)
                return -ENOMEM;
        if (a->kind == ANNOUNCE_LEFT)
                a->kind = ANNOUNCE_CHANGED; /* it is back before anybody heard that it was gone */
        return 0;
}

int bus_announcer_left(BusAnnouncer *announcer, uint64_t id, const char *name, unsigned reason) {
        Announcement *a;

        a = announcer_get(announcer, id, ANNOUNCE_LEFT);
        if (!a)
                return -ENOMEM;
        if (a->kind == ANNOUNCE_JOINED) {
                announcer_remove(announcer, a);
                return 0;
        }
        a->kind = ANNOUNCE_LEFT;
        a->reason = reason;
        strncpy(a->name, name, sizeof a->name - 1);
        return 0;
}

int bus_announcer_changed(BusAnnouncer *announcer, uint64_t id) {
        return announcer_get(announcer, id, ANNOUNCE_CHANGED) ? 0 : -ENOMEM;
}

static int send_added(Bus *bus, const char *path, const ServerClient *client) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(bus->sd_bus, &m, BUS_PATH, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 'o', path);
        if (r >= 0)
                r = bus_client_append_interfaces(m, bus, client);
        return r < 0 ? r : sd_bus_send(bus->sd_bus, m, NULL);
}

static int send_joined(Bus *bus, Announcement *a, const char *path, const ServerClient *client) {
        int r;

        r = a->is_half_sent ? 0 : send_added(bus, path, client);
        if (r < 0)
                return r;
        a->is_half_sent = true;
        return sd_bus_emit_signal(bus->sd_bus, BUS_PATH, BUS_MANAGER_INTERFACE, "ClientNew", "tso", a->id, client->name, path);
}

static int send_changed(Bus *bus, const char *path, const ServerClient *client) {
        return sd_bus_emit_signal(bus->sd_bus, path, "org.freedesktop.DBus.Properties", "PropertiesChanged", "sa{sv}as",
                                  BUS_CLIENT_INTERFACE, 1, "State", "s", wire_state_name(client->state), 0);
}

static int send_left(Bus *bus, Announcement *a, const char *path) {
        int r = 0;

        if (!a->is_half_sent)
                r = sd_bus_emit_signal(bus->sd_bus, BUS_PATH, BUS_MANAGER_INTERFACE, "ClientRemoved", "tsos",
                                       a->id, a->name, path, wire_reason_name(a->reason));
        if (r < 0)
                return r;
        a->is_half_sent = true;
        return sd_bus_emit_signal(bus->sd_bus, BUS_PATH, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved", "oas",
                                  path, 1, BUS_CLIENT_INTERFACE);
}

static int announcement_send(Bus *bus, Announcement *a) {
        char path[BUS_CLIENT_PATH_SIZE];
        ServerClient client;

        bus_client_path(a->id, path);
        if (a->kind == ANNOUNCE_LEFT)
                return send_left(bus, a, path);
        if (server_get_client(bus->server, a->id, &client) < 0)
                return 0; /* it is leaving at this moment */
        return a->kind == ANNOUNCE_JOINED ? send_joined(bus, a, path, &client) : send_changed(bus, path, &client);
}

int bus_announcer_run(Bus *bus, uint64_t deadline_usec) {
        BusAnnouncer *announcer = &bus->announcer;
        int r;

        while (announcer->first && bus_has_room_for_signals(bus)) {
                r = announcement_send(bus, announcer->first);
                if (r == -ENOMEM)
                        return r;
                if (r < 0 && r != -ENOTCONN) /* the loss of the bus is reported elsewhere */
                        log_warning(r, "A change of client %" PRIu64 " could not be announced on the bus", announcer->first->id);
                announcer_remove(announcer, announcer->first);
                if (bus_now() >= deadline_usec)
                        break;
        }
        return 0;
}

void bus_announcer_deinit(BusAnnouncer *announcer) {
        while (announcer->first)
                announcer_remove(announcer, announcer->first);
}
