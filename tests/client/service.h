/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A real service for a test: on a port and a local socket of its own, with a state directory that goes with it. */

#include <sys/types.h>

typedef struct Service {
        pid_t pid;
        int port;
        char directory[64];
        char address[32]; /* for direct_connect() */
        char local_address[80];
} Service;

/* Starts it and waits until it listens; restarting (with the same port and state) is start after stop. The executable is
 * $DIRECTSERVER_EXECUTABLE. Both fail the test if they can't. */
void service_start(Service *service);

/* Ends it with a signal, and waits for that. */
void service_stop(Service *service, int signal_number);

/* Removes what it leaves behind. */
void service_clean(Service *service);
