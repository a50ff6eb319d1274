/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The methods and properties of the Manager. Each method reads its arguments, has the caller authorised where it changes
 * something, makes one server_*() call, and replies. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#include "service/bus-client.h"
#include "service/bus-error.h"
#include "service/bus-manager.h"
#include "service/bus-property.h"

static void manager_view_fill(Bus *bus) {
        bus->manager.bus = bus;
        bus->manager.version = PROJECT_VERSION;
        bus->manager.listen = server_get_listen(bus->server);
        server_get_load(bus->server, &bus->manager.load);
}

/* The table is exported as a fallback, though there is one such object only, because then sd-bus asks here before it reads: all
 * figures of one GetAll() are of one moment. */
static int find_manager(sd_bus *sd_bus, const char *path, const char *interface, void *userdata, void **ret_found,
                        sd_bus_error *error) {
        Bus *bus = userdata;

        if (strcmp(path, BUS_PATH) != 0)
                return 0;
        manager_view_fill(bus);
        *ret_found = &bus->manager;
        return 1;
}

static int method_list_clients(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        BusManagerView *view = userdata;

        return bus_lister_add(view->bus, call, BUS_LIST_CLIENTS);
}

static int method_describe(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        BusManagerView *view = userdata;

        return bus_lister_add(view->bus, call, BUS_LIST_DESCRIBE);
}

/* sd-bus would make this answer itself, but in one go: with 10,000 clients that stopped the loop for 62 ms, slices
 * stop it for half a millisecond. */
static int on_get_managed_objects(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        if (!sd_bus_message_is_method_call(call, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects") ||
            !sd_bus_message_is_empty(call))
                return 0;
        return bus_lister_add(userdata, call, BUS_LIST_OBJECTS);
}

static int method_get_client(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        BusManagerView *view = userdata;
        char path[BUS_CLIENT_PATH_SIZE];
        ServerClient client;
        const char *name;
        int r;

        r = sd_bus_message_read(call, "s", &name);
        if (r < 0)
                return r;
        if (server_find_client(view->bus->server, name, &client) < 0)
                return bus_reply_error(view->bus, call, BUS_E_NO_SUCH_CLIENT);
        bus_client_path(client.id, path);
        return sd_bus_reply_method_return(call, "o", path);
}

static int method_kick_client(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        BusManagerView *view = userdata;
        const char *reason;
        uint64_t id;
        int r;

        r = sd_bus_message_read(call, "ts", &id, &reason);
        if (r < 0)
                return r;
        return bus_client_kick(view->bus, call, id, reason, error);
}

static int run_reload(sd_bus_message *call, const char *who, void *userdata, sd_bus_error *error) {
        _cleanup_(freep) char *text = NULL;
        Bus *bus = userdata;
        int r;

        r = server_reload(bus->server, who, &text);
        if (r < 0)
                return r == -ENOMEM ? r : bus_error_set_text(error, BUS_E_INVALID_CONFIGURATION, text);
        return sd_bus_reply_method_return(call, NULL);
}

static int method_reload(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        BusManagerView *view = userdata;

        return polkit_authorise(view->bus->polkit, call, BUS_ACTION_RELOAD, NULL, run_reload, view->bus, error);
}

#define LOAD_PROPERTY(name, field) SD_BUS_PROPERTY(name, "t", NULL, offsetof(BusManagerView, load.field), 0)

/* One property for each span of time, as `busctl introspect` shows no value of a compound type. */
#define RATE_PROPERTIES(name, field)                                    \
        LOAD_PROPERTY(name "1Sec", field[0]),                           \
        LOAD_PROPERTY(name "10Sec", field[1]),                          \
        LOAD_PROPERTY(name "60Sec", field[2])

static const sd_bus_vtable manager_table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Version", "s", NULL, offsetof(BusManagerView, version), SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("ListenAddresses", "as", NULL, offsetof(BusManagerView, listen), SD_BUS_VTABLE_PROPERTY_CONST),
        LOAD_PROPERTY("UptimeUSec", uptime_usec),
        LOAD_PROPERTY("Clients", clients),
        LOAD_PROPERTY("ClientsAway", clients_away),
        LOAD_PROPERTY("ClientsPaused", clients_paused),
        LOAD_PROPERTY("MessagesIn", messages_in),
        LOAD_PROPERTY("MessagesOut", messages_out),
        LOAD_PROPERTY("BytesIn", bytes_in),
        LOAD_PROPERTY("BytesOut", bytes_out),
        RATE_PROPERTIES("MessagesInRate", messages_in_rate),
        RATE_PROPERTIES("MessagesOutRate", messages_out_rate),
        RATE_PROPERTIES("BytesInRate", bytes_in_rate),
        RATE_PROPERTIES("BytesOutRate", bytes_out_rate),
        RATE_PROPERTIES("BusyPermille", busy_permille),
        LOAD_PROPERTY("RoutingP50NSec", routing_p50_ns),
        LOAD_PROPERTY("RoutingP90NSec", routing_p90_ns),
        LOAD_PROPERTY("RoutingP99NSec", routing_p99_ns),
        LOAD_PROPERTY("RoutingP999NSec", routing_p999_ns),
        LOAD_PROPERTY("RoutingMaxNSec", routing_max_ns),
        LOAD_PROPERTY("QueuedBytes", queued_bytes),
        LOAD_PROPERTY("MemoryBytes", memory_bytes),
        LOAD_PROPERTY("CPUUSec", cpu_usec),
        LOAD_PROPERTY("Bounces", bounces),
        LOAD_PROPERTY("SkippedBroadcasts", skipped_broadcasts),
        LOAD_PROPERTY("ProtocolErrors", protocol_errors),
        SD_BUS_METHOD_WITH_ARGS("ListClients", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(tsso)", clients), method_list_clients,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetClient", SD_BUS_ARGS("s", name), SD_BUS_RESULT("o", path), method_get_client,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("KickClient", SD_BUS_ARGS("t", id, "s", reason), SD_BUS_NO_RESULT, method_kick_client,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Describe", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_describe,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL_WITH_ARGS("ClientNew", SD_BUS_ARGS("t", id, "s", name, "o", path), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ClientRemoved", SD_BUS_ARGS("t", id, "s", name, "o", path, "s", reason), 0),
        SD_BUS_VTABLE_END,
};

void bus_manager_write_json(FILE *f, Bus *bus) {
        manager_view_fill(bus);
        bus_property_write_json(f, manager_table, &bus->manager, (const char *const[]) { "s", "as", NULL });
        fputs(",\"Load\":{", f);
        bus_property_write_json(f, manager_table, &bus->manager, (const char *const[]) { "t", NULL });
        fputc('}', f);
}

int bus_manager_export(Bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus->sd_bus, NULL, BUS_PATH, BUS_MANAGER_INTERFACE, manager_table, find_manager, bus);
        if (r < 0)
                return r;
        r = sd_bus_add_object_manager(bus->sd_bus, NULL, BUS_PATH);
        if (r < 0)
                return r;
        return sd_bus_add_object(bus->sd_bus, NULL, BUS_PATH, on_get_managed_objects, bus);
}
