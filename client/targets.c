/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What becomes of messages that were sent: acknowledged, sent again, or failed. Frames are lost only with a link, ours or the
 * target's, so nothing is sent again for any other reason than that one of the two was renewed. */

#include <errno.h>

#include "client/send.h"

void sender_link_lost(Sender *s) {
        s->is_up = false;
        s->n_queued -= s->unreliable.n_bytes;
        line_reset(&s->line, &s->pool);
        store_deinit(&s->control, &s->pool);
        store_deinit(&s->unreliable, &s->pool);
        sender_drop_resends(s);
        *s->handed_last = s->unreliable_first;
        sender_tell(s, s->handed_first, -ECONNRESET);
        s->handed_first = s->unreliable_first = NULL;
        s->handed_last = &s->handed_first;
        s->unreliable_last = &s->unreliable_first;
        for (MapNode *node = NULL; (node = map_next(&s->peers, node));)
                container_of(node, Peer, by_id)->state = PEER_HELD;
        s->everyone.state = PEER_HELD;
        while (!list_is_empty(&s->active))
                list_remove(s->active.next);
}

static void sender_resume_peer(Sender *s, Peer *peer, bool rewind) {
        peer->state = PEER_UP;
        if (rewind)
                flow_rewind(&peer->messages);
        sender_activate(s, &peer->messages);
        for (List *l = peer->bulks.next; l != &peer->bulks; l = l->next) {
                Flow *f = container_of(l, Flow, of_peer);

                if (rewind)
                        flow_rewind(f);
                sender_activate(s, f);
        }
}

int sender_welcome(Sender *s, bool is_resumed, bool is_new_instance, uint32_t initial_credit) {
        if (!is_resumed)
                sender_reset(s, -ECONNRESET);
        s->is_up = true;
        s->initial_credit = initial_credit;
        if (is_new_instance)
                s->broadcast_before = s->everyone.messages.sent;
        if (s->everyone.messages.sent > 0 && sender_mark(s, WIRE_TARGET_BROADCAST) < 0)
                return -ENOMEM;
        sender_resume_peer(s, &s->everyone, false);
        return 0;
}

int sender_ack(Sender *s, uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit) {
        uint64_t n_before;
        Peer *peer;
        Flow *f;

        peer = sender_find_peer(s, source);
        if (!peer)
                return -EPROTO;
        f = &peer->messages;
        if (stream != 0) {
                f = sender_find_begun(s, peer, stream);
                if (!f)
                        return 0; /* it has ended */
        }
        n_before = flow_get_queued(f);
        if (!flow_ack(f, sequence, credit, &s->pool))
                return -EPROTO;
        s->n_queued -= n_before - flow_get_queued(f);
        if (flow_is_finished(f)) {
                sender_drop_bulk(s, f, f->bulk->failed ? -EIO : 0);
                return 0;
        }
        sender_tell(s, flow_take_delivered(f), 0);
        sender_activate(s, f);
        return 0;
}

void sender_target_back(Sender *s, uint64_t id) {
        Peer *peer;

        peer = sender_find_peer(s, id);
        if (peer && s->is_up)
                sender_resume_peer(s, peer, true);
}

void sender_target_alive(Sender *s, uint64_t id) {
        Peer *peer;

        peer = sender_find_peer(s, id);
        if (peer && peer->state != PEER_UP)
                sender_target_back(s, id);
}

void sender_target_away(Sender *s, uint64_t id) {
        Peer *peer;

        peer = sender_find_peer(s, id);
        if (!peer)
                return;
        peer->state = PEER_AWAY;
        list_remove(&peer->messages.active);
        for (List *l = peer->bulks.next; l != &peer->bulks; l = l->next)
                list_remove(&container_of(l, Flow, of_peer)->active);
}

/* Everything that was sent to it fails. */
static void sender_fail_peer(Sender *s, Peer *peer, int error) {
        uint64_t n_silent = flow_count_silent(&peer->messages);
        Sent *outcomes = peer->messages.outcomes;

        s->n_queued -= flow_get_queued(&peer->messages);
        peer->messages.outcomes = NULL;
        peer->messages.outcomes_last = &peer->messages.outcomes;
        sender_tell(s, outcomes, error);
        while (!list_is_empty(&peer->bulks)) {
                Flow *f = container_of(peer->bulks.next, Flow, of_peer);

                n_silent += !f->bulk->sent && f->bulk->envelope.tag == 0 && (f->bulk->source != BULK_STREAM || f->bulk->ended);
                sender_drop_bulk(s, f, error);
        }
        if (n_silent > 0)
                s->callbacks->undelivered(peer->by_id.key, error, n_silent, s->userdata);
}

void sender_target_gone(Sender *s, uint64_t id, int error) {
        Peer *peer;

        sender_drop_resend(s, id);
        peer = sender_find_peer(s, id);
        if (!peer)
                return;
        map_remove(&s->peers, &peer->by_id);
        if (s->last == peer)
                s->last = NULL;
        sender_fail_peer(s, peer, error);
        flow_deinit(&peer->messages, &s->pool);
        free(peer);
}

void sender_target_refused(Sender *s, uint64_t id) {
        Peer *peer;

        peer = sender_find_peer(s, id);
        if (!peer)
                return;
        sender_fail_peer(s, peer, -EACCES);
        flow_deinit(&peer->messages, &s->pool);
        flow_init(&peer->messages, peer, NULL, 0);
        peer->is_refused = true;
}

void sender_reset(Sender *s, int error) {
        Flow *broadcasts = &s->everyone.messages;
        MapNode *node;

        sender_link_lost(s);
        while ((node = map_any(&s->peers)))
                sender_target_gone(s, node->key, error);
        s->n_queued -= flow_get_unsent(broadcasts);
        while (!list_is_empty(&s->everyone.bulks))
                sender_drop_bulk(s, container_of(s->everyone.bulks.next, Flow, of_peer), error);
        sender_tell(s, broadcasts->outcomes, error);
        flow_deinit(broadcasts, &s->pool);
        flow_init(broadcasts, &s->everyone, NULL, UINT64_MAX);
        s->broadcast_before = 0;
}
