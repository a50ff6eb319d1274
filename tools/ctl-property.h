/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The properties of clients and of the service as structs. What a service of another version does not have stays 0 or "". */

#include "tools/ctl.h"

typedef struct CtlClient {
        uint64_t id;
        const char *name, *state, *program, *address; /* in the message that they were read from */
        uint64_t since_usec;
        uint64_t messages_in, messages_out, bytes_in, bytes_out;
        uint64_t outbox_bytes;
        uint64_t paused; /* 0 or 1 */
        uint64_t round_trip_usec, silence_usec;
} CtlClient;

enum { CTL_N_RATES = 3 };

typedef struct CtlLoad {
        const char *version;
        uint64_t uptime_usec;
        uint64_t clients, clients_away, clients_paused;
        uint64_t messages_in, messages_out, bytes_in, bytes_out;
        uint64_t messages_in_rate[CTL_N_RATES], messages_out_rate[CTL_N_RATES];
        uint64_t bytes_in_rate[CTL_N_RATES], bytes_out_rate[CTL_N_RATES];
        uint64_t busy_permille[CTL_N_RATES];
        uint64_t routing_p50_ns, routing_p90_ns, routing_p99_ns, routing_p999_ns, routing_max_ns;
        uint64_t queued_bytes, memory_bytes, cpu_usec;
        uint64_t bounces, skipped_broadcasts, protocol_errors;
} CtlLoad;

/* Both read one a{sv}. 0, or a negative errno */
int ctl_property_read_client(sd_bus_message *m, CtlClient *ret);
int ctl_property_read_load(sd_bus_message *m, CtlLoad *ret);

/* The state for people: one that is not read from is "paused". */
const char *ctl_client_state(const CtlClient *client);
