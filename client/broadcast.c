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

/* A large broadcast is cut into frames among the others; its pieces are copied, because the store is what they are sent again from. */
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
        sender_tell(s, flow_take_delivered(f), 0);
}

static int sender_lost(Sender *s, uint64_t target, uint64_t first, uint64_t last) {
        WireHeader header = { .length = 16, .type = WIRE_LOST, .target = target };
        uint8_t payload[16];

        wire_store_u64(payload, first);
        wire_store_u64(payload + 8, last);
        return sender_control(s, &header, payload);
}

int sender_resend(Sender *s, uint64_t target, uint64_t first, uint64_t last) {
        const Flow *f = &s->everyone.messages;
        Block *block = NULL;
        size_t start = 0, n = 0;
        int r = 0;

        if (first == 0)
                first = 1;
        if (last == 0 || last > f->sent)
                last = f->sent;
        if (first <= f->acked && first <= last)
                r = sender_lost(s, target, first, f->acked < last ? f->acked : last);
        for (const uint8_t *frame; r >= 0 && n < SENDER_RESEND_MAX && (frame = store_walk(&f->store, &block, &start));) {
                uint64_t sequence = frame_get_sequence(frame);
                WireHeader header;

                if (sequence == 0 || sequence > last)
                        break;
                if (sequence < first)
                        continue;
                wire_header_load(frame, &header);
                header.target = target;
                header.flags |= WIRE_BROADCAST;
                r = sender_control(s, &header, frame + WIRE_HEADER_SIZE);
                n += WIRE_HEADER_SIZE + header.length;
        }
        return r < 0 ? r : sender_mark(s, target);
}
