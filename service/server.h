/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service as the control plane sees it. Owns the event loop, the router, the data plane, the bus and the state. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "service/config.h"
#include "service/core/load.h"
#include "service/options.h"

typedef struct Server Server;

/* What there is to know of a client. Texts are valid until control returns to the event loop. */
typedef struct ServerClient {
        uint64_t id;
        const char *name;
        const char *program;   /* what it says of itself, for people */
        const char *address;   /* "192.0.2.7:41234", "[2001:db8::7]:41234", "unix:pid=123,uid=1000"; "" while away */
        unsigned state;        /* WireState */
        uint64_t since_usec;   /* CLOCK_REALTIME at which it joined */
        uint64_t messages_in, messages_out, bytes_in, bytes_out; /* in: from it */
        uint64_t outbox_bytes; /* queued for it */
        bool paused;           /* not read from at present, because somebody that it sends to can't take more */
        uint64_t rtt_usec;     /* of the kernel, or on the local socket of the last ping; 0: not known yet */
        uint64_t silence_usec; /* since anything was heard of it */
} ServerClient;

uint64_t server_get_n_clients(Server *server);

/* The client with the smallest id above `after_id`, or by id, or by name. 0, or -ENXIO. */
int server_next_client(Server *server, uint64_t after_id, ServerClient *ret);
int server_get_client(Server *server, uint64_t id, ServerClient *ret);
int server_find_client(Server *server, const char *name, ServerClient *ret);

/* Ends a client's session for good and tells it `reason` (clean UTF-8, at most SERVER_REASON_MAX bytes; "" is allowed). `who`
 * names the administrator for the log. 0, -ENXIO: no such client, -EINVAL: the reason is too long or not clean. */
enum { SERVER_REASON_MAX = 1024 };
int server_kick_client(Server *server, uint64_t id, const char *reason, const char *who);

/* Reads the configuration again; `who` asks for it, for the log. 0; or a negative errno and *ret_error (free() it), nothing
 * changed. */
int server_reload(Server *server, const char *who, char **ret_error);

void server_get_load(Server *server, LoadFigures *ret);

/* NULL-terminated, "127.0.0.1:20000", "unix:/run/…" */
const char *const *server_get_listen(Server *server);

/* ---- For main() ---- */

/* Reads the configuration, opens the state directory, listens. Says in the log what fails, and returns it as a negative errno. */
int server_new(const Options *options, Server **ret_server);
Server *server_free(Server *server);

/* Runs until SIGTERM or SIGINT. Returns 0, or a negative errno if the loop failed. */
int server_run(Server *server);
