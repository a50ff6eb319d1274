/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the wish to be connected to an accepted link, and again after that was lost. */

#include <stdbool.h>
#include <stdint.h>

#include "client/directclient.h"
#include "protocol/wire.h"

typedef enum SessionState {
        SESSION_IDLE,       /* not wanted, or given up */
        SESSION_PAUSING,    /* for a moment: will connect at `deadline` */
        SESSION_CONNECTING, /* the socket is under way */
        SESSION_GREETING,   /* HELLO is sent */
        SESSION_UP,
} SessionState;

typedef struct Session {
        SessionState state;
        bool is_established; /* was accepted since direct_connect(): from then on the link is renewed when it is lost */
        bool is_quiet;       /* direct_connect() waits and returns the outcome: no event for a failure */
        int failure;         /* why it was given up */
        uint64_t deadline;   /* PAUSING: when to connect; CONNECTING, GREETING: when to give up; else USEC_NEVER */
        uint64_t attempt_end; /* of the present attempt, within which a full local queue is retried; 0: there is none */
        size_t address;       /* the present one, in the list of the link */
        size_t first_address; /* where we were accepted: it is tried first, and then those after it */
        size_t n_tried;       /* those that are done with in this attempt */
        bool is_answered;     /* one of them has a host that is there, and no service */
        uint64_t up_since;
        uint64_t down_since; /* when the last link was lost */
        unsigned n_lost; /* links in a row that did not last, and attempts that failed; the delay doubles with each */
        uint64_t random;

        uint64_t id;
        bool has_token;
        bool is_resuming; /* HELLO offered the id */
        uint8_t token[WIRE_TOKEN_SIZE];
        uint8_t instance[WIRE_INSTANCE_SIZE]; /* of the service, when we were accepted last */
        uint64_t epoch;
} Session;

void session_init(Session *s);

/* 0, -EISCONN, or why `address` is none. What comes of it is told by an event, unless `is_quiet`. */
int session_start(DirectClient *client, const char *address, bool is_quiet);

/* Says GOODBYE and becomes idle. Whatever was under way ends with `result`. */
void session_stop(DirectClient *client, int result);

/* The socket of a connection under way has become writable, or has failed. */
void session_socket_ready(DirectClient *client);

/* The link failed. */
void session_link_failed(DirectClient *client, int error);

/* Frames: 0, or -EPROTO. */
int session_welcome(DirectClient *client, const WireHeader *header, const uint8_t *payload);
int session_refused(DirectClient *client, const WireHeader *header, const uint8_t *payload);
int session_goodbye(DirectClient *client, const WireHeader *header, const uint8_t *payload);

/* The deadline has passed. */
void session_expire(DirectClient *client);
