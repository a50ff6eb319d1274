/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Our own broadcasts: one counter for all of them, each frame sent once and then kept within a bound, for receivers that ask for
 * what they have missed. */

#include <errno.h>
#include <string.h>

#include "client/send.h"

int sender_mark(Sender *s, uint64_t target) {
        WireHeader header = {
                .length = 8,
                .type = WIRE_MARK,
                .target = target,
                .sequence = s->everyone.messages.sent,
        };
        uint8_t payload[8];

        wire_store_u64(payload, s->broadcast_before);
        return sender_control(s, &header, payload);
}

/* A large broadcast is cut into frames among the others; its pieces are copied, because the store is what they are sent again
 * from. */
int sender_broadcast_bulk(Sender *s, Flow *f) {
        Flow *broadcasts = &s->everyone.messages;
        uint64_t n_before = flow_get_queued(f);
        Block *block;
        int r;

        block = block_new(&s->pool, BLOCK_LARGE);
        if (!block)
                return -ENOMEM;
        r = bulk_make(f->bulk, f->next, block);
        if (r >= 0) {
                frame_set_sequence(block->data, 0); /* its number in the counter of broadcasts comes when it goes out */
                store_put_block(&broadcasts->store, block);
                s->n_queued += block->n_data;
                f->next++;
                f->sent++;
                f->acked++;
                sender_activate(s, broadcasts);
        }
        s->n_queued += flow_get_queued(f) - n_before;
        block_unref(&s->pool, block);
        return r;
}

/* Those that have gone out are kept as far as the bound allows. */
void sender_trim_broadcasts(Sender *s) {
        Flow *f = &s->everyone.messages;
        const uint8_t *frame;

        while (f->store.n_bytes > SENDER_BROADCASTS_MAX && (frame = store_first(&f->store)) && frame_get_sequence(frame) != 0) {
                f->acked = frame_get_sequence(frame);
                store_drop(&f->store, &s->pool);
        }
        sender_tell(s, sent_take(&f->outcomes, &f->outcomes_last, f->sent), 0); /* nobody acknowledges them */
}

static int sender_lost(Sender *s, uint64_t target, uint64_t first, uint64_t last) {
        WireHeader header = { .length = 16, .type = WIRE_LOST, .target = target };
        uint8_t payload[16];

        wire_store_u64(payload, first);
        wire_store_u64(payload + 8, last);
        return sender_control(s, &header, payload);
}

/* Who has asked already has thought better of it: its last word counts. */
int sender_resend(Sender *s, uint64_t target, uint64_t first, uint64_t last) {
        uint64_t sent = s->everyone.messages.sent;
        Resend *r;
        MapNode *node;

        node = map_find(&s->resends, target);
        r = node ? container_of(node, Resend, by_target) : NULL;
        if (!r) {
                r = malloc(sizeof(*r));
                if (!r)
                        return -ENOMEM;
                *r = (Resend) {};
                map_insert(&s->resends, &r->by_target, target);
                list_append(&s->resending, &r->resending);
        }
        r->next = first > 0 ? first : 1;
        r->last = last > 0 && last < sent ? last : sent;
        r->n_bytes = 0;
        r->block = NULL;
        return 0;
}

static void resend_free(Sender *s, Resend *r) {
        map_remove(&s->resends, &r->by_target);
        list_remove(&r->resending);
        free(r);
}

void sender_drop_resend(Sender *s, uint64_t target) {
        MapNode *node;

        node = map_find(&s->resends, target);
        if (node)
                resend_free(s, container_of(node, Resend, by_target));
}

void sender_drop_resends(Sender *s) {
        while (!list_is_empty(&s->resending))
                resend_free(s, container_of(s->resending.next, Resend, resending));
}

/* The frame `next`, which is kept. */
static const uint8_t *resend_find(const Sender *s, Resend *r) {
        const uint8_t *frame;

        if (r->block)
                return r->block->data + r->start;
        while ((frame = store_walk(&s->everyone.messages.store, &r->block, &r->start)))
                if (frame_get_sequence(frame) >= r->next)
                        break;
        return frame;
}

/* The header is another, the payload lies where it lay. -ENOMEM: not now. */
static int resend_put(Sender *s, Resend *r, const uint8_t *frame) {
        Block *copy;
        WireHeader header;

        copy = block_new(&s->pool, WIRE_HEADER_SIZE);
        if (!copy)
                return -ENOMEM;
        wire_header_load(frame, &header);
        header.target = r->by_target.key;
        header.flags |= WIRE_BROADCAST;
        wire_header_store(copy->data, &header);
        line_put(&s->line, &s->pool, copy, copy->data, WIRE_HEADER_SIZE, header.length > 0);
        if (header.length > 0)
                line_put(&s->line, &s->pool, r->block, frame + WIRE_HEADER_SIZE, header.length, false);
        block_unref(&s->pool, copy);
        r->n_bytes += WIRE_HEADER_SIZE + header.length;
        r->next++;
        if (r->next <= r->last)
                (void) store_walk(&s->everyone.messages.store, &r->block, &r->start);
        return 0;
}

/* What is not kept any more: the receiver is told. 1: it has to go out before the rest; 0: there is nothing to tell. */
static int resend_skip(Sender *s, Resend *r) {
        uint64_t lost = s->everyone.messages.acked < r->last ? s->everyone.messages.acked : r->last;
        int e;

        if (r->next > lost)
                return 0;
        e = sender_lost(s, r->by_target.key, r->next, lost);
        if (e < 0)
                return e;
        r->next = lost + 1;
        r->block = NULL;
        return 1;
}

bool sender_put_resend(Sender *s) {
        size_t n_end;
        Resend *r;
        int e;

        if (list_is_empty(&s->resending))
                return false;
        r = container_of(s->resending.next, Resend, resending);
        list_remove(&r->resending);
        list_append(&s->resending, &r->resending);
        n_end = r->n_bytes + SENDER_TURN_SIZE;
        e = resend_skip(s, r);
        if (e > 0)
                return true;
        while (e >= 0 && r->next <= r->last && r->n_bytes < SENDER_RESEND_MAX && r->n_bytes < n_end && !line_is_full(&s->line)) {
                const uint8_t *frame = resend_find(s, r);

                if (frame)
                        e = resend_put(s, r, frame);
                else
                        r->next = r->last + 1;
        }
        if (e >= 0 && r->next <= r->last && r->n_bytes < SENDER_RESEND_MAX)
                return true;
        if (e >= 0)
                e = sender_mark(s, r->by_target.key);
        if (e < 0)
                return false;
        resend_free(s, r);
        return true;
}
