/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A frame gets its number when it goes out for the first time, so that a message whose time is over can be taken out before that
 * and leaves no gap. What can't be made again (small messages, pipes, what the program writes) lies in the store until it is
 * acknowledged; a message in memory and a file are cut into frames anew from the number of the frame alone.
 *
 * There are no timers here: frames are lost only with a link, and whoever learns of that rewinds. */

#include <errno.h>

#include "client/flow.h"

enum {
        FRAME_TYPE = 4, /* offsets in a header */
        FRAME_TAG = 36,
        TYPE_EXPIRED = 0, /* in the type of a frame that must not go out any more: no type of the protocol */
};

static bool frame_is_expired(const uint8_t *frame) {
        return frame[FRAME_TYPE] == TYPE_EXPIRED;
}

void flow_init(Flow *f, Peer *peer, Bulk *bulk, uint64_t credit) {
        *f = (Flow) { .peer = peer, .next = 1, .credit = credit, .bulk = bulk };
        list_init(&f->active);
        list_init(&f->of_peer);
        f->outcomes_last = &f->outcomes;
}

void flow_deinit(Flow *f, BlockPool *pool) {
        list_remove(&f->active);
        list_remove(&f->of_peer);
        store_deinit(&f->store, pool);
        f->bulk = bulk_free(f->bulk, pool);
}

uint64_t flow_get_queued(const Flow *f) {
        return f->store.n_bytes + (f->bulk ? bulk_get_queued(f->bulk, f->acked) : 0);
}

uint64_t flow_get_unsent(const Flow *f) {
        Block *block = f->store.cursor;
        size_t start = f->store.cursor_start;
        uint64_t n = 0;

        if (block)
                n = frame_size(block->data + start);
        for (const uint8_t *frame; block && (frame = store_walk(&f->store, &block, &start));)
                n += frame_size(frame);
        return n;
}

/* Expired frames are passed over whenever the cursor comes to them. */
static void flow_skip_expired(Flow *f) {
        const uint8_t *frame;
        Block *block;

        while ((frame = store_next(&f->store, &block)) && frame_is_expired(frame))
                store_advance(&f->store);
}

static bool flow_has_credit(const Flow *f, size_t size) {
        return f->next <= f->sent || (f->credit >= f->n_sent && f->credit - f->n_sent >= size);
}

bool flow_can_send(const Flow *f) {
        const uint8_t *frame;
        Block *block;

        if (f->peer->state != PEER_UP)
                return false;
        frame = store_next(&f->store, &block);
        if (frame)
                return flow_has_credit(f, frame_size(frame));
        /* How large the next frame of a bulk is shows when it is made */
        return f->bulk && (f->next <= f->sent || bulk_is_ready(f->bulk, f->next)) && flow_has_credit(f, WIRE_FRAME_MAX);
}

static void flow_count(Flow *f, size_t size) {
        if (f->next > f->sent) {
                f->sent = f->next;
                f->n_sent += size;
        }
        f->next++;
}

/* A run of frames that lie one behind the other goes in line as one. */
static void flow_send_stored(Flow *f, Line *line, BlockPool *pool, size_t budget) {
        const uint8_t *run = NULL;
        Block *run_block = NULL, *block;
        size_t n_run = 0, n = 0;
        uint8_t *frame;

        while (n < budget && (frame = store_next(&f->store, &block))) {
                size_t size = frame_size(frame);

                if (!flow_has_credit(f, size))
                        break;
                if (n_run > 0 && (block != run_block || run + n_run != frame)) {
                        line_put(line, pool, run_block, run, n_run, false);
                        n_run = 0;
                        if (line_is_full(line))
                                break;
                }
                if (n_run == 0) {
                        run = frame;
                        run_block = block;
                }
                frame_set_sequence(frame, f->next);
                flow_count(f, size);
                n_run += size;
                n += size;
                store_advance(&f->store);
                flow_skip_expired(f);
        }
        if (n_run > 0)
                line_put(line, pool, run_block, run, n_run, false);
}

/* The next frame of what can't be read twice is kept. */
static int flow_make(Flow *f, BlockPool *pool) {
        uint8_t *frame = NULL;
        Block *block;
        int r;

        block = block_new(pool, WIRE_FRAME_MAX);
        if (!block)
                return -ENOMEM;
        r = bulk_make(f->bulk, f->store.n_put + 1, block);
        if (r >= 0) {
                if (block->n_data < WIRE_FRAME_MAX / 2) /* else the block is well filled */
                        frame = store_put(&f->store, pool, block->n_data);
                if (frame)
                        memcpy(frame, block->data, block->n_data);
                else
                        store_put_block(&f->store, block);
        }
        block_unref(pool, block);
        return r;
}

int flow_send(Flow *f, Line *line, BlockPool *pool, size_t budget) {
        size_t size = 0;
        Block *block;
        int r;

        if (!flow_can_send(f))
                return 0; /* it could, when it came in line for its turn; then an acknowledgement came */
        if (f->bulk && !bulk_is_repeatable(f->bulk) && !store_next(&f->store, &block)) {
                r = flow_make(f, pool);
                if (r < 0)
                        return r;
        }
        if (!f->bulk || !bulk_is_repeatable(f->bulk)) {
                flow_send_stored(f, line, pool, budget);
                return 0;
        }
        r = bulk_send(f->bulk, f->next, line, pool, &size);
        if (size > 0)
                flow_count(f, size);
        return r;
}

static bool flow_first_is_done(const Flow *f) {
        const uint8_t *frame = store_first(&f->store);
        uint64_t sequence;

        if (!frame)
                return false;
        if (frame_is_expired(frame))
                return true;
        sequence = frame_get_sequence(frame);
        return sequence != 0 && sequence <= f->acked;
}

bool flow_ack(Flow *f, uint64_t sequence, uint64_t credit, BlockPool *pool) {
        if (sequence > f->sent)
                return false;
        if (credit > f->credit)
                f->credit = credit;
        if (sequence <= f->acked)
                return true;
        f->acked = sequence;
        if (f->next <= sequence)
                f->next = sequence + 1;
        while (flow_first_is_done(f))
                store_drop(&f->store, pool);
        flow_skip_expired(f);
        return true;
}

void flow_rewind(Flow *f) {
        f->next = f->acked + 1;
        store_rewind(&f->store);
        flow_skip_expired(f);
}

bool flow_is_finished(const Flow *f) {
        return f->bulk && f->bulk->last != 0 && f->acked >= f->bulk->last;
}

Sent *flow_take_delivered(Flow *f) {
        return sent_take(&f->outcomes, &f->outcomes_last, f->store.n_dropped);
}

bool flow_expire(Flow *f, Sent *sent, BlockPool *pool) {
        Sent **p = &f->outcomes;

        if (frame_get_sequence(sent->frame) != 0)
                return false;
        while (*p != sent)
                p = &(*p)->next;
        *p = sent->next;
        if (!*p)
                f->outcomes_last = p;
        sent->frame[FRAME_TYPE] = TYPE_EXPIRED;
        while (flow_first_is_done(f))
                store_drop(&f->store, pool);
        flow_skip_expired(f);
        return true;
}

uint64_t flow_count_silent(const Flow *f) {
        Block *block = NULL;
        size_t start = 0;
        uint64_t n = 0;

        for (const uint8_t *frame; (frame = store_walk(&f->store, &block, &start));)
                n += !frame_is_expired(frame) && wire_load_u32(frame + FRAME_TAG) == 0;
        for (const Sent *sent = f->outcomes; sent; sent = sent->next)
                n--;
        return n;
}
