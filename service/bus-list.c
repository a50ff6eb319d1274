/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ListClients(), GetManagedObjects() and Describe() have to go over all clients: with 10,000 of them that takes 10 to 100 ms,
 * for which the service must not be deaf. So a reply grows in slices between the turns of the event loop, in the order of the
 * ids. One listing is made at a time, and what it costs is bounded: replies are made only as fast as the bus takes them.
 *
 * While a listing is under way no change is announced. A caller that reads the reply and then the signals that follow it has
 * the truth: clients that leave meanwhile may stand in the reply, but their ClientRemoved comes after it.
 *
 * The lister owns the calls and the reply under way. */

#include <errno.h>
#include <stdlib.h>

#include "protocol/wire.h"
#include "service/bus-client.h"
#include "service/bus-error.h"
#include "service/bus-list.h"
#include "service/bus-manager.h"
#include "service/bus-private.h"

enum {
        LISTER_CALLS_MAX = 16384, /* waiting calls, some 600 bytes each */
        LISTER_CLOCK_EVERY = 16,  /* clients between two looks at the clock: about 0.1 ms of work */
};

struct BusListing {
        BusListing *next;
        sd_bus_message *call;
        BusListKind kind;

        sd_bus_message *reply;
        FILE *text; /* Describe() only: writes to `buffer` */
        char *buffer;
        size_t size;
        uint64_t last_id; /* all up to here are in the reply */
};

typedef struct ListKind {
        int (*begin)(BusListing *listing, Bus *bus);
        int (*add)(BusListing *listing, Bus *bus, const ServerClient *client);
        int (*end)(BusListing *listing);
} ListKind;

static BusListing *listing_free(BusListing *listing) {
        if (!listing)
                return NULL;
        if (listing->text)
                fclose(listing->text);
        free(listing->buffer);
        sd_bus_message_unref(listing->reply);
        sd_bus_message_unref(listing->call);
        free(listing);
        return NULL;
}

static int clients_begin(BusListing *listing, Bus *bus) {
        return sd_bus_message_open_container(listing->reply, 'a', "(tsso)");
}

static int clients_add(BusListing *listing, Bus *bus, const ServerClient *client) {
        char path[BUS_CLIENT_PATH_SIZE];

        bus_client_path(client->id, path);
        return sd_bus_message_append(listing->reply, "(tsso)", client->id, client->name, wire_state_name(client->state), path);
}

static int array_end(BusListing *listing) {
        return sd_bus_message_close_container(listing->reply);
}

static int objects_begin(BusListing *listing, Bus *bus) {
        return sd_bus_message_open_container(listing->reply, 'a', "{oa{sa{sv}}}");
}

static int objects_add(BusListing *listing, Bus *bus, const ServerClient *client) {
        char path[BUS_CLIENT_PATH_SIZE];
        int r;

        bus_client_path(client->id, path);
        r = sd_bus_message_open_container(listing->reply, 'e', "oa{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_append_basic(listing->reply, 'o', path);
        if (r >= 0)
                r = bus_client_append_interfaces(listing->reply, bus, client);
        return r < 0 ? r : sd_bus_message_close_container(listing->reply);
}

static int describe_begin(BusListing *listing, Bus *bus) {
        listing->text = open_memstream(&listing->buffer, &listing->size);
        if (!listing->text)
                return -errno;
        fputc('{', listing->text);
        bus_manager_write_json(listing->text, bus);
        fputs(",\"Clients\":[", listing->text);
        return 0;
}

static int describe_add(BusListing *listing, Bus *bus, const ServerClient *client) {
        if (listing->last_id != 0)
                fputc(',', listing->text);
        bus_client_write_json(listing->text, bus, client);
        return 0;
}

static int describe_end(BusListing *listing) {
        fputs("]}", listing->text);
        if (fflush(listing->text) != 0 || ferror(listing->text))
                return -ENOMEM;
        return sd_bus_message_append_basic(listing->reply, 's', listing->buffer);
}

static const ListKind list_kinds[_BUS_LIST_KIND_N] = {
        [BUS_LIST_CLIENTS] = { clients_begin, clients_add, array_end },
        [BUS_LIST_OBJECTS] = { objects_begin, objects_add, array_end },
        [BUS_LIST_DESCRIBE] = { describe_begin, describe_add, describe_end },
};

static int listing_begin(BusListing *listing, Bus *bus) {
        int r;

        r = sd_bus_message_new_method_return(listing->call, &listing->reply);
        return r < 0 ? r : list_kinds[listing->kind].begin(listing, bus);
}

/* 1: all clients are in the reply; 0: the time is up; or a negative errno */
static int listing_go_on(BusListing *listing, Bus *bus, uint64_t deadline_usec) {
        ServerClient client;
        int r;

        for (unsigned n = 1; server_next_client(bus->server, listing->last_id, &client) >= 0; n++) {
                r = list_kinds[listing->kind].add(listing, bus, &client);
                if (r < 0)
                        return r;
                listing->last_id = client.id;
                if (n % LISTER_CLOCK_EVERY == 0 && bus_now() >= deadline_usec)
                        return 0;
        }
        r = list_kinds[listing->kind].end(listing);
        return r < 0 ? r : 1;
}

void bus_lister_run(Bus *bus, uint64_t deadline_usec) {
        BusLister *lister = &bus->lister;
        BusListing *listing = lister->first;
        int r = 0;

        if (!listing)
                return;
        if (!lister->under_way) {
                lister->under_way = true;
                r = listing_begin(listing, bus);
        }
        if (r >= 0)
                r = listing_go_on(listing, bus, deadline_usec);
        if (r == 0)
                return;

        /* A reply that can't be sent has nobody left to read it, unless there is no memory for it. */
        if (r > 0)
                r = sd_bus_send(bus->sd_bus, listing->reply, NULL);
        else
                r = sd_bus_reply_method_errno(listing->call, r, NULL);
        if (r == -ENOMEM)
                bus_miss(bus);
        lister->under_way = false;
        lister->n_calls--;
        lister->first = listing->next;
        if (!lister->first)
                lister->last = NULL;
        listing_free(listing);
}

int bus_lister_add(Bus *bus, sd_bus_message *call, BusListKind kind) {
        BusLister *lister = &bus->lister;
        BusListing *listing;

        if (lister->n_calls >= LISTER_CALLS_MAX)
                return bus_reply_error(bus, call, BUS_E_TOO_MANY_LISTINGS);
        listing = calloc(1, sizeof *listing);
        if (!listing)
                return -ENOMEM;
        listing->call = sd_bus_message_ref(call);
        listing->kind = kind;
        if (lister->last)
                lister->last->next = listing;
        else
                lister->first = listing;
        lister->last = listing;

        if (lister->n_calls++ == 0 && bus_has_room_for_listing(bus))
                bus_lister_run(bus, bus_now() + BUS_SLICE_USEC);
        bus_wake(bus);
        return 1;
}

void bus_lister_deinit(BusLister *lister) {
        while (lister->first) {
                BusListing *listing = lister->first;

                lister->first = listing->next;
                listing_free(listing);
        }
        *lister = (BusLister) {};
}
