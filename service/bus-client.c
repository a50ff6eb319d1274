/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each client as a D-Bus object. There are no objects in memory: a path names an id, and sd-bus calls find_client() for the
 * path of each message. An id is never used again, so neither is a path. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/wire.h"
#include "service/bus-client.h"
#include "service/bus-error.h"
#include "service/bus-property.h"

void bus_client_path(uint64_t id, char path[static BUS_CLIENT_PATH_SIZE]) {
        snprintf(path, BUS_CLIENT_PATH_SIZE, BUS_CLIENT_ROOT "/%" PRIu64, id);
}

/* Only the one way in which we write it ourselves, so that a client has a single path. 0: not the path of a client. */
static uint64_t path_to_id(const char *path) {
        uint64_t id = 0;

        if (strncmp(path, BUS_CLIENT_ROOT "/", sizeof BUS_CLIENT_ROOT) != 0)
                return 0;
        path += sizeof BUS_CLIENT_ROOT;
        if (*path == '0')
                return 0;
        for (; *path; path++) {
                if (*path < '0' || *path > '9' ||
                    __builtin_mul_overflow(id, 10U, &id) || __builtin_add_overflow(id, (unsigned) (*path - '0'), &id))
                        return 0;
        }
        return id;
}

static void client_view_fill(BusClientView *view, Bus *bus, const ServerClient *client) {
        *view = (BusClientView) {
                .bus = bus,
                .client = *client,
                .state = wire_state_name(client->state),
                .paused = client->paused,
        };
}

static int find_client(sd_bus *sd_bus, const char *path, const char *interface, void *userdata, void **ret_found,
                       sd_bus_error *error) {
        Bus *bus = userdata;
        ServerClient client;
        uint64_t id;

        id = path_to_id(path);
        if (id == 0 || server_get_client(bus->server, id, &client) < 0)
                return 0;
        client_view_fill(&bus->client, bus, &client);
        *ret_found = &bus->client;
        return 1;
}

/* sd-bus asks at every Introspect for the children of the path that was asked about. All clients are named only below their root:
 * else each of the 10,000 calls of `busctl tree` would make a list of 10,000. */
static int list_paths(sd_bus *sd_bus, const char *prefix, void *userdata, char ***ret_paths, sd_bus_error *error) {
        Bus *bus = userdata;
        ServerClient client = {};
        uint64_t i, n;
        char **paths;

        if (strcmp(prefix, BUS_CLIENT_ROOT) != 0)
                return 0;
        n = server_get_n_clients(bus->server);
        paths = calloc(n + 1, sizeof *paths);
        if (!paths)
                return -ENOMEM;
        for (i = 0; i < n && server_next_client(bus->server, client.id, &client) >= 0; i++) {
                paths[i] = malloc(BUS_CLIENT_PATH_SIZE);
                if (!paths[i])
                        goto fail;
                bus_client_path(client.id, paths[i]);
        }
        *ret_paths = paths;
        return 0;

fail:
        while (i > 0)
                free(paths[--i]);
        free(paths);
        return -ENOMEM;
}

static bool reason_is_valid(const char *reason) {
        size_t size = strlen(reason);

        return size <= SERVER_REASON_MAX && wire_text_is_clean(reason, size);
}

/* Runs after the wait for polkit: the message says what was asked for, the server whether that is still possible. */
static int run_kick(sd_bus_message *call, const char *who, void *userdata, sd_bus_error *error) {
        Bus *bus = userdata;
        const char *reason;
        uint64_t id;
        int r;

        r = sd_bus_message_rewind(call, 1);
        if (r < 0)
                return r;
        if (sd_bus_message_has_signature(call, "ts"))
                r = sd_bus_message_read(call, "ts", &id, &reason);
        else {
                id = path_to_id(sd_bus_message_get_path(call));
                r = sd_bus_message_read(call, "s", &reason);
        }
        if (r < 0)
                return r;
        r = server_kick_client(bus->server, id, reason, who);
        if (r < 0)
                return bus_error_set(error, r == -ENXIO ? BUS_E_NO_SUCH_CLIENT : r == -EINVAL ? BUS_E_INVALID_REASON : r);
        return sd_bus_reply_method_return(call, NULL);
}

int bus_client_kick(Bus *bus, sd_bus_message *call, uint64_t id, const char *reason, sd_bus_error *error) {
        ServerClient client;

        /* Said at once rather than after somebody has typed a password. */
        if (!reason_is_valid(reason))
                return bus_reply_error(bus, call, BUS_E_INVALID_REASON);
        if (server_get_client(bus->server, id, &client) < 0)
                return bus_reply_error(bus, call, BUS_E_NO_SUCH_CLIENT);
        return polkit_authorise(bus->polkit, call, BUS_ACTION_KICK_CLIENT, client.name, run_kick, bus, error);
}

static int method_kick(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        BusClientView *view = userdata;
        const char *reason;
        int r;

        r = sd_bus_message_read(call, "s", &reason);
        if (r < 0)
                return r;
        return bus_client_kick(view->bus, call, view->client.id, reason, error);
}

#define CLIENT_OFFSET(field) offsetof(BusClientView, client.field)

static const sd_bus_vtable client_table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Id", "t", NULL, CLIENT_OFFSET(id), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Name", "s", NULL, CLIENT_OFFSET(name), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", NULL, offsetof(BusClientView, state), SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Program", "s", NULL, CLIENT_OFFSET(program), 0),
        SD_BUS_PROPERTY("Address", "s", NULL, CLIENT_OFFSET(address), 0),
        SD_BUS_PROPERTY("SinceUSec", "t", NULL, CLIENT_OFFSET(since_usec), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("MessagesIn", "t", NULL, CLIENT_OFFSET(messages_in), 0),
        SD_BUS_PROPERTY("MessagesOut", "t", NULL, CLIENT_OFFSET(messages_out), 0),
        SD_BUS_PROPERTY("BytesIn", "t", NULL, CLIENT_OFFSET(bytes_in), 0),
        SD_BUS_PROPERTY("BytesOut", "t", NULL, CLIENT_OFFSET(bytes_out), 0),
        SD_BUS_PROPERTY("OutboxBytes", "t", NULL, CLIENT_OFFSET(outbox_bytes), 0),
        SD_BUS_PROPERTY("Paused", "b", NULL, offsetof(BusClientView, paused), 0),
        SD_BUS_PROPERTY("RoundTripUSec", "t", NULL, CLIENT_OFFSET(rtt_usec), 0),
        SD_BUS_PROPERTY("SilenceUSec", "t", NULL, CLIENT_OFFSET(silence_usec), 0),
        SD_BUS_METHOD_WITH_ARGS("Kick", SD_BUS_ARGS("s", reason), SD_BUS_NO_RESULT, method_kick, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int bus_client_append_interfaces(sd_bus_message *m, Bus *bus, const ServerClient *client) {
        BusClientView view;
        int r;

        client_view_fill(&view, bus, client);
        r = sd_bus_message_open_container(m, 'a', "{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'e', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_append_basic(m, 's', BUS_CLIENT_INTERFACE);
        if (r >= 0)
                r = bus_property_append_all(m, client_table, &view);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

void bus_client_write_json(FILE *f, Bus *bus, const ServerClient *client) {
        BusClientView view;

        client_view_fill(&view, bus, client);
        fputc('{', f);
        bus_property_write_json(f, client_table, &view, (const char *const[]) { "t", "s", "b", NULL });
        fputc('}', f);
}

int bus_client_export(Bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus->sd_bus, NULL, BUS_CLIENT_ROOT, BUS_CLIENT_INTERFACE, client_table, find_client, bus);
        if (r < 0)
                return r;
        return sd_bus_add_node_enumerator(bus->sd_bus, NULL, BUS_CLIENT_ROOT, list_paths, bus);
}
