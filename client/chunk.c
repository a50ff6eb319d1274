/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The memory of what is on its way out. A few chunks of the one common size stay with the pool; the others are what malloc()
 * makes of them. */

#include "client/bulk.h"
#include "client/chunk.h"

enum {
        CHUNK_POOL_MAX = 4, /* as many as are in line for the socket at the same time */
};

Chunk *chunk_new(ChunkPool *pool, size_t size) {
        Chunk *chunk = NULL;

        if (size > WIRE_FRAME_MAX / 2 && size <= WIRE_FRAME_MAX) {
                size = WIRE_FRAME_MAX;
                chunk = pool->free;
        }
        if (chunk) {
                pool->free = chunk->next;
                pool->n_free--;
        } else
                chunk = malloc(sizeof(*chunk) + size);
        if (chunk)
                *chunk = (Chunk) { .n_allocated = size };
        return chunk;
}

Chunk *chunk_free(ChunkPool *pool, Chunk *chunk) {
        if (!chunk)
                return NULL;
        bulk_unref(chunk->bulk);
        if (chunk->n_allocated == WIRE_FRAME_MAX && pool->n_free < CHUNK_POOL_MAX) {
                chunk->next = pool->free;
                pool->free = chunk;
                pool->n_free++;
        } else
                free(chunk);
        return NULL;
}

void chunk_pool_deinit(ChunkPool *pool) {
        while (pool->free) {
                Chunk *chunk = pool->free;

                pool->free = chunk->next;
                free(chunk);
        }
        *pool = (ChunkPool) {};
}
