/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sets everything up, carries the plan out, lets all faults end, waits for as long as the library may take to put things right,
 * and looks at what has come of it. */

#include <stdio.h>
#include <string.h>

#include "tests/sim/actor.h"
#include "tests/sim/alloc.h"
#include "tests/sim/broadcasts.h"
#include "tests/sim/bug.h"
#include "tests/sim/ledger.h"
#include "tests/sim/model.h"
#include "tests/sim/pipes.h"
#include "tests/sim/run.h"
#include "tests/sim/service.h"

#define RUN_HEALING_USEC (60 * SIM_SEC) /* what the library may take, from the end of all faults on */

static const Plan *plan;

/* No fault lasts beyond the end of all faults. */
static uint64_t fault_duration(const Item *item) {
        uint64_t end = SIM_START + plan->end;

        return world_now + item->duration > end ? (end > world_now ? end - world_now : 0) : item->duration;
}

static void run_fault(const Item *item) {
        Actor *a = &actors[item->client];
        Rng rng = { item->random };

        world_trace(item->type, item->client);
        switch (item->type) {
        case ITEM_RESET:
                if (a->conn)
                        conn_reset(a->conn, item->how);
                break;
        case ITEM_PARTITION:
                net_partition(a, fault_duration(item));
                break;
        case ITEM_CRASH:
                service_crash(fault_duration(item), &rng);
                break;
        case ITEM_STOP:
                service_stop(fault_duration(item), &rng);
                break;
        case ITEM_HANDOVER:
                service_handover(fault_duration(item), item->how, &rng);
                break;
        case ITEM_KICK:
                service_kick(service_find_name(a->name));
                break;
        case ITEM_DIE:
                actor_die(a, item->how);
                break;
        case ITEM_LEAVE:
                actor_leave(a);
                break;
        case ITEM_RETURN:
                if (a->client && a->is_finished)
                        actor_leave(a);
                actor_start(a);
                break;
        case ITEM_HALT:
                actor_halt(a, fault_duration(item));
                break;
        case ITEM_SLOW:
                a->latency = item->duration;
                break;
        default:
                break;
        }
}

static void item_event(void *object, uint64_t number) {
        const Item *item = &plan->items[number];

        if (item_is_fault(item))
                run_fault(item);
        else
                program_do(&actors[item->client], item);
}

static void start_event(void *object, uint64_t number) {
        actor_start(object);
}

static void run_heal(void) {
        world_say("all faults end");
        alloc_set_failing(0, 0);
        for (unsigned i = 0; i < plan->n_clients; i++) {
                actors[i].latency = actors[i].plan->latency;
                actors[i].halted_until = 0;
                actors[i].host.partition_until = 0;
                actors[i].n_backlog = 0;
                actor_settle(&actors[i]);
        }
        if (!service_is_up())
                service_start();
}

static void run_begin(void) {
        world_init(plan->seed);
        model_init();
        ledger_init();
        net_init(plan->delay_max, plan->pipe_size);
        oracle_init(plan->alloc_permyriad > 0, plan->with_large_broadcasts);
        service_init(plan);
        memset(actors, 0, sizeof(actors));
        service_start();
        for (unsigned i = 0; i < plan->n_clients; i++) {
                actor_init(&actors[i], i, &plan->clients[i], plan->seed);
                world_in(rng_below(world_rng(), 50 * SIM_MSEC), start_event, &actors[i], 0);
        }
        for (size_t i = 0; i < plan->n_items; i++)
                if (!plan->items[i].left_out)
                        world_at(SIM_START + plan->items[i].usec, item_event, NULL, i);
}

static void run_end(void) {
        for (unsigned i = 0; i < plan->n_clients; i++)
                actor_leave(&actors[i]);
        service_deinit();
        pipes_deinit();
        if (alloc_count() > 0)
                world_violation("%zu allocations are left over", alloc_count());
        oracle_deinit();
        net_deinit();
        ledger_deinit();
        model_deinit();
        bug_clear();
}

void run_plan(const Plan *p, RunResult *ret) {
        plan = p;
        alloc_forget();
        run_begin();
        world_run(SIM_START + plan->end);
        if (!world_get_violation()) {
                run_heal();
                world_run(world_now + RUN_HEALING_USEC);
        }
        if (!world_get_violation())
                oracle_check_end();
        *ret = (RunResult) {
                .hash = world_hash(),
                .n_sent = oracle_get_n_sent(),
                .n_received = oracle_get_n_received(),
                .n_failed_allocations = alloc_get_failed(),
        };
        run_end();
        if (world_get_violation()) {
                ret->failed = true;
                snprintf(ret->violation, sizeof(ret->violation), "%s", world_get_violation());
        }
        world_deinit();
}
