/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What server.c, server-handover.c, server-loop.c and server-ops.c share. */

#include "service/bus.h"
#include "service/log.h"
#include "service/net/net.h"
#include "service/options.h"
#include "service/server.h"
#include "service/state.h"
#include "service/unit-job.h"

/* One kind of line that peers can cause */
typedef enum ServerLimit {
        SERVER_LIMIT_REFUSED,
        SERVER_LIMIT_PROTOCOL_ERROR,
        SERVER_LIMIT_LOST,
        SERVER_LIMIT_DESCRIPTORS,
        SERVER_LIMIT_STATE,
        SERVER_LIMIT_MEMORY,
        _SERVER_LIMIT_N,
} ServerLimit;

struct Server {
        sd_event *event;
        sd_event_source *stop_source; /* on while stopping */
        Config config;
        const char *instance; /* NULL: the main service */
        const char *config_path;
        bool has_bus_option; /* --bus= was given, and goes before the configuration */
        State *state;
        Router *router;
        Net *net;
        Bus *bus; /* NULL: none is wanted */
        char **passed;          /* the names of what the manager has passed, beginning with SD_LISTEN_FDS_START */
        size_t n_passed;
        const char **addresses; /* NULL-terminated; the texts are the data plane's */
        bool needs_ids;
        UnitJob *unit_job;      /* told to stop, and asking why */
        bool stopping;
        bool control_is_due; /* sd-event may have something to do, or to hear of */
        int statm_fd;
        LogLimit limits[_SERVER_LIMIT_N];
};

extern const RouterOps server_ops;

/* Takes ids from the state directory, if the router has asked for some. */
int server_feed_ids(Server *s);

/* Leaves all links for the next start, between two turns. Returns 1: that is done, and nothing may be done to them any more; or a
 * negative errno, which it has logged. */
int server_hand_over(Server *s);

/* Makes router and data plane of what was left by the service before. 1; or 0: there is nothing, or (it has said so) it is of no
 * use, and closed. */
int server_take_over(Server *s, const RouterConfig *config);

/* For net_new(). */
void server_out_of_descriptors(void *userdata);

/* The bus's view of a session. */
void server_describe(Server *s, const Session *session, ServerClient *ret);
