/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What was sent, what came of it, and whether that is as promised. */

#include "tests/sim/actor.h"

typedef enum MessageClass {
        MESSAGE_SMALL,     /* one frame, to an id */
        MESSAGE_LARGE,     /* a flow of its own */
        MESSAGE_NAMED,
        MESSAGE_BROADCAST,       /* one frame */
        MESSAGE_BROADCAST_LARGE, /* several */
        MESSAGE_REQUEST,
        MESSAGE_REPLY,
        MESSAGE_UNRELIABLE,
} MessageClass;

enum { MESSAGE_SIZE_MIN = 64 };

struct Message {
        uint64_t number; /* in the order of sending */
        MessageClass class;
        Actor *sender;
        unsigned incarnation;
        uint64_t source;    /* id when it was sent */
        uint64_t target;    /* id; 0: by name */
        Actor *target_actor;
        uint64_t size;
        uint64_t order;     /* of a broadcast: among those of its class and its source */
        uint64_t sent_usec;
        unsigned service_number; /* the start of the service that its sender was last connected to */
        bool has_handler, has_time_to_live, is_cut_short;
        int result;
        unsigned n_outcomes, n_received;
};

/* `with_starvation`: memory may be short, and events are lost with it. `with_large_broadcasts`: there may be such. */
void oracle_init(bool with_starvation, bool with_large_broadcasts);
void oracle_deinit(void);

/* About to be sent: `data` is to be filled with its payload. */
Message *oracle_new_message(Actor *sender, MessageClass class, uint64_t target, Actor *target_actor, uint64_t size);
/* The number among the broadcasts of `source` that the next one of this class will have */
uint64_t oracle_next_broadcast(uint64_t source, MessageClass class);
static inline bool message_is_broadcast(MessageClass class) {
        return class == MESSAGE_BROADCAST || class == MESSAGE_BROADCAST_LARGE;
}
void oracle_fill(const Message *m, void *data);
/* It was not taken. */
void oracle_not_sent(Message *m);
void oracle_sent(Message *m);

/* Exactly one for each that was sent with a handler */
void oracle_outcome(Message *m, int result);
void oracle_undelivered(Actor *sender, const DirectEvent *event);
/* NULL: it was a part of a message, or not as it must be. */
Message *oracle_received(Actor *receiver, DirectMessage *message);
/* The answer to `request` */
void oracle_replied(Message *request, DirectMessage *reply);
void oracle_lost(Actor *receiver, uint64_t source, uint64_t count);
/* The session of `a` is new: all that was known of others ends. */
void oracle_new_session(Actor *a);
void oracle_client_freed(Actor *a);

void oracle_check_client(Actor *a);
/* All has come to rest. */
void oracle_check_end(void);

uint64_t oracle_get_n_sent(void);
uint64_t oracle_get_n_received(void);
