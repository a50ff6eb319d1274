/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is in line for the socket, in an order that does not change any more. */

#include <sys/uio.h>

#include "client/store.h"

enum {
        LINE_PIECES_MAX = 64,
        LINE_COPY_MAX = 2048, /* what is smaller is cheaper to copy than to list */
        LINE_SIZE_MAX = 192 * 1024, /* a small message that comes now goes behind it; and one call writes three full frames */
};

typedef struct LinePiece {
        const uint8_t *data;
        size_t size;
        Block *block;      /* a reference; NULL: nobody's */
        bool is_continued; /* the frame goes on in the next piece */
} LinePiece;

typedef struct Line {
        LinePiece pieces[LINE_PIECES_MAX]; /* a ring */
        unsigned first, n_pieces;
        size_t n_bytes;
        uint64_t n_put, n_written; /* bytes, ever */
        Block *copy;               /* what small runs are copied into */
        bool is_begun;             /* the last byte that was written is not the last of its frame */
} Line;

/* Drops what is in line. */
void line_reset(Line *l, BlockPool *pool);

/* Three more pieces always fit while it is not full: a frame of a store, and behind it the two pieces of one of a bulk. */
static inline bool line_is_full(const Line *l) {
        return l->n_bytes >= LINE_SIZE_MAX || l->n_pieces > LINE_PIECES_MAX - 3;
}

/* Puts bytes of `block` in line: whole frames, or (is_continued) the beginning of one, the rest of which follows. A small run is
 * copied, for a larger one a reference is taken. */
void line_put(Line *l, BlockPool *pool, Block *block, const uint8_t *data, size_t size, bool is_continued);

/* Fills up to LINE_PIECES_MAX of `iov`; returns how many. */
size_t line_gather(const Line *l, struct iovec *iov);

/* The same for what has to go out before another frame may: the rest of one that was begun. */
size_t line_gather_begun(const Line *l, struct iovec *iov);

void line_written(Line *l, BlockPool *pool, size_t n);
