/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The configuration: directserver.conf with its drop-ins, and what the command line overrides. All defaults stand in config.c,
 * in the one table of keys. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum BusKind {
        BUS_SYSTEM,
        BUS_USER,
        BUS_NONE,
} BusKind;

typedef struct Config {
        /* [Server] */
        char **listen; /* Listen=: addresses separated by white space; NULL-terminated; NULL: the default. Fixed at start */
        BusKind bus;   /* Bus=system|user|none. Fixed at start */
        uint64_t max_clients;                  /* MaxClients= */
        uint64_t ping_interval_usec;           /* PingIntervalSec= */
        uint64_t kernel_timeout_usec;          /* KernelTimeoutSec=: TCP_USER_TIMEOUT; for new links */
        uint64_t grace_usec;                   /* GraceSec= */
        uint64_t slow_client_timeout_usec;     /* SlowClientTimeoutSec=: 0, never */
        uint64_t broadcast_wait_usec;          /* BroadcastWaitMSec= */
        uint64_t outbox_high;                  /* OutboxHighWater=, bytes, K/M/G suffixes */
        uint64_t outbox_low;                   /* OutboxLowWater= */
        uint64_t initial_credit;               /* InitialCredit= */
        uint64_t spin_usec;                    /* SpinUSec=: 0, not at all */
} Config;

#define CONFIG_NULL ((Config) {})

/* Reads the files. `path` NULL: /etc/directserver/directserver.conf (vendor copy under /usr/lib/directserver) with drop-ins
 * from directserver.conf.d/ of both, or, if `instance` is not NULL, the same with directserver@INSTANCE.conf; else that one
 * file with the drop-ins of PATH.d/. A missing default file is no error, a missing `path` is.
 *
 * Returns 0 and a complete *ret_config; or a negative errno and, unless memory ran out, *ret_error: one line for people with
 * file and line, what is wrong, and what would be right (free() it). An unknown key or section is such an error as well. */
int config_load(const char *path, const char *instance, Config *ret_config, char **ret_error);

/* The same with other directories than the ones of the build: directserver.conf and directserver.conf.d/ in each. */
int config_load_from(const char *directory, const char *vendor_directory, const char *instance, Config *ret_config,
                     char **ret_error);

void config_deinit(Config *config);

/* The i-th key and its default, as both are written; false if there are no more. For what must agree with the table, as the
 * manual. */
bool config_get_key(size_t i, const char **ret_name, const char **ret_default);

/* Compares a running configuration with a newly read one: the names of the keys, separated by spaces, that differ but cannot
 * change without a restart (*ret_fixed; "" if none), and of those that differ and can (*ret_changed). free() both. 0 or
 * -ENOMEM. */
int config_compare(const Config *running, const Config *loaded, char **ret_fixed, char **ret_changed);

int config_parse_bus(const char *text, BusKind *ret);
