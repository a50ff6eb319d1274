/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Kept bytes live in a list of chunks. A run of frames is never split over two chunks, so each chunk but a begun first one starts
 * at a frame boundary; that is where urgent frames are put, without looking into a single header. Chunks start small, for the
 * many links that are behind by a few frames, and grow with what is queued. Owns its chunks; the borrowed bytes belong to whoever
 * read them. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/core/outbox.h"

enum {
        CHUNK_MIN = 1024,
        CHUNK_MAX = 64 * 1024, /* also what an urgent frame may have to wait for */
};

struct Chunk {
        Chunk *next;
        uint32_t begin, end, size;
        bool begun; /* its first frame has been written in part */
        bool urgent;
        uint8_t data[];
};

int turn_init(Turn *t) {
        *t = (Turn) {
                .segments = calloc(TURN_N_SEGMENTS, sizeof(*t->segments)),
                .scratch = malloc(TURN_SCRATCH_SIZE),
        };
        if (!t->segments || !t->scratch) {
                turn_deinit(t);
                return -ENOMEM;
        }
        return 0;
}

void turn_deinit(Turn *t) {
        free(t->segments);
        free(t->scratch);
        *t = (Turn) {};
}

uint8_t *turn_scratch(Turn *t, size_t size) {
        uint8_t *p;

        if (size > TURN_SCRATCH_SIZE - t->n_scratch)
                return NULL;
        p = t->scratch + t->n_scratch;
        t->n_scratch += size;
        return p;
}

static void forget_segments(Outbox *o) {
        o->first = o->last = 0;
        o->n_borrowed = 0;
        o->begun = false;
}

static void take_away(Outbox *o, const Chunk *chunk, size_t size) {
        o->n_kept -= size;
        if (chunk->urgent)
                o->n_urgent -= size;
}

static void drop_from(Outbox *o, Chunk *chunk) {
        while (chunk) {
                Chunk *next = chunk->next;

                take_away(o, chunk, chunk->end - chunk->begin);
                free(chunk);
                chunk = next;
        }
}

void outbox_deinit(Outbox *o) {
        drop_from(o, o->head);
        *o = OUTBOX_NULL;
}

void outbox_drop(Outbox *o) {
        Chunk *begun = o->head && o->head->begun ? o->head : NULL;

        assert(o->n_borrowed == 0 || !o->begun);
        drop_from(o, begun ? begun->next : o->head);
        if (begun)
                begun->next = NULL;
        o->head = o->tail = begun;
        o->urgent = NULL;
        forget_segments(o);
}

static Chunk *chunk_new(const Outbox *o, size_t size) {
        size_t room = CHUNK_MIN;
        Chunk *chunk;

        while (room < CHUNK_MAX && room < o->n_kept)
                room *= 2;
        if (room < size)
                room = size;
        chunk = malloc(sizeof(*chunk) + room);
        if (chunk)
                *chunk = (Chunk) { .size = (uint32_t) room };
        return chunk;
}

static void chunk_append(Outbox *o, Chunk *chunk, const uint8_t *data, size_t size) {
        memcpy(chunk->data + chunk->end, data, size);
        chunk->end += (uint32_t) size;
        o->n_kept += size;
        if (chunk->urgent)
                o->n_urgent += size;
}

static bool chunk_has_room(const Chunk *chunk, size_t size) {
        return chunk && size <= chunk->size - chunk->end;
}

static int keep(Outbox *o, const uint8_t *data, size_t size, bool begun) {
        if (!chunk_has_room(o->tail, size) || begun || o->tail->urgent) {
                Chunk *chunk = chunk_new(o, size);

                if (!chunk)
                        return -ENOMEM;
                chunk->begun = begun;
                if (o->tail)
                        o->tail->next = chunk;
                else
                        o->head = chunk;
                o->tail = chunk;
        }
        chunk_append(o, o->tail, data, size);
        return 0;
}

int outbox_borrow(Outbox *o, Turn *t, const uint8_t *data, size_t size) {
        Segment *last = o->last ? &t->segments[o->last - 1] : NULL;
        int r;

        if (last && last->data + last->size == data) {
                last->size += (uint32_t) size;
                o->n_borrowed += size;
                return 0;
        }
        if (t->n_segments == TURN_N_SEGMENTS) {
                r = outbox_keep(o, t);
                return r < 0 ? r : keep(o, data, size, false);
        }
        t->segments[t->n_segments++] = (Segment) { .data = data, .size = (uint32_t) size };
        if (last)
                last->next = t->n_segments;
        else
                o->first = t->n_segments;
        o->last = t->n_segments;
        o->n_borrowed += size;
        return 0;
}

int outbox_copy(Outbox *o, Turn *t, const uint8_t *data, size_t size) {
        uint8_t *scratch = turn_scratch(t, size);
        int r;

        if (scratch)
                return outbox_borrow(o, t, memcpy(scratch, data, size), size);
        r = outbox_keep(o, t);
        return r < 0 ? r : keep(o, data, size, false);
}

int outbox_copy_urgent(Outbox *o, Turn *t, const uint8_t *data, size_t size) {
        Chunk *before, *chunk;

        if (o->n_kept == 0)
                return outbox_copy(o, t, data, size);
        if (chunk_has_room(o->urgent, size)) {
                chunk_append(o, o->urgent, data, size);
                return 0;
        }
        chunk = chunk_new(o, size);
        if (!chunk)
                return -ENOMEM;
        chunk->urgent = true;
        before = o->urgent ? o->urgent : o->head->begun || !o->opened ? o->head : NULL;
        chunk->next = before ? before->next : o->head;
        if (before)
                before->next = chunk;
        else
                o->head = chunk;
        if (!chunk->next)
                o->tail = chunk;
        o->urgent = chunk;
        chunk_append(o, chunk, data, size);
        return 0;
}

size_t outbox_get(const Outbox *o, const Turn *t, struct iovec *iov, size_t max) {
        size_t n = 0;

        for (Chunk *chunk = o->head; chunk && n < max; chunk = chunk->next)
                iov[n++] = (struct iovec) { .iov_base = chunk->data + chunk->begin, .iov_len = chunk->end - chunk->begin };
        for (uint32_t i = o->first; i != 0 && n < max; i = t->segments[i - 1].next)
                iov[n++] = (struct iovec) { .iov_base = (void *) t->segments[i - 1].data, .iov_len = t->segments[i - 1].size };
        return n;
}

static size_t sent_kept(Outbox *o, size_t size) {
        while (size > 0 && o->head) {
                Chunk *chunk = o->head;
                size_t there = chunk->end - chunk->begin;

                if (size < there) {
                        chunk->begin += (uint32_t) size;
                        chunk->begun = true;
                        take_away(o, chunk, size);
                        return 0;
                }
                o->head = chunk->next;
                if (o->urgent == chunk)
                        o->urgent = NULL;
                take_away(o, chunk, there);
                size -= there;
                free(chunk);
        }
        if (!o->head)
                o->tail = NULL;
        return size;
}

void outbox_sent(Outbox *o, Turn *t, size_t size) {
        assert(size <= outbox_size(o));

        o->opened = o->opened || size > 0;
        size = sent_kept(o, size);
        while (size > 0) {
                Segment *segment = &t->segments[o->first - 1];

                if (size < segment->size) {
                        segment->data += size;
                        segment->size -= (uint32_t) size;
                        o->n_borrowed -= size;
                        o->begun = true;
                        return;
                }
                size -= segment->size;
                o->n_borrowed -= segment->size;
                o->begun = false;
                o->first = segment->next;
                if (o->first == 0)
                        o->last = 0;
        }
}

int outbox_keep(Outbox *o, Turn *t) {
        int r = 0;

        for (uint32_t i = o->first; i != 0; i = t->segments[i - 1].next) {
                r = keep(o, t->segments[i - 1].data, t->segments[i - 1].size, i == o->first && o->begun);
                if (r < 0)
                        break;
        }
        forget_segments(o);
        return r;
}

const Chunk *outbox_next_part(const Outbox *o, const Chunk *after, OutboxPart *ret) {
        const Chunk *chunk = after ? after->next : o->head;

        if (chunk)
                *ret = (OutboxPart) {
                        .data = chunk->data + chunk->begin,
                        .size = chunk->end - chunk->begin,
                        .begun = chunk->begun,
                        .urgent = chunk->urgent,
                };
        return chunk;
}

int outbox_add_part(Outbox *o, const OutboxPart *part) {
        Chunk *chunk;

        chunk = chunk_new(o, part->size);
        if (!chunk)
                return -ENOMEM;
        chunk->begun = part->begun;
        chunk->urgent = part->urgent;
        if (o->tail)
                o->tail->next = chunk;
        else
                o->head = chunk;
        o->tail = chunk;
        if (part->urgent)
                o->urgent = chunk; /* the next one goes behind the last */
        chunk_append(o, chunk, part->data, part->size);
        return 0;
}
