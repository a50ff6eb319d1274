/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The service: a router with a data plane that is fed by the simulated network; it crashes, stops, and is started again. */

#include "tests/sim/net.h"
#include "tests/sim/plan.h"

void service_init(const Plan *plan);
void service_deinit(void);

void service_start(void);
/* Gone without a word; then started again. */
void service_crash(uint64_t downtime, Rng *rng);
/* GOODBYE to all first. */
void service_stop(uint64_t downtime, Rng *rng);
/* Passes its connections on, to a successor that begins after `downtime`; in some of `how`, what it passes on is damaged. */
void service_handover(uint64_t downtime, unsigned how, Rng *rng);
void service_kick(uint64_t id);
bool service_is_up(void);

/* A connection comes in. False: nobody listens. */
bool service_accept(Conn *c);
/* Something has come, or there is room. */
void service_wake(void);

/* The number of the start that is running, and the id of who has this name now (0: nobody). */
unsigned service_get_number(void);
uint64_t service_find_name(const char *name);
bool service_has_client(uint64_t id);
bool service_may_have_client(uint64_t id); /* or may get it back */
