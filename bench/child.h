/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A server under measurement: a child process with a private directory and a port that the kernel has chosen. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef struct Child {
        pid_t pid;
        char *directory;
        int log_fd; /* its standard error */
        uint16_t port;
        clockid_t clock;
} Child;

enum { CHILD_ADDRESS_MAX = 128 }; /* a local socket has no longer a name */

#define CHILD_NULL ((Child) { .log_fd = -1 })

/* No ping gets between the messages that are counted. */
#define CHILD_NO_PINGS "PingIntervalSec=1h\n"

/* Both return when the server listens. 0, or a negative errno; what the server had to say about it is on standard error by
 * then. `settings` are lines of its configuration. */
int child_start_service(const char *path, const char *settings, Child *ret_child);
int child_start_relay(const char *path, Child *ret_child);

/* Where the service listens: on its local socket, or with TCP */
int child_get_address(const Child *c, bool local, char ret_address[static CHILD_ADDRESS_MAX]);

/* Ends it and removes its directory. */
void child_stop(Child *c);

/* Processor time so far, all threads, user and system. 0 or a negative errno. */
int child_get_cpu(const Child *c, uint64_t *ret_nsec);
