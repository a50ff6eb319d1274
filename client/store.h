/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whole frames in a row, each kept until it is not needed any more; and the memory that they lie in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/wire.h"

/* A run of bytes that does not move. Whoever refers to it keeps it. */
typedef struct Block {
        struct Block *next;
        unsigned n_references;
        size_t n_data;
        size_t n_allocated;
        uint8_t data[];
} Block;

enum {
        BLOCK_SMALL = 4096, /* what a quiet flow needs for its few small messages */
        BLOCK_LARGE = WIRE_FRAME_MAX,
};

/* Blocks of the two common sizes are kept for the next ones, so that steady traffic allocates nothing. */
typedef struct BlockPool {
        Block *small, *large;
        unsigned n_small, n_large;
} BlockPool;

/* Room for `size` bytes, empty, with one reference. NULL: no memory. */
Block *block_new(BlockPool *pool, size_t size);
static inline Block *block_ref(Block *block) {
        block->n_references++;
        return block;
}
/* Takes NULL; returns NULL. */
Block *block_unref(BlockPool *pool, Block *block);
void block_pool_deinit(BlockPool *pool);

/* Frames before the cursor have gone out and are kept; those from it on are still to go. */
typedef struct Store {
        Block *head, *tail;
        size_t start; /* of the first frame, in the head */
        Block *cursor; /* NULL: behind the last frame */
        size_t cursor_start;
        uint64_t n_put, n_dropped; /* frames, ever */
        uint64_t n_bytes;
} Store;

#define STORE_NULL ((Store) {})

void store_deinit(Store *s, BlockPool *pool);

/* Room for a frame of `size` bytes behind the last one, to be filled by the caller. NULL: no memory. */
uint8_t *store_put(Store *s, BlockPool *pool, size_t size);

/* The same with a frame that lies at the start of a block of its own: takes a reference. */
void store_put_block(Store *s, Block *block);

static inline bool store_is_empty(const Store *s) {
        return s->n_put == s->n_dropped;
}

/* The frame at the cursor and the block that it lies in; NULL: there is none. */
static inline uint8_t *store_next(const Store *s, Block **ret_block) {
        *ret_block = s->cursor;
        return s->cursor ? s->cursor->data + s->cursor_start : NULL;
}
void store_advance(Store *s);
void store_rewind(Store *s);

/* The first frame; NULL: none. Dropping it takes the cursor along if that is there; returns its size. */
static inline const uint8_t *store_first(const Store *s) {
        return store_is_empty(s) ? NULL : s->head->data + s->start;
}
size_t store_drop(Store *s, BlockPool *pool);

/* All frames in order: `*block` and `*start` say where the search is; NULL in *block to begin with. NULL: no more. */
uint8_t *store_walk(const Store *s, Block **block, size_t *start);

/* Of a frame that lies there: its size, header included, and its number (0: it has not gone out yet). */
static inline size_t frame_size(const uint8_t *frame) {
        return WIRE_HEADER_SIZE + wire_load_u32(frame);
}
static inline uint64_t frame_get_sequence(const uint8_t *frame) {
        return wire_load_u64(frame + 24);
}
static inline void frame_set_sequence(uint8_t *frame, uint64_t sequence) {
        wire_store_u64(frame + 24, sequence);
}
