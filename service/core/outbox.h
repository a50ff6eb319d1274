/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is queued for one link. During a turn an outbox only borrows runs of frames from where they were read; what the write at
 * the end of the turn could not take is kept as a copy. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

typedef struct Chunk Chunk;

/* A run of bytes that stay where they are until the end of the turn */
typedef struct Segment {
        const uint8_t *data;
        uint32_t size;
        uint32_t next; /* from 1; 0: the last */
} Segment;

/* What all outboxes share during a turn: the segments, and room for frames that the service itself makes. */
typedef struct Turn {
        Segment *segments;
        uint32_t n_segments;
        uint8_t *scratch;
        size_t n_scratch;
} Turn;

enum {
        TURN_N_SEGMENTS = 8192,      /* two for each of 256 links read, and a broadcast of some to a thousand; more is copied */
        TURN_SCRATCH_SIZE = 256 * 1024, /* some thousand answers or events; more is copied */
};

int turn_init(Turn *t);
void turn_deinit(Turn *t);

/* After all outboxes have been written or kept. */
static inline void turn_end(Turn *t) {
        t->n_segments = 0;
        t->n_scratch = 0;
}

/* A place for `size` bytes that lasts until the end of the turn, or NULL if there is no room. */
uint8_t *turn_scratch(Turn *t, size_t size);

typedef struct Outbox {
        Chunk *head, *tail; /* kept, in the order in which they go out */
        Chunk *urgent;      /* the chunk behind which the next urgent frame goes; NULL: at the first boundary */
        size_t n_kept;
        size_t n_urgent; /* of it, what has passed or may pass the rest */
        size_t n_borrowed;
        uint32_t first, last; /* segments, from 1 */
        bool begun;           /* the first segment has been written in part */
        bool opened;          /* something has been written: before that, the first frame is WELCOME, which nothing passes */
} Outbox;

#define OUTBOX_NULL ((Outbox) {})

void outbox_deinit(Outbox *o);

static inline size_t outbox_size(const Outbox *o) {
        return o->n_kept + o->n_borrowed;
}

/* Queues whole frames that stay at `data` until the end of the turn. Returns 0 or -ENOMEM. */
int outbox_borrow(Outbox *o, Turn *t, const uint8_t *data, size_t size);

/* Queues a copy of whole frames. Returns 0 or -ENOMEM. */
int outbox_copy(Outbox *o, Turn *t, const uint8_t *data, size_t size);

/* The same, but what is kept already is passed, at the first frame boundary (within 64 KiB), behind earlier urgent frames. */
int outbox_copy_urgent(Outbox *o, Turn *t, const uint8_t *data, size_t size);

/* The next bytes to write: fills up to `max` of `iov` and returns how many. */
size_t outbox_get(const Outbox *o, const Turn *t, struct iovec *iov, size_t max);

/* Takes away the first `size` bytes, which were written. */
void outbox_sent(Outbox *o, Turn *t, size_t size);

/* At the end of a turn: copies what is still borrowed. Returns 0, or -ENOMEM (the stream is broken then). */
int outbox_keep(Outbox *o, Turn *t);

/* Drops all but the rest of a run that has been written in part, so that a last frame can follow. */
void outbox_drop(Outbox *o);

/* ---- For the handover: what is kept, part by part ---- */

typedef struct OutboxPart {
        const uint8_t *data;
        size_t size;
        bool begun; /* its first frame has been written in part: this is the rest */
        bool urgent;
} OutboxPart;

/* The part behind `after`, or the first (NULL). NULL: there are no more. */
const Chunk *outbox_next_part(const Outbox *o, const Chunk *after, OutboxPart *ret);

/* Puts a copy of it behind the others. Returns 0 or -ENOMEM. */
int outbox_add_part(Outbox *o, const OutboxPart *part);
