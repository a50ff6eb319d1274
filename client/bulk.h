/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* An outgoing message that needs several frames: it makes one frame at a time, when it is its turn. */

#include <stdbool.h>
#include <stdint.h>

#include "client/inbox.h"
#include "client/line.h"
#include "client/util.h"

typedef struct Flow Flow;
typedef struct Sent Sent;

/* Whoever waits for what becomes of a message */
struct Sent {
        Notice notice;
        Sent *next;
        DirectSendHandler handler; /* NULL: it was sent with a time to live, and nobody else asks */
        void *userdata;
        int result;
        uint64_t ordinal; /* of its frame, among all of its flow; unreliable: the place in line that it ends at */
        uint64_t deadline; /* USEC_NEVER */
        List expiring;
        Flow *flow;
        uint8_t *frame; /* while it has a deadline */
};

/* Takes out the first of a queue, as far as their ordinals go: a list. */
Sent *sent_take(Sent **first, Sent ***last, uint64_t ordinal);

/* To whom, and as what */
typedef struct Envelope {
        uint64_t target;
        uint16_t kind;
        uint8_t flags; /* WIRE_RELIABLE, WIRE_REQUEST, WIRE_REPLY, WIRE_FAILED */
        uint32_t tag;
} Envelope;

typedef enum BulkSource {
        BULK_MEMORY, /* a copy of the whole */
        BULK_FILE,   /* a regular file, read at its own offset */
        BULK_PIPE,   /* anything else that can be read, when the epoll set says so */
        BULK_STREAM, /* what the program has written and is not in a frame yet */
} BulkSource;

typedef struct Bulk {
        BulkSource source;
        Envelope envelope;
        uint32_t stream; /* its number; 0: it has not begun */
        size_t payload_max;
        uint64_t total; /* WIRE_SIZE_UNKNOWN */
        uint64_t taken; /* PIPE, STREAM: of it, in frames so far */
        uint64_t last;  /* number of the last frame; 0: not known yet */
        uint64_t made;  /* FILE: the highest number of a frame that was made whole */
        bool ended;     /* STREAM: the last byte is here */
        bool failed;    /* its last frame says so */
        Sent *sent;

        Block *memory; /* MEMORY */
        uint8_t *data; /* STREAM: n_allocated bytes, in use from start to end */
        size_t start, end, n_allocated;

        int fd;
        int epoll_fd; /* borrowed */
        bool in_epoll;
        bool is_waiting;  /* the epoll set will say when there is something to read */
        bool never_waits; /* the epoll set does not take such a file */
        bool broken;      /* it will never say anything */
} Bulk;

/* Copies `data`. NULL: no memory. All take over `sent` (may be NULL) if they succeed. */
Bulk *bulk_new_memory(BlockPool *pool, const Envelope *envelope, const void *data, size_t size, Sent *sent);
Bulk *bulk_new_stream(const Envelope *envelope, uint64_t total);

/* Takes `fd` over as well. */
Bulk *bulk_new_fd(const Envelope *envelope, int fd, bool is_file, uint64_t total, int epoll_fd, Sent *sent);

/* `sent` is not its business any more. Takes NULL, returns NULL. */
Bulk *bulk_free(Bulk *bulk, BlockPool *pool);

/* True if each frame can be made again from its number. */
static inline bool bulk_is_repeatable(const Bulk *bulk) {
        return bulk->source <= BULK_FILE;
}

/* Appends to a stream: 0, -EMSGSIZE: more than the total that was announced, or -ENOMEM. */
int bulk_write(Bulk *bulk, const void *data, size_t size);

/* Bytes that it holds in memory when frames up to `acked` are not needed any more */
uint64_t bulk_get_queued(const Bulk *bulk, uint64_t acked);

/* True if it can make the frame `sequence`, or can at least try to. False: all are made, a pipe must become readable, a stream
 * must be written to. */
bool bulk_is_ready(const Bulk *bulk, uint64_t sequence);

/* Asks the epoll set to say (as `userdata`) when the pipe is readable, once: the caller clears is_waiting then. Does nothing for
 * other sources. 0, or an error: it never will. */
int bulk_wait(Bulk *bulk, void *userdata);

/* Makes the frame `sequence` (of a pipe or stream: the next) at the start of `block`, which has room for the largest. 0, or
 * -EAGAIN: the pipe has nothing. What can't be read ends with a frame that says so. */
int bulk_make(Bulk *bulk, uint64_t sequence, Block *block);

/* Makes the frame `sequence` of a message in memory or a file and puts it in line. 0 and its size, or -ENOMEM. */
int bulk_send(Bulk *bulk, uint64_t sequence, Line *line, BlockPool *pool, size_t *ret_size);
