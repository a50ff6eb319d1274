/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <string.h>

#include "tools/ctl-property.h"

typedef struct Property {
        const char *name;
        char type; /* 's': const char*, 't' and 'b': uint64_t */
        size_t offset;
} Property;

static const Property client_properties[] = {
        { "Id", 't', offsetof(CtlClient, id) },
        { "Name", 's', offsetof(CtlClient, name) },
        { "State", 's', offsetof(CtlClient, state) },
        { "Program", 's', offsetof(CtlClient, program) },
        { "Address", 's', offsetof(CtlClient, address) },
        { "SinceUSec", 't', offsetof(CtlClient, since_usec) },
        { "MessagesIn", 't', offsetof(CtlClient, messages_in) },
        { "MessagesOut", 't', offsetof(CtlClient, messages_out) },
        { "BytesIn", 't', offsetof(CtlClient, bytes_in) },
        { "BytesOut", 't', offsetof(CtlClient, bytes_out) },
        { "OutboxBytes", 't', offsetof(CtlClient, outbox_bytes) },
        { "Paused", 'b', offsetof(CtlClient, paused) },
        { "RoundTripUSec", 't', offsetof(CtlClient, round_trip_usec) },
        { "SilenceUSec", 't', offsetof(CtlClient, silence_usec) },
        {},
};

#define RATES(name, field)                                      \
        { name "1Sec", 't', offsetof(CtlLoad, field[0]) },      \
        { name "10Sec", 't', offsetof(CtlLoad, field[1]) },     \
        { name "60Sec", 't', offsetof(CtlLoad, field[2]) }

static const Property load_properties[] = {
        { "Version", 's', offsetof(CtlLoad, version) },
        { "UptimeUSec", 't', offsetof(CtlLoad, uptime_usec) },
        { "Clients", 't', offsetof(CtlLoad, clients) },
        { "ClientsAway", 't', offsetof(CtlLoad, clients_away) },
        { "ClientsPaused", 't', offsetof(CtlLoad, clients_paused) },
        { "MessagesIn", 't', offsetof(CtlLoad, messages_in) },
        { "MessagesOut", 't', offsetof(CtlLoad, messages_out) },
        { "BytesIn", 't', offsetof(CtlLoad, bytes_in) },
        { "BytesOut", 't', offsetof(CtlLoad, bytes_out) },
        RATES("MessagesInRate", messages_in_rate),
        RATES("MessagesOutRate", messages_out_rate),
        RATES("BytesInRate", bytes_in_rate),
        RATES("BytesOutRate", bytes_out_rate),
        RATES("BusyPermille", busy_permille),
        { "RoutingP50NSec", 't', offsetof(CtlLoad, routing_p50_ns) },
        { "RoutingP90NSec", 't', offsetof(CtlLoad, routing_p90_ns) },
        { "RoutingP99NSec", 't', offsetof(CtlLoad, routing_p99_ns) },
        { "RoutingP999NSec", 't', offsetof(CtlLoad, routing_p999_ns) },
        { "RoutingMaxNSec", 't', offsetof(CtlLoad, routing_max_ns) },
        { "QueuedBytes", 't', offsetof(CtlLoad, queued_bytes) },
        { "MemoryBytes", 't', offsetof(CtlLoad, memory_bytes) },
        { "CPUUSec", 't', offsetof(CtlLoad, cpu_usec) },
        { "Bounces", 't', offsetof(CtlLoad, bounces) },
        { "SkippedBroadcasts", 't', offsetof(CtlLoad, skipped_broadcasts) },
        { "ProtocolErrors", 't', offsetof(CtlLoad, protocol_errors) },
        {},
};

static int read_variant(sd_bus_message *m, const Property *property, void *object) {
        void *field = (uint8_t *) object + property->offset;
        char signature[2] = { property->type };
        int r, truth;

        r = sd_bus_message_enter_container(m, 'v', signature);
        if (r < 0)
                return r;
        if (property->type == 'b') {
                r = sd_bus_message_read_basic(m, 'b', &truth);
                if (r >= 0)
                        *(uint64_t *) field = (uint64_t) truth;
        } else
                r = sd_bus_message_read_basic(m, property->type, field);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

/* Properties come in the order of the table, for the service's has the same: the search goes on where it ended. */
static const Property *find_property(const Property *table, const Property *hint, const char *name) {
        for (const Property *p = hint; p->name; p++)
                if (strcmp(p->name, name) == 0)
                        return p;
        for (const Property *p = table; p < hint; p++)
                if (strcmp(p->name, name) == 0)
                        return p;
        return NULL;
}

static int read_properties(sd_bus_message *m, const Property *table, void *object) {
        const Property *hint = table, *property;
        const char *name;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &name);
                if (r < 0)
                        return r;
                property = find_property(table, hint, name);
                if (property)
                        hint = property + 1;
                r = property ? read_variant(m, property, object) : sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

int ctl_property_read_client(sd_bus_message *m, CtlClient *ret) {
        *ret = (CtlClient) { .name = "", .state = "", .program = "", .address = "" };
        return read_properties(m, client_properties, ret);
}

int ctl_property_read_load(sd_bus_message *m, CtlLoad *ret) {
        *ret = (CtlLoad) { .version = "" };
        return read_properties(m, load_properties, ret);
}

const char *ctl_client_state(const CtlClient *client) {
        return client->paused ? "paused" : client->state;
}
