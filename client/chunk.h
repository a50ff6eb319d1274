/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A run of whole frames on its way to the socket, and who is to be told when it has got there. */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "client/inbox.h"
#include "protocol/wire.h"

typedef struct Bulk Bulk;
typedef struct Chunk Chunk;
typedef struct Sent Sent;

/* Whoever gave direct_send_async() and its like a handler */
struct Sent {
        Notice notice;
        Sent *next;
        DirectSendHandler handler;
        void *userdata;
        int result;
};

struct Chunk {
        Chunk *next;
        Sent *sent;             /* a list, and where it goes on (NULL: at its start) */
        Sent **sent_last;
        Bulk *bulk;             /* a reference, if the payload is its */
        const uint8_t *payload; /* goes out behind the data; or NULL */
        size_t n_payload;
        size_t n_written; /* of data and payload */
        size_t n_queued;  /* what it counts for in the send buffer */
        size_t n_control; /* how much of it the library sent for its own reasons */
        size_t n_data;
        size_t n_allocated;
        uint8_t data[];
};

/* Chunks with room for one frame of the largest size are kept for the next ones, so that steady traffic allocates nothing. */
typedef struct ChunkPool {
        Chunk *free;
        unsigned n_free;
} ChunkPool;

/* Room for `size` bytes. NULL: no memory. */
Chunk *chunk_new(ChunkPool *pool, size_t size);

/* Ends its reference to the bulk; `sent` is not its business any more. Takes NULL; returns NULL. */
Chunk *chunk_free(ChunkPool *pool, Chunk *chunk);

void chunk_pool_deinit(ChunkPool *pool);

static inline size_t chunk_get_size(const Chunk *chunk) {
        return chunk->n_data + chunk->n_payload;
}
