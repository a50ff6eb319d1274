/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Lets a handle run just when a program that polls its descriptor would: so work that the library has and does not arm its
 * descriptor for is never done, and that is seen at the end. */

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "tests/sim/actor.h"
#include "tests/sim/alloc.h"
#include "tests/sim/oracle.h"
#include "tests/sim/pipes.h"

Actor actors[SIM_CLIENTS_MAX];
static Actor *running; /* whose code is being called */

void actor_init(Actor *a, unsigned number, const ClientPlan *plan, uint64_t seed) {
        *a = (Actor) { .number = number, .plan = plan, .latency = plan->latency, .next_run = UINT64_MAX };
        snprintf(a->name, sizeof(a->name), "c%u", number);
        a->rng = rng_derive(seed, 100 + number);
}

Conn *actor_connect(bool *ret_connected) {
        sim_require(running);
        running->conn = conn_open(running, ret_connected);
        return running->conn;
}

/* Running */

static bool has_pipe_ready(const Actor *a) {
        struct pollfd pollfd = { .fd = a->client->poller.epoll_fd, .events = POLLIN };

        return pipes_are_used() && poll(&pollfd, 1, 0) > 0;
}

bool actor_is_readable(const Actor *a) {
        return a->client->poller.timer_armed <= world_now || sim_link_events(&a->client->link) != 0 || has_pipe_ready(a);
}

static void actor_run_event(void *object, uint64_t number);

static void actor_run_at(Actor *a, uint64_t usec) {
        if (usec < a->halted_until)
                usec = a->halted_until;
        if (usec >= a->next_run)
                return;
        a->next_run = usec;
        world_at(usec, actor_run_event, a, ++a->run_number);
}

void actor_settle(Actor *a) {
        if (!a->client)
                return;
        if (actor_is_readable(a))
                actor_run_at(a, world_now + a->latency);
        else if (a->client->poller.timer_armed != USEC_NEVER)
                actor_run_at(a, a->client->poller.timer_armed + a->latency);
}

void actor_wake(Actor *a) {
        if (a->client && a != running)
                actor_settle(a);
}

static void actor_run_event(void *object, uint64_t number) {
        Actor *a = object;
        int r = 1;

        if (number != a->run_number)
                return;
        a->next_run = UINT64_MAX;
        if (!a->client)
                return;
        if (world_now < a->halted_until) {
                actor_run_at(a, a->halted_until);
                return;
        }
        if (!actor_is_readable(a)) {
                actor_settle(a);
                return;
        }
        running = a;
        for (unsigned i = 0; r == 1 && i < a->plan->process_max; i++)
                INSIDE(r = direct_process(a->client));
        running = NULL;
        if (r < 0)
                world_violation("c%u: direct_process() returned %d", a->number, r);
        oracle_check_client(a);
        if (r == 1)
                actor_run_at(a, world_now + 1 + a->latency);
        actor_settle(a);
}

/* Beginning and end */

static void actor_retry_event(void *object, uint64_t incarnation) {
        Actor *a = object;

        if (a->incarnation == incarnation && !a->client)
                actor_start(a);
}

static int actor_prepare(Actor *a) {
        int r;

        INSIDE(r = direct_client_new(&a->client));
        if (r < 0)
                return r;
        INSIDE(r = direct_set_name(a->client, a->name));
        if (r >= 0)
                INSIDE(r = direct_set_program(a->client, "sim"));
        if (r < 0)
                return r;
        if (a->plan->send_buffer > 0)
                (void) direct_set_send_buffer(a->client, a->plan->send_buffer);
        if (a->plan->max_message > 0)
                (void) direct_set_max_message(a->client, a->plan->max_message);
        program_attach(a);
        (void) direct_get_fd(a->client);
        INSIDE(r = direct_connect_start(a->client, "127.0.0.1:1"));
        return r;
}

void actor_start(Actor *a) {
        int r;

        if (a->client)
                return;
        a->incarnation++;
        a->session_since = 0;
        a->is_finished = a->wants_writable = false;
        a->n_backlog = 0;
        a->conn = NULL;
        running = a;
        r = actor_prepare(a);
        if (r >= 0 && a->plan->watches_everyone)
                INSIDE(r = direct_watch(a->client, 0, 1));
        running = NULL;
        world_say("c%u: started, %d", a->number, r);
        if (r < 0) {
                INSIDE(a->client = direct_client_free(a->client));
                world_in(100 * SIM_MSEC, actor_retry_event, a, a->incarnation);
        } else
                actor_settle(a);
}

static void actor_end(Actor *a) {
        running = a;
        INSIDE(a->client = direct_client_free(a->client));
        running = NULL;
        a->run_number++;
        a->next_run = UINT64_MAX;
        oracle_client_freed(a);
}

void actor_leave(Actor *a) {
        if (!a->client)
                return;
        world_say("c%u: leaves", a->number);
        actor_end(a);
}

void actor_die(Actor *a, unsigned how) {
        if (!a->client)
                return;
        world_say("c%u: dies", a->number);
        if (a->conn)
                conn_die(a->conn, how);
        actor_end(a);
}

bool actor_is_alive(uint64_t id) {
        for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
                if (actors[i].client && !actors[i].is_finished && direct_get_id(actors[i].client) == id)
                        return true;
        return false;
}

void actor_halt(Actor *a, uint64_t duration) {
        uint64_t until = world_now + duration;

        world_say("c%u: halted for %.3f s", a->number, (double) duration / 1e6);
        if (until > a->halted_until)
                a->halted_until = until;
        a->next_run = UINT64_MAX;
        actor_run_at(a, a->halted_until);
}
