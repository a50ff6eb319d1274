/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An outgoing message that needs several frames: it makes one frame at a time, when it is its turn. */

#include <stdbool.h>
#include <stdint.h>

#include "client/chunk.h"
#include "client/map.h"
#include "client/util.h"

/* To whom, and as what */
typedef struct Envelope {
        uint64_t target;
        uint16_t kind;
        uint8_t flags; /* WIRE_REQUEST, WIRE_REPLY, WIRE_FAILED */
        uint32_t tag;
} Envelope;

typedef enum BulkSource {
        BULK_MEMORY, /* a copy of the whole */
        BULK_FILE,   /* a regular file, read at its own offset */
        BULK_PIPE,   /* anything else that can be read, when the epoll set says so */
        BULK_STREAM, /* what the program has written and is not sent yet */
} BulkSource;

struct Bulk {
        MapNode by_stream;
        List turns; /* among those that can make a frame now; else alone */
        unsigned n_references;

        BulkSource source;
        Envelope envelope;
        uint32_t stream;
        uint64_t total; /* WIRE_SIZE_UNKNOWN */
        uint64_t taken; /* of it, in frames so far */
        bool begun;     /* FIRST is out */
        bool ended;     /* the last byte is here */
        Sent *sent;

        uint8_t *data; /* BULK_MEMORY: all; BULK_STREAM: n_allocated bytes, in use from start to end */
        size_t start, end, n_allocated;

        int fd;
        int epoll_fd; /* borrowed */
        bool in_epoll;
        bool is_waiting;  /* the epoll set will say when there is something to read */
        bool never_waits; /* the epoll set does not take such a file */
};

/* All take over `sent` (may be NULL) if they succeed. */
int bulk_new_memory(Bulk **ret, const Envelope *envelope, uint32_t stream, const void *data, size_t size, Sent *sent);
int bulk_new_stream(Bulk **ret, const Envelope *envelope, uint32_t stream, uint64_t total);

/* Takes `fd` over as well. */
int bulk_new_fd(Bulk **ret, const Envelope *envelope, uint32_t stream, int fd, bool is_file, uint64_t total, int epoll_fd,
                Sent *sent);

Bulk *bulk_ref(Bulk *bulk);
Bulk *bulk_unref(Bulk *bulk);

/* Appends to a stream: 0, -EMSGSIZE: more than the total that was announced, or -ENOMEM. */
int bulk_write(Bulk *bulk, const void *data, size_t size);

/* Bytes that it holds in memory */
uint64_t bulk_get_queued(const Bulk *bulk);

/* True if it can make a frame, or can at least try to. False: a pipe must become readable, a stream must be written to. */
bool bulk_is_ready(const Bulk *bulk);

/* Asks the epoll set to say when the pipe is readable, once: the caller clears is_waiting then. Does nothing for other sources.
 * 0, or an error: it never will. */
int bulk_wait(Bulk *bulk);

/* Makes the next frame. 0, and *ret_last says if it is the last one; -EAGAIN: the pipe has nothing; -ENOMEM; or -EIO: the
 * descriptor failed, and the frame tells the receiver so (NULL if it has not heard of the message). */
int bulk_next(Bulk *bulk, ChunkPool *pool, size_t payload_max, Chunk **ret_chunk, bool *ret_last);
