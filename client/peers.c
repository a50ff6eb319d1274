/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What it means that another client comes, goes, or can't be reached: to calls, names, messages under way, and to the program. */

#include <errno.h>

#include "client/client.h"

static void client_peer_event(DirectClient *client, uint64_t id, int type, int reason, WireText name) {
        if (watches_is_wanted(&client->watches, id))
                client_push_event_text(client,
                                       &(DirectEvent) {
                                               .type = type, .reason = reason, .id = id, .epoch = client->session.epoch },
                                       name, (WireText) {});
}

int client_broadcasts_lost(DirectClient *client, uint64_t source, uint64_t n) {
        if (n == 0)
                return 0;
        assembly_broadcasts_lost(&client->assembly, source);
        return client_push_event(client, &(DirectEvent) { .type = DIRECT_EVENT_LOST, .id = source, .count = n });
}

/* The state of a client that is there, for what is sent to it and asked of it. */
static void client_peer_state(DirectClient *client, uint64_t id, unsigned state, bool is_back) {
        if (state == WIRE_STATE_AWAY) {
                sender_target_away(&client->sender, id);
                return;
        }
        if (is_back)
                sender_target_back(&client->sender, id);
        else
                sender_target_alive(&client->sender, id);
        if (is_back && heard_back(&client->intake, id) < 0)
                client_put_off(client);
}

/* `error` is what calls to it end with. */
static void client_peer_left(DirectClient *client, uint64_t id, int reason, WireText name, int error) {
        assembly_source_gone(&client->assembly, id);
        questions_finish_calls(&client->questions, id, error);
        names_forget_id(&client->names, id);
        sender_target_gone(&client->sender, id, -ENXIO);
        (void) client_broadcasts_lost(client, id, heard_missing(&client->intake, id));
        intake_source_gone(&client->intake, id);
        client_peer_event(client, id, DIRECT_EVENT_LEFT, reason, name);
        watches_forget(&client->watches, id);
}

void client_presence(DirectClient *client, const WirePresence *presence) {
        static const struct {
                int type;
                WireState state;
        } events[] = {
                [WIRE_EVENT_JOINED] = { DIRECT_EVENT_JOINED, WIRE_STATE_ALIVE },
                [WIRE_EVENT_LEFT] = { DIRECT_EVENT_LEFT, WIRE_STATE_GONE },
                [WIRE_EVENT_AWAY] = { DIRECT_EVENT_AWAY, WIRE_STATE_AWAY },
                [WIRE_EVENT_BACK] = { DIRECT_EVENT_BACK, WIRE_STATE_ALIVE },
                [WIRE_EVENT_BUSY] = { DIRECT_EVENT_BUSY, WIRE_STATE_BUSY },
                [WIRE_EVENT_ALIVE] = { DIRECT_EVENT_ALIVE, WIRE_STATE_ALIVE },
        };
        Watch *watch;

        client->session.epoch = presence->epoch;
        if (presence->event >= N_ELEMENTS(events) || events[presence->event].type == 0)
                return; /* of a later version of the protocol */
        if (presence->event == WIRE_EVENT_LEFT) {
                client_peer_left(client, presence->id, presence->reason, presence->name, -EPIPE);
                return;
        }
        if (presence->event != WIRE_EVENT_JOINED)
                client_peer_state(client, presence->id, events[presence->event].state, presence->event == WIRE_EVENT_BACK);
        watch = watches_find(&client->watches, presence->id);
        if (watch)
                watch->state = (uint8_t) events[presence->event].state;
        client_peer_event(client, presence->id, events[presence->event].type, presence->reason, presence->name);
}

/* Between the last event and the answer to a WATCH, after a reconnection above all, the state may have changed: the program is
 * told as if it had been there. */
void client_watch_answer(DirectClient *client, uint64_t id, unsigned state) {
        Watch *watch;
        unsigned before;
        int type;

        watch = watches_find(&client->watches, id);
        if (!watch)
                return;
        if (state == WIRE_STATE_GONE || state == WIRE_STATE_UNKNOWN) {
                client_peer_left(client, id, DIRECT_REASON_NONE, (WireText) {}, -ENXIO);
                return;
        }
        client_peer_state(client, id, state, false);
        before = watch->state == WIRE_STATE_UNKNOWN ? WIRE_STATE_ALIVE : watch->state;
        watch->state = (uint8_t) state;
        if (before == state)
                return;
        type = state == WIRE_STATE_AWAY ? DIRECT_EVENT_AWAY : state == WIRE_STATE_BUSY ? DIRECT_EVENT_BUSY :
               before == WIRE_STATE_AWAY ? DIRECT_EVENT_BACK : DIRECT_EVENT_ALIVE;
        client_peer_event(client, id, type, DIRECT_REASON_NONE, (WireText) {});
}

static int client_overloaded(DirectClient *client, const WireHeader *header) {
        int r = 0;

        if (header->tag == CLIENT_ACK_TAG)
                r = intake_bounced(&client->intake, header->target, header->stream, header->sequence);
        else if (header->tag == CLIENT_RESEND_TAG)
                heard_bounced(&client->intake, header->target);
        else {
                sender_target_away(&client->sender, header->target);
                client->asks_watches = true; /* that it is there lets the flow go on */
        }
        client_put_off_long(client);
        return r;
}

int client_bounce(DirectClient *client, const WireHeader *header) {
        static const int errors[] = {
                [0] = -EIO,
                [WIRE_BOUNCE_NO_CLIENT] = -ENXIO,
                [WIRE_BOUNCE_AWAY] = -EHOSTDOWN,
                [WIRE_BOUNCE_POLICY] = -EACCES,
                [WIRE_BOUNCE_OVERLOADED] = -EBUSY,
        };
        int error = errors[header->kind < N_ELEMENTS(errors) ? header->kind : 0];

        if (header->kind == WIRE_BOUNCE_NO_CLIENT) {
                /* It may have overtaken the last that this client has sent us: that it has left, PRESENCE will tell */
                names_forget_id(&client->names, header->target);
                questions_finish_calls(&client->questions, header->target, -ENXIO);
                sender_target_gone(&client->sender, header->target, -ENXIO);
        }
        if (header->sequence == 0 && header->tag == 0) {
                client_push_event(client, &(DirectEvent) {
                        .type = DIRECT_EVENT_UNDELIVERED, .error = error, .id = header->target, .count = 1 });
                return 0;
        }
        switch (header->kind) {
        case WIRE_BOUNCE_AWAY:
                sender_target_away(&client->sender, header->target); /* its PRESENCE says when to go on */
                break;
        case WIRE_BOUNCE_POLICY:
                questions_finish_calls(&client->questions, header->target, error);
                sender_target_refused(&client->sender, header->target);
                break;
        case WIRE_BOUNCE_OVERLOADED:
                return client_overloaded(client, header);
        default:
                break;
        }
        return 0;
}
