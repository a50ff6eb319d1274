/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* tests/unit/fake-net.c plays the data plane and checks the router after each turn. Its clock begins anew with each start, as
 * does the router's that it drives. What control does between two starts is done here: ids go on above those that were issued,
 * and whose session has ended can't resume. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/actor.h"
#include "tests/sim/alloc.h"
#include "tests/sim/bug.h"
#include "tests/sim/handover.h"
#include "tests/sim/model.h"
#include "tests/sim/service.h"
#include "tests/unit/fake-net.h"

enum {
        SERVICE_TURN_USEC = 20,            /* between something that happens and the turn that deals with it */
        SERVICE_LINGER_USEC = 1500 * 1000, /* for the last words to be read */
        SERVICE_IDS = 1024 * 1024,
        /* With that of all senders, no outbox gets so full that it takes no PRESENCE: gaps in that are errors here */
        SERVICE_SHARE = 100000,
        SERVICE_DAMAGED_PERCENT = 15,
};

static struct {
        const Plan *plan;
        FakeNet *net;
        RouterOps ops;
        const RouterOps *fake_ops;
        unsigned number;
        uint64_t born;
        uint64_t next_id;
        uint64_t next_turn; /* UINT64_MAX: none */
        uint64_t turn_number;
        bool is_stopping, is_dying;
        bool is_between; /* the router has been saved, and nobody serves until its successor begins */
        uint64_t handover_number;
        IdRanges resumable, ending; /* who may come back in a later start; … no more, when that is settled */
        unsigned n_downs; /* which of several reasons to be started again is the last */
} service;

static void turn_event(void *object, uint64_t number);

static void service_turn_at(uint64_t usec) {
        if (!service.net || service.is_between || usec >= service.next_turn)
                return;
        service.next_turn = usec;
        world_at(usec, turn_event, NULL, ++service.turn_number);
}

void service_wake(void) {
        service_turn_at(world_now + SERVICE_TURN_USEC);
}

/* The router's clock */
static uint64_t service_clock(void) {
        return world_now - service.born + 1000 * (uint64_t) FAKE_SEC;
}

/* Called from inside of the core: what is allocated here is not its. */
static void on_joined(void *userdata, Session *s) {
        service.fake_ops->joined(userdata, s);
        if (service.is_dying)
                return;
        fake_in_core = false;
        model_joined(s->id, s->name, service.net->router->presence.epoch);
        fake_in_core = true;
}

static void on_left(void *userdata, Session *s, WireReason reason, const char *text) {
        service.fake_ops->left(userdata, s, reason, text);
        if (service.is_dying)
                return;
        fake_in_core = false;
        model_left(s->id, service.net->router->presence.epoch);
        if (reason == WIRE_REASON_DIED && actor_is_alive(s->id))
                world_violation("%s is said to have died, and lives", s->name);
        fake_in_core = true;
}

static void on_ended(void *userdata, IdRange ids) {
        bool in_core = fake_in_core;

        if (service.is_dying)
                return; /* nobody will hear of it */
        fake_in_core = false;
        sim_require(idranges_add(&service.ending, ids) >= 0);
        fake_in_core = in_core;
}

static void on_settle(void *userdata) {
        bool in_core = fake_in_core;

        fake_in_core = false;
        for (size_t i = 0; bug != BUG_FORGETFUL && i < service.ending.n; i++)
                idranges_remove(&service.resumable, service.ending.ranges[i]);
        idranges_deinit(&service.ending);
        fake_in_core = in_core;
}

/* The library never does, whatever befalls it and the service. */
static void on_protocol_error(void *userdata, Link *l, Session *s, const char *text) {
        service.fake_ops->protocol_error(userdata, l, s, text);
        fake_in_core = false;
        world_violation("%s has broken the protocol: %s", s ? s->name : "a newcomer", text);
        fake_in_core = true;
}

void service_init(const Plan *plan) {
        memset(&service, 0, sizeof(service));
        service.plan = plan;
        service.next_id = 1001;
        service.next_turn = UINT64_MAX;
}

static RouterConfig service_config(void) {
        RouterConfig config = fake_config();
        const Plan *p = service.plan;

        config.grace_usec = p->grace;
        config.ping_interval_usec = p->ping_interval;
        config.outbox_high = p->outbox_high;
        config.outbox_low = p->outbox_high / 4;
        config.urgent_high = p->urgent_high;
        config.initial_credit = p->initial_credit;
        config.sender_share = SERVICE_SHARE;
        return config;
}

/* The ids that fake_net_new() has given it were none of this world. */
static void service_give_ids(Router *r) {
        IdRange own = { service.next_id, service.next_id + SERVICE_IDS };

        idranges_deinit(&r->former);
        for (size_t i = 0; i < service.resumable.n; i++)
                sim_require(router_add_former(r, service.resumable.ranges[i]) >= 0);
        r->next_id = own.first;
        r->end_id = own.end;
        sim_require(idranges_add(&service.resumable, own) >= 0);
}

void service_start(void) {
        RouterConfig config = service_config();
        Rng rng = rng_derive(world_seed(), 5000 + service.number);
        Router *r;

        if (service.net)
                return;
        alloc_set_failing(0, 0); /* a service that can't start is no service */
        service.net = sim_must(fake_net_new(&config));
        service.number++;
        service.born = world_now;
        service.is_stopping = service.is_dying = false;
        service.next_turn = UINT64_MAX;
        r = service.net->router;
        for (unsigned i = 0; i < WIRE_INSTANCE_SIZE; i++)
                r->instance[i] = (uint8_t) rng_next(&rng);
        r->random = rng_next(&rng);
        service_give_ids(r);
        service.fake_ops = r->ops;
        service.ops = *r->ops;
        service.ops.joined = on_joined;
        service.ops.left = on_left;
        service.ops.ended = on_ended;
        service.ops.settle = on_settle;
        service.ops.protocol_error = on_protocol_error;
        r->ops = &service.ops;
        model_started(service.number);
        alloc_set_failing(world_seed() + service.number, service.plan->alloc_permyriad);
        world_say("service: start %u, ids from %" PRIu64, service.number, service.next_id);
        service_wake();
}

static void service_end(Rng *rng) {
        if (!service.net)
                return;
        service.is_dying = true;
        handover_forget();
        service.is_between = false;
        idranges_deinit(&service.ending); /* nobody has heard of it */
        service.next_id = service.net->router->next_id + 1 + (rng ? rng_below(rng, 1000) : 0);
        for (Conn *c = net_first(); c; c = c->next)
                if (!c->service_done && (c->link || c->is_in_backlog)) {
                        bool reset = rng && rng_chance(rng, 50);

                        conn_service_closed(c, reset || conn_is_unread(c));
                }
        service.net = fake_net_free(service.net);
        service.turn_number++;
        service.next_turn = UINT64_MAX;
}

void service_deinit(void) {
        service_end(NULL);
        idranges_deinit(&service.resumable);
        idranges_deinit(&service.ending);
}

static void restart_event(void *object, uint64_t number) {
        if (number == service.n_downs)
                service_start();
}

void service_crash(uint64_t downtime, Rng *rng) {
        if (!service.net)
                return;
        world_say("service: crash");
        service_end(rng);
        world_in(downtime, restart_event, NULL, ++service.n_downs);
}

static void stopped_event(void *object, uint64_t number) {
        if (number == service.number && service.is_stopping)
                service_end(NULL);
}

void service_stop(uint64_t downtime, Rng *rng) {
        if (!service.net || service.is_stopping || service.is_between)
                return;
        world_say("service: stop");
        router_set_now(service.net->router, service_clock());
        fake_in_core = true;
        router_stop(service.net->router);
        fake_in_core = false;
        service.is_stopping = true;
        service_wake();
        world_in(SERVICE_LINGER_USEC, stopped_event, NULL, service.number);
        world_in(SERVICE_LINGER_USEC + downtime, restart_event, NULL, ++service.n_downs);
}

void service_kick(uint64_t id) {
        int r;

        if (!service.net || service.is_stopping || service.is_between || id == 0)
                return;
        router_set_now(service.net->router, service_clock());
        fake_in_core = true;
        r = router_kick(service.net->router, id, "by the plan");
        router_settle(service.net->router);
        fake_in_core = false;
        world_say("service: kick %" PRIu64 ", %d", id, r);
        service_wake();
}

bool service_is_up(void) {
        return service.net && !service.is_stopping;
}

static void accept_now(Conn *c) {
        service.net->now = service_clock();
        c->is_in_backlog = false;
        c->link = fake_open(service.net);
        c->service_number = service.number;
        if (!c->link->link)
                conn_service_closed(c, true); /* no memory for it */
        else if (c->broken)
                fake_close(c->link, LINK_RESET);
        service_wake();
}

bool service_accept(Conn *c) {
        if (!service_is_up())
                return false;
        if (service.is_between)
                c->is_in_backlog = true; /* the listening sockets are handed over as well */
        else
                accept_now(c);
        return true;
}

/* Between any two turns the router holds no more than the water mark and what one turn adds, for each link. */
static void check_bounds(void) {
        const Router *r = service.net->router;
        uint64_t limit = r->n_links * (service.plan->outbox_high + 2 * LINK_LEAVING_BYTES);

        if (r->queued_bytes > limit)
                world_violation("the router holds %" PRIu64 " bytes for %" PRIu64 " links", r->queued_bytes, r->n_links);
}

static bool service_turn(void) {
        bool moved;

        service.net->now = service_clock();
        moved = fake_net_turn(service.net);
        service.net->n_events = 0;
        for (Conn *c = net_first(); c; c = c->next)
                conn_collect(c);
        return moved;
}

static void turn_event(void *object, uint64_t number) {
        bool moved = false;

        if (number != service.turn_number || !service.net)
                return;
        service.next_turn = UINT64_MAX;
        for (Conn *c = net_first(); c; c = c->next)
                moved |= conn_feed(c);
        moved |= service_turn();
        check_bounds();
        if (moved)
                service_wake();
        else {
                uint64_t deadline = router_get_deadline(service.net->router);

                if (deadline != UINT64_MAX)
                        service_turn_at(world_now +
                                        (deadline > service.net->now ? deadline - service.net->now : SERVICE_TURN_USEC));
        }
}

/* It has everything but links: all are closed, and clients resume as after a crash. */
static void service_begin_anew(Rng *rng) {
        service_end(rng);
        service_start();
}

static void successor_event(void *object, uint64_t number) {
        Rng rng = { number };
        int r;

        if (number != service.handover_number || !service.is_between)
                return;
        service.is_between = false;
        service.net->now = service_clock();
        r = handover_end(service.net);
        world_say("service: taken over, %d", r);
        if (r < 0) {
                service_begin_anew(&rng);
                return;
        }
        (void) service_turn();
        handover_check_links();
        for (Conn *c = net_first(); c; c = c->next)
                if (c->is_in_backlog)
                        accept_now(c);
        service_wake();
}

void service_handover(uint64_t downtime, unsigned how, Rng *rng) {
        int r;

        if (!service_is_up() || service.is_between)
                return;
        world_say("service: handover");
        (void) service_turn();
        r = handover_begin(service.net);
        if (r < 0) {
                service_begin_anew(rng);
                return;
        }
        if (how < SERVICE_DAMAGED_PERCENT)
                handover_damage(rng);
        service.is_between = true;
        service.turn_number++;
        service.next_turn = UINT64_MAX;
        service.handover_number = rng_next(rng);
        world_in(downtime, successor_event, NULL, service.handover_number);
}

unsigned service_get_number(void) {
        return service.number;
}

uint64_t service_find_name(const char *name) {
        const Session *s;

        if (!service.net)
                return 0;
        s = sessions_find_name(&service.net->router->sessions, (WireText) { name, strlen(name) });
        return s ? s->id : 0;
}

bool service_may_have_client(uint64_t id) {
        return !service.net || sessions_find(&service.net->router->sessions, id) || router_may_come_back(service.net->router, id);
}

bool service_has_client(uint64_t id) {
        const Session *s = service.net ? sessions_find(&service.net->router->sessions, id) : NULL;

        return s && !s->ghost;
}
