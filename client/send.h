/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What goes out, and in which order.
 *
 * Small messages, which fit one frame, go out in the order in which they were sent to one target. A larger one is a flow of its
 * own and takes turns, frame by frame, with the other large ones and with the small ones, 64 KiB of those at a time. So order is
 * kept among small messages to one target, and among the parts of one large one, and nowhere else. */

#include "client/flow.h"
#include "client/link.h"

typedef struct SenderCallbacks {
        /* Takes over a Sent whose result is known. */
        void (*sent)(Sent *sent, void *userdata);
        /* Messages that nobody waits for have failed. */
        void (*undelivered)(uint64_t target, int error, uint64_t count, void *userdata);
        /* A client that is sent to for the first time: its fate is of interest from now on. 0 or -ENOMEM. */
        int (*watch)(uint64_t target, void *userdata);
} SenderCallbacks;

typedef struct Sender {
        int epoll_fd; /* borrowed */
        bool is_up;   /* accepted by the service */

        Line line;
        BlockPool pool;
        Store control;    /* what the library itself has to say: passes everything else */
        Store unreliable; /* messages that are sent once */
        Sent *unreliable_first, **unreliable_last; /* who waits for those, in their order; and for those in line */
        Sent *handed_first, **handed_last;

        Map peers;     /* of Peer, by id */
        Peer *last;    /* that was sent to: most often the next message is for the same; or NULL */
        Map by_handle; /* of Flow: all bulks */
        Map by_stream; /* … and those that have begun */
        List active;   /* of Flow: those that can send */
        List expiring; /* of Sent: those with a deadline, the earliest first */
        uint32_t handle; /* the last that was given */

        Peer everyone;            /* its `messages` are our broadcasts: sent once, and kept for those who missed some */
        Map resends;              /* of Resend, by target: who has asked for some */
        List resending;           /* the same, in turn */
        uint64_t broadcast_before; /* the number of the last one before the present instance of the service */

        uint64_t n_queued; /* what the program gave and is not done with */
        uint64_t n_fresh;  /* what it gave since the last write */
        uint32_t initial_credit; /* as WELCOME said */

        const SenderCallbacks *callbacks;
        void *userdata;
} Sender;

enum {
        /* More control frames than that wait only if the service, or another client, makes us answer and does not read the
         * answers */
        SENDER_CONTROL_MAX = 256 * 1024,
        /* Broadcasts that are kept: what a fast sender sends in the time that a receiver takes to come back after a short
         * break */
        SENDER_BROADCASTS_MAX = 4 * 1024 * 1024,
        /* Sent again at one request: a slow receiver asks for more when it has dealt with that */
        SENDER_RESEND_MAX = 256 * 1024,
        SENDER_TURN_SIZE = 64 * 1024, /* of small messages, before it is another's turn */
};

void sender_init(Sender *s, int epoll_fd, const SenderCallbacks *callbacks, void *userdata);
void sender_deinit(Sender *s);

/* Both copy. 0, -ENOMEM, or -EACCES: the target has been refused. `sent` (may be NULL) is taken over on success. */
int sender_message(Sender *s, const Envelope *envelope, const void *data, size_t size, Sent *sent);
int sender_control(Sender *s, const WireHeader *header, const void *payload);

/* Takes `fd` over on success. total WIRE_SIZE_UNKNOWN: to the end. */
int sender_fd(Sender *s, const Envelope *envelope, int fd, uint64_t total, Sent *sent);

int sender_stream_begin(Sender *s, const Envelope *envelope, uint64_t total, uint32_t *ret_stream);
int sender_stream_write(Sender *s, uint32_t stream, const void *data, size_t size); /* -ENOENT: not open, -EMSGSIZE, -ENOMEM */
int sender_stream_end(Sender *s, uint32_t stream, Sent *sent);                      /* -ENOENT. Takes `sent` over on success */

/* Says good-bye as far as the socket takes it at once. What is queued stays unsent. */
void sender_goodbye(Sender *s, Link *link, uint16_t reason);

/* The epoll set said that this pipe can be read. */
void sender_pipe_ready(Sender *s, Flow *flow);

/* True if something could be written now, were the socket to take it. */
bool sender_has_output(const Sender *s);

/* True if each message has its outcome, and all that has none is written. */
bool sender_is_empty(const Sender *s);

/* Writes: 0, all that there is; 1, there is more, go on next turn; -EAGAIN, the socket takes no more; or an error of the link. */
int sender_write(Sender *s, Link *link);

/* Messages whose time is over fail. */
uint64_t sender_get_deadline(const Sender *s);
void sender_expire(Sender *s, uint64_t now);

/* ---- targets.c: what becomes of messages ---- */

/* The link is new: what was said on it is gone, flows wait until the service has said of each target that it is there. */
void sender_link_lost(Sender *s);

/* Accepted. `is_resumed`: flows go on; else all that was under way fails with -ECONNRESET. `is_new_instance`: of the service. 0
 * or -ENOMEM. */
int sender_welcome(Sender *s, bool is_resumed, bool is_new_instance, uint32_t initial_credit);

/* All fails; numbers begin anew. */
void sender_reset(Sender *s, int error);

/* An acknowledgement. -EPROTO: of what was never sent; the frame is to be ignored. */
int sender_ack(Sender *s, uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit);

/* The target is there (again): what is not acknowledged is sent again. It is away: it is waited for. It is gone, or refuses: all
 * fails. */
void sender_target_back(Sender *s, uint64_t id);
void sender_target_alive(Sender *s, uint64_t id); /* the same, unless it was taken to be there anyway */
void sender_target_away(Sender *s, uint64_t id);
void sender_target_gone(Sender *s, uint64_t id, int error);
void sender_target_refused(Sender *s, uint64_t id); /* and all that is to follow will, with -EACCES */

/* ---- broadcast.c: our own broadcasts ---- */

/* A receiver has missed some: frames from `next` to `last` are to go out again to it, and a MARK behind them. Nothing is copied
 * before it is their turn, so it does not matter how many ask. */
typedef struct Resend {
        MapNode by_target;
        List resending;
        uint64_t next, last;
        size_t n_bytes; /* so far */
        Block *block;   /* where the frame `next` lies in the store, while that keeps it; NULL: not looked for yet */
        size_t start;
} Resend;

/* The next frame of a large one is put among the others. */
int sender_broadcast_bulk(Sender *s, Flow *f); /* 0, -EAGAIN, -ENOMEM */
/* Some have gone out. */
void sender_trim_broadcasts(Sender *s);
/* A receiver has missed some. 0 or -ENOMEM. */
int sender_resend(Sender *s, uint64_t target, uint64_t first, uint64_t last);
/* Puts in line what the next in turn of those who have asked is to get. False: nobody waits, or there is no memory for it now. */
bool sender_put_resend(Sender *s);
/* It is gone. All will ask again, since the link is lost. (One that is away has perhaps asked after it came back: a RESEND
 * overtakes the PRESENCE.) */
void sender_drop_resend(Sender *s, uint64_t target);
void sender_drop_resends(Sender *s);
int sender_mark(Sender *s, uint64_t target);

/* ---- for these three files ---- */

void sender_tell(Sender *s, Sent *sent, int result); /* a list */
void sender_activate(Sender *s, Flow *f);
void sender_drop_bulk(Sender *s, Flow *f, int result);
Peer *sender_find_peer(const Sender *s, uint64_t id);
Flow *sender_find_begun(const Sender *s, const Peer *peer, uint32_t stream);
