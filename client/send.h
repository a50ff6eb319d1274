/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What goes out, and in which order.
 *
 * Messages that fit one frame go out in the order in which they were sent, with stream number 0. A larger one gets a stream
 * number of its own and takes turns, frame by frame, with the other large ones and with the small ones, 64 KiB of those at a
 * time. So order is kept among small messages, and among the parts of one large one, and nowhere else. */

#include "client/bulk.h"
#include "client/link.h"

typedef struct Sender {
        int epoll_fd; /* borrowed */

        Chunk *ready; /* small messages and control frames, not in line for the socket yet */
        Chunk **ready_last;
        Chunk *ready_tail; /* the one that is appended to; or NULL */
        Chunk *out;        /* in line for the socket: this order does not change any more */
        Chunk **out_last;
        size_t n_out;
        ChunkPool pool;

        List turns;      /* of Bulk: those that can make a frame */
        Map by_stream;   /* of Bulk: all */
        uint32_t stream; /* the last number that was given; one counter for all targets, so it grows for each */

        uint64_t n_queued;  /* what the program gave and the kernel has not taken yet */
        uint64_t n_control; /* what the library itself has to say */
        size_t payload_max; /* as WELCOME said */

        void (*sent)(Sent *sent, void *userdata); /* takes over a Sent whose result is known */
        void *userdata;
} Sender;

enum {
        /* More control frames than that wait only if the service makes us answer and does not read the answers */
        SENDER_CONTROL_MAX = 256 * 1024,
};

void sender_init(Sender *s, int epoll_fd, void (*sent)(Sent *sent, void *userdata), void *userdata);
void sender_deinit(Sender *s);

/* Ends everything that is queued: `result` goes to those who wait for one. */
void sender_reset(Sender *s, int result);

/* Both copy. 0 or -ENOMEM. `sent` (may be NULL) is taken over on success. */
int sender_message(Sender *s, const Envelope *envelope, const void *data, size_t size, Sent *sent);
int sender_control(Sender *s, WireType type, uint16_t kind, uint32_t tag, const void *payload, size_t size);

/* Takes `fd` over on success. total WIRE_SIZE_UNKNOWN: to the end. */
int sender_fd(Sender *s, const Envelope *envelope, int fd, uint64_t total, Sent *sent);

int sender_stream_begin(Sender *s, const Envelope *envelope, uint64_t total, uint32_t *ret_stream);
int sender_stream_write(Sender *s, uint32_t stream, const void *data, size_t size); /* -ENOENT: not open, -EMSGSIZE, -ENOMEM */
int sender_stream_end(Sender *s, uint32_t stream);                                 /* -ENOENT */

/* Says good-bye as far as the socket takes it at once. What is queued stays unsent. */
void sender_goodbye(Sender *s, Link *link, uint16_t reason);

/* The epoll set said that this pipe can be read. */
void sender_pipe_ready(Sender *s, Bulk *bulk);

/* The service could not forward a frame of this stream: it ends here. Returns 1 if somebody was told by their handler, 0 if not,
 * -ENOENT if there is no such stream under way. */
int sender_bounce(Sender *s, uint64_t target, uint32_t stream, int error);

/* True if something could be written now, were the socket to take it. */
bool sender_has_output(const Sender *s);

/* True if nothing is left, nor will be before the program does something. */
bool sender_is_empty(const Sender *s);

/* Writes: 0, all that there is; 1, there is more, go on next turn; -EAGAIN, the socket takes no more; or an error of the link. */
int sender_write(Sender *s, Link *link);
