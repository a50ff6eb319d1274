/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Makes plans. Messages come in bursts, and faults a little after the beginning of one: a fault while nothing is under way shows
 * little. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/plan.h"

enum {
        PLAN_BURSTS_MAX = 12,
        PLAN_BURST_USEC = 60 * 1000,
        PLAN_FLOOD_MAX = 100,
        PLAN_PIPE_SHORT = 10000, /* so little on its way, and that for long, would be too slow for all to come to an end */
        PLAN_DELAY_SHORT_USEC = 3000,
        PLAN_FLOOD_PIPE = 200000, /* else it takes longer than there is time */
        PLAN_FLOOD_DELAY_USEC = 2000,
        PLAN_LARGE_BROADCASTS_PERCENT = 30,
        PLAN_SMALL_MIN = 64, /* room for what a payload says of itself */
};

static const char *const names[_ITEM_N] = {
        [ITEM_SEND] = "send",   [ITEM_SEND_FD] = "send-fd",     [ITEM_SEND_NAME] = "send-name", [ITEM_BROADCAST] = "broadcast",
        [ITEM_CALL] = "call",   [ITEM_WATCH] = "watch",         [ITEM_RESET] = "reset",         [ITEM_PARTITION] = "partition",
        [ITEM_CRASH] = "crash", [ITEM_STOP] = "stop",           [ITEM_HANDOVER] = "handover",   [ITEM_KICK] = "kick",
        [ITEM_DIE] = "die",     [ITEM_LEAVE] = "leave",         [ITEM_RETURN] = "return",       [ITEM_HALT] = "halt",
        [ITEM_SLOW] = "slow",   [ITEM_STREAM] = "stream",       [ITEM_UNRELIABLE] = "unreliable",
};

const char *item_name(ItemType type) {
        return names[type];
}

static Item *plan_add(Plan *p, ItemType type, uint64_t usec, unsigned client, Rng *rng) {
        Item *item;

        if ((p->n_items & (p->n_items - 1)) == 0)
                p->items = sim_must(realloc(p->items, (p->n_items ? p->n_items * 2 : 1) * sizeof(Item)));
        item = &p->items[p->n_items++];
        *item = (Item) { .type = type, .usec = usec, .client = client, .random = rng_next(rng) };
        return item;
}

static uint64_t plan_size(Rng *rng) {
        switch (rng_below(rng, 20)) {
        case 0:
                return rng_between(rng, 20000, 65536);
        case 1:
                return rng_between(rng, 65000, 66000); /* on both sides of what fits a frame */
        case 2:
        case 3:
                return rng_between(rng, 1024, 20000);
        default:
                return rng_between(rng, PLAN_SMALL_MIN, 1024);
        }
}

static void plan_message(Plan *p, Rng *rng, uint64_t usec, bool *large) {
        static const ItemType types[] = {
                ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND, ITEM_SEND,
                ITEM_BROADCAST, ITEM_BROADCAST, ITEM_BROADCAST, ITEM_CALL, ITEM_CALL, ITEM_SEND_NAME, ITEM_SEND_NAME,
                ITEM_WATCH, ITEM_SEND_FD, ITEM_STREAM, ITEM_UNRELIABLE,
        };
        ItemType type = types[rng_below(rng, sizeof(types) / sizeof(types[0]))];
        unsigned client = (unsigned) rng_below(rng, p->n_clients), target = (unsigned) rng_below(rng, p->n_clients - 1);
        Item *item = plan_add(p, type, usec, client, rng);

        item->target = target + (target >= client);
        item->size = plan_size(rng);
        item->has_handler = !rng_chance(rng, 15);
        item->how = (unsigned) rng_below(rng, 100);
        if (type == ITEM_BROADCAST)
                item->size = item->size > 4096 ? 4096 : item->size;
        else if (type == ITEM_CALL)
                item->duration = rng_between(rng, 1, 20) * SIM_SEC;
        else if (type == ITEM_SEND_FD || type == ITEM_STREAM || (type == ITEM_SEND && *large))
                item->size = rng_between(rng, 65537, rng_chance(rng, 20) ? 1500000 : 300000);
        else if (type == ITEM_SEND && rng_chance(rng, 10))
                item->duration = rng_between(rng, 1, 3000) * SIM_MSEC;
        if (type == ITEM_SEND)
                *large = false;
}

/* More broadcasts than are kept for those who miss some */
static void plan_flood(Plan *p, Rng *rng, uint64_t usec) {
        unsigned client = (unsigned) rng_below(rng, p->n_clients), n = (unsigned) rng_between(rng, 60, PLAN_FLOOD_MAX);

        for (unsigned i = 0; i < n; i++)
                plan_add(p, ITEM_BROADCAST, usec + rng_below(rng, 10 * PLAN_BURST_USEC), client, rng)->size =
                        rng_between(rng, 50000, 65536);
}

static void plan_fault(Plan *p, Rng *rng, uint64_t usec) {
        static const ItemType types[] = {
                ITEM_RESET, ITEM_RESET, ITEM_RESET, ITEM_RESET, ITEM_PARTITION, ITEM_PARTITION, ITEM_CRASH, ITEM_CRASH, ITEM_STOP,
                ITEM_KICK, ITEM_DIE, ITEM_DIE, ITEM_LEAVE, ITEM_HALT, ITEM_HALT, ITEM_SLOW,
        };
        ItemType type = types[rng_below(rng, sizeof(types) / sizeof(types[0]))];
        unsigned client = (unsigned) rng_below(rng, p->n_clients);
        Item *item = plan_add(p, type, usec, client, rng);

        item->how = (unsigned) rng_below(rng, 100);
        switch (type) {
        case ITEM_PARTITION:
        case ITEM_HALT:
                item->duration = rng_chance(rng, 70) ? rng_between(rng, 1, 3000) * SIM_MSEC : rng_between(rng, 3, 25) * SIM_SEC;
                break;
        case ITEM_CRASH:
        case ITEM_STOP:
                item->duration = rng_chance(rng, 80) ? rng_between(rng, 1, 1500) * SIM_MSEC : rng_between(rng, 2, 10) * SIM_SEC;
                break;
        case ITEM_SLOW:
                item->duration = rng_between(rng, 10, 1000) * SIM_MSEC;
                break;
        case ITEM_DIE:
        case ITEM_LEAVE:
        case ITEM_KICK:
                if (rng_chance(rng, 80))
                        plan_add(p, ITEM_RETURN, usec + (rng_chance(rng, 70) ? rng_between(rng, 1, 300) * SIM_MSEC :
                                                                              rng_between(rng, 1, 20) * SIM_SEC), client, rng);
                break;
        default:
                break;
        }
}

/* Of chance of its own: without handovers, the rest of the plan would be the same. */
static void plan_handovers(Plan *p) {
        Rng rng = rng_derive(p->seed, 4);
        unsigned n = rng_chance(&rng, 60) ? (unsigned) rng_between(&rng, 1, 4) : 0;

        for (unsigned i = 0; i < n; i++) {
                uint64_t usec = p->items[rng_below(&rng, p->n_items)].usec + rng_below(&rng, PLAN_BURST_USEC);
                Item *item = plan_add(p, ITEM_HANDOVER, usec, 0, &rng);

                item->how = (unsigned) rng_below(&rng, 100);
                item->duration = rng_chance(&rng, 90) ? rng_below(&rng, 200 * SIM_MSEC) : rng_between(&rng, 1, 4) * SIM_SEC;
        }
}

/* Of chance of its own as well. */
static void plan_large_broadcasts(Plan *p) {
        Rng rng = rng_derive(p->seed, 5);

        p->with_large_broadcasts = rng_chance(&rng, PLAN_LARGE_BROADCASTS_PERCENT);
        for (size_t i = 0; p->with_large_broadcasts && i < p->n_items; i++)
                if (p->items[i].type == ITEM_BROADCAST && rng_chance(&rng, 20))
                        p->items[i].size = rng_between(&rng, 65537, rng_chance(&rng, 10) ? 1500000 : 300000);
}

static int compare_items(const void *a, const void *b) {
        const Item *x = a, *y = b;

        return x->usec != y->usec ? (x->usec < y->usec ? -1 : 1) : x->random < y->random ? -1 : x->random > y->random;
}

static void plan_clients(Plan *p, Rng *rng) {
        for (unsigned i = 0; i < p->n_clients; i++)
                p->clients[i] = (ClientPlan) {
                        .watches_everyone = rng_chance(rng, 30),
                        .send_buffer = rng_chance(rng, 25) ? rng_between(rng, 2000, 200000) : 0,
                        .max_message = rng_chance(rng, 25) ? 65536 : 0,
                        .latency = rng_chance(rng, 80) ? rng_between(rng, 5, 300) : rng_between(rng, 300, 20000),
                        .process_max = rng_chance(rng, 70) ? 64 : 1,
                };
}

static void plan_bursts(Plan *p, Rng *rng) {
        unsigned n_bursts = (unsigned) rng_between(rng, 2, PLAN_BURSTS_MAX);
        uint64_t usec = 200 * SIM_MSEC;

        for (unsigned i = 0; i < n_bursts; i++) {
                unsigned n_messages = (unsigned) rng_between(rng, 5, 60), n_faults = 0;
                bool large = rng_chance(rng, 40);

                for (unsigned k = 0; k < n_messages; k++)
                        plan_message(p, rng, usec + rng_below(rng, PLAN_BURST_USEC), &large);
                if (p->pipe_size >= PLAN_FLOOD_PIPE && p->delay_max <= PLAN_FLOOD_DELAY_USEC && rng_chance(rng, 8))
                        plan_flood(p, rng, usec);
                if (p->with_faults)
                        n_faults = rng_chance(rng, 60) ? (unsigned) rng_between(rng, 1, 3) : 0;
                for (unsigned k = 0; k < n_faults; k++)
                        plan_fault(p, rng, usec + rng_below(rng, 2 * PLAN_BURST_USEC));
                usec += rng_chance(rng, 70) ? rng_between(rng, 50, 1500) * SIM_MSEC : rng_between(rng, 1, 12) * SIM_SEC;
        }
        p->end = usec + 2 * SIM_SEC;
        plan_large_broadcasts(p);
        if (p->with_faults)
                plan_handovers(p);
        qsort(p->items, p->n_items, sizeof(Item), compare_items);
}

Plan *plan_new(uint64_t seed, bool with_faults) {
        static const uint64_t graces[] = { 2, 5, 30 };
        static const size_t pipes[] = { 4096, 30000, 200000, 1000000 }, highs[] = { 8192, 65536, 1024 * 1024 };
        static const uint32_t credits[] = { 65577, 131152, 1024 * 1024 };
        Rng rng = rng_derive(seed, 2);
        Plan *p = sim_must(calloc(1, sizeof(*p)));

        p->seed = seed;
        p->with_faults = with_faults;
        p->n_clients = (unsigned) rng_between(&rng, 2, SIM_CLIENTS_MAX);
        p->grace = graces[rng_below(&rng, 3)] * SIM_SEC;
        p->ping_interval = rng_between(&rng, 1, 10) * SIM_SEC;
        p->delay_max = rng_chance(&rng, 70) ? rng_between(&rng, 20, 2000) : rng_between(&rng, 2, 80) * SIM_MSEC;
        p->pipe_size = pipes[rng_below(&rng, 4)];
        if (p->pipe_size < PLAN_PIPE_SHORT && p->delay_max > PLAN_DELAY_SHORT_USEC)
                p->delay_max = PLAN_DELAY_SHORT_USEC;
        p->outbox_high = highs[rng_below(&rng, 3)];
        p->urgent_high = rng_chance(&rng, 50) ? 60 : p->outbox_high; /* else there is no time for so many acknowledgements */
        p->initial_credit = credits[rng_below(&rng, 3)];
        if (with_faults && rng_chance(&rng, 15))
                p->alloc_permyriad = (unsigned) rng_between(&rng, 1, 100);
        plan_clients(p, &rng);
        plan_bursts(p, &rng);
        return p;
}

Plan *plan_free(Plan *p) {
        if (p)
                free(p->items);
        free(p);
        return NULL;
}

void plan_print(const Plan *p) {
        printf("seed %" PRIu64 ": %u clients, grace %" PRIu64 " s, ping %" PRIu64 " s, delay %" PRIu64 " us, pipe %zu, "
               "outbox %zu, credit %u, alloc %u/10000, until %.3f s\n",
               p->seed, p->n_clients, p->grace / SIM_SEC, p->ping_interval / SIM_SEC, p->delay_max, p->pipe_size, p->outbox_high,
               p->initial_credit, p->alloc_permyriad, (double) p->end / 1e6);
        for (size_t i = 0; i < p->n_items; i++) {
                const Item *item = &p->items[i];

                if (!item->left_out)
                        printf("  %10.6f c%u %s target c%u size %" PRIu64 " duration %.3f s how %u%s\n",
                               (double) item->usec / 1e6, item->client, item_name(item->type), item->target, item->size,
                               (double) item->duration / 1e6, item->how, item->has_handler ? "" : " (no handler)");
        }
}
