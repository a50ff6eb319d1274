/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is to happen in one run, made from the seed before it begins: a list, so that items can be left out to see whether it
 * still fails without them. Each item has chance of its own, so that those that stay do what they did before. */

#include "tests/sim/world.h"

typedef enum ItemType {
        ITEM_SEND,       /* one message: size says in how many frames */
        ITEM_SEND_FD,
        ITEM_STREAM,
        ITEM_UNRELIABLE,
        ITEM_SEND_NAME,
        ITEM_BROADCAST,
        ITEM_CALL,
        ITEM_WATCH,
        ITEM_RESET,      /* faults from here on */
        ITEM_PARTITION,
        ITEM_CRASH,
        ITEM_STOP,
        ITEM_HANDOVER,
        ITEM_KICK,
        ITEM_DIE,
        ITEM_LEAVE,
        ITEM_RETURN,
        ITEM_HALT,       /* as SIGSTOP */
        ITEM_SLOW,
        _ITEM_N,
} ItemType;

typedef struct Item {
        ItemType type;
        uint64_t usec; /* after the start */
        unsigned client, target;
        uint64_t size;     /* bytes; of a reply as well */
        uint64_t duration; /* of a fault; to live, of a message; until the time-out, of a call */
        unsigned how;      /* which variant */
        bool has_handler;
        uint64_t random;
        bool left_out;
} Item;

typedef struct ClientPlan {
        bool watches_everyone;
        uint64_t send_buffer;  /* 0: as it is */
        uint64_t max_message;  /* 0: as it is */
        uint64_t latency;      /* until it reacts */
        unsigned process_max;  /* calls of direct_process() at one go */
} ClientPlan;

typedef struct Plan {
        uint64_t seed;
        unsigned n_clients;
        ClientPlan clients[SIM_CLIENTS_MAX];
        Item *items; /* in order of time */
        size_t n_items;
        bool with_faults, with_large_broadcasts;
        unsigned alloc_permyriad; /* of allocations that fail; 0 in most */
        uint64_t end;             /* of all faults */
        uint64_t grace;
        uint64_t ping_interval;
        uint64_t delay_max;       /* on the way, one way */
        size_t pipe_size;         /* of the kernel's buffers */
        size_t outbox_high, urgent_high;
        uint32_t initial_credit;
} Plan;

Plan *plan_new(uint64_t seed, bool with_faults);
Plan *plan_free(Plan *p);

const char *item_name(ItemType type);
static inline bool item_is_fault(const Item *item) {
        return item->type >= ITEM_RESET;
}
void plan_print(const Plan *p);
