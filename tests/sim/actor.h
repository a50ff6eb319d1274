/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A client's program and its host: starts the library's handle, lets it work when it has reason to, dies, and comes back. */

#include "client/directclient.h"
#include "tests/sim/net.h"
#include "tests/sim/plan.h"

typedef struct Message Message;
struct Link; /* the client's: the core has another of that name */

enum { ACTOR_BACKLOG_MAX = 64 };

struct Actor {
        unsigned number;
        const ClientPlan *plan;
        char name[8];
        Host host;
        Rng rng;
        unsigned n_conns;
        Conn *conn; /* the last; or NULL */

        DirectClient *client; /* NULL: not running */
        unsigned incarnation;
        uint64_t latency;
        uint64_t halted_until;
        uint64_t next_run; /* UINT64_MAX: none */
        uint64_t run_number;

        uint64_t id;            /* of the session, as the handle said last */
        uint64_t former_id;     /* … and before */
        uint64_t session_since; /* when it heard so */
        unsigned session_number; /* in which start of the service */
        bool is_finished;       /* kicked, or given up */
        bool wants_writable;    /* -EAGAIN was returned */
        const Item *backlog[ACTOR_BACKLOG_MAX]; /* what got -EAGAIN */
        unsigned n_backlog;
};

extern Actor actors[SIM_CLIENTS_MAX];

void actor_init(Actor *a, unsigned number, const ClientPlan *plan, uint64_t seed);
/* A new handle, if there is none. */
void actor_start(Actor *a);
/* GOODBYE, and the end. */
void actor_leave(Actor *a);
/* The program is killed. */
void actor_die(Actor *a, unsigned how);
void actor_halt(Actor *a, uint64_t duration);

/* Is there a program that has this session? */
bool actor_is_alive(uint64_t id);

/* Something has changed for its descriptor. */
void actor_wake(Actor *a);
/* Would poll(2) say that its descriptor is readable? */
bool actor_is_readable(const Actor *a);
/* Something was done to the handle outside of a run. */
void actor_settle(Actor *a);

/* For sim-link.c: who opens a connection, and what its poller sees */
Conn *actor_connect(bool *ret_connected);
uint32_t sim_link_events(const struct Link *link);

/* program.c: handlers, and what the plan has it do */
void program_attach(Actor *a);
void program_do(Actor *a, const Item *item);
void program_writable(Actor *a);
