/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef HERD_SERVICE_H
#define HERD_SERVICE_H

/* A service that is killed and started again where it was: one port, one local socket, one state directory. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

typedef struct HerdService {
        const char *executable;
        char directory[64];
        char tcp[32], local[96]; /* for direct_connect() */
        pid_t pid;
        int log_fd;
        clockid_t clock; /* its processor time */
} HerdService;

/* Finds a port and makes the directory; starts nothing. All but herd_service_end() end the process when they can't go on. */
void herd_service_init(HerdService *service, const char *executable);

/* Returns when both addresses are listened on. */
void herd_service_start(HerdService *service);

/* Sends the signal, and returns when the process has ended. */
void herd_service_end(HerdService *service, int signal_number);

/* Removes the directory. */
void herd_service_deinit(HerdService *service);

#endif
