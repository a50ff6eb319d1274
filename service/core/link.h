/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A link is one connection as the core sees it: its place in the protocol, its incomplete frame, its outbox, and whom it
 * pauses. */

#include "protocol/framer.h"
#include "service/core/outbox.h"
#include "service/core/session.h"

typedef struct Router Router;
typedef struct Pause Pause;
typedef struct Share Share;

LIST_HEAD(PauseList, Pause);
LIST_HEAD(ShareList, Share);

typedef enum LinkState {
        LINK_OPENING, /* no HELLO yet */
        LINK_WAITING, /* its name is taken by a link that is being probed */
        LINK_UP,
        LINK_CLOSING, /* a last frame is on its way; what it still sends is thrown away */
        LINK_DEAD,    /* to be closed at once */
} LinkState;

/* How the data plane saw a link end */
typedef enum LinkEnd {
        LINK_EOF,     /* the peer closed it */
        LINK_RESET,   /* the peer's kernel reset it */
        LINK_TIMEOUT, /* the peer's kernel is silent */
} LinkEnd;

struct Link {
        Router *router;
        void *userdata;      /* the data plane's */
        const char *address; /* for people; the data plane's, valid as long as the link */
        const char *principal; /* whom the peer is authenticated as, "" if not at all; likewise */
        Session *session;    /* LINK_WAITING: not a member yet */
        uint8_t state;
        bool dirty;
        bool blocked;        /* its socket took less than was offered */
        bool stalled;        /* … for longer than LINK_STALL_USEC; or its kernel has not got rid of what it has taken */
        bool ping_outstanding;
        bool leaving;        /* the peer has closed; what it sent before is read, in spite of full outboxes within a bound */
        bool probed;         /* somebody waits for its name */
        bool unconfirmed;    /* it has resumed a session, and nothing shows yet that the peer has read its WELCOME */
        bool failed;         /* there was no memory for what it should get: its stream has a hole, it ends with the turn */
        bool skips_broadcasts; /* has been over its high-water mark for too long */
        uint32_t n_last_read; /* bytes */
        Framer framer;
        Outbox outbox;
        Timer timer;
        Timer stall;
        uint64_t heard_usec;   /* when it was last heard */
        uint64_t blocked_usec; /* since when it is blocked */
        uint64_t stalled_usec; /* since when it is stalled, at least */
        uint64_t full_usec;    /* since when it is over its high-water mark; 0: it is not */
        size_t n_charged;      /* its part in Router.queued_bytes */
        size_t n_discarded;    /* read while closing */
        uint64_t ping_usec;
        uint32_t ping_tag;
        uint32_t rtt_usec;     /* of the last ping; 0: none came back yet */
        struct PauseList pauses;  /* whom this link waits for; not read from while there is any */
        struct PauseList pausing; /* who waits for this link */
        Link *last_paused;        /* the last that began to wait for this link */
        struct ShareList shares;  /* what this link has for others that are over their marks, */
        struct ShareList sharing; /* and others for this one */
        TAILQ_ENTRY(Link) dirty_entry;
        TAILQ_ENTRY(Link) waiting_entry;
};

/* ---- For the data plane ---- */

enum { LINK_BULK_SIZE = 16 * 1024 }; /* of a read: takes longer than the write that others wait for */

/* A connection was accepted. Returns 0 or -ENOMEM. */
int link_new(Router *r, void *userdata, const char *address, const char *principal, Link **ret_link);
/* Its descriptor is closed. If it was not ended before, this is LINK_RESET. */
Link *link_free(Link *l);

/* False: leave what comes in the kernel. */
static inline bool link_wants_input(const Link *l) {
        return l->state == LINK_OPENING || l->state == LINK_CLOSING || (l->state == LINK_UP && LIST_EMPTY(&l->pauses));
}

/* Its last read brought so much that others are better off before it. */
static inline bool link_is_bulk(const Link *l) {
        return l->n_last_read >= LINK_BULK_SIZE;
}

/* The most that may be read at once for it: up to LINK_READ_SIZE_MAX, but LINK_READ_SIZE_USUAL will always do. */
size_t link_get_read_size(const Link *l);

/* Bytes have arrived, behind the tail that framer_take() gave: routes all frames in them and keeps the new tail. `data` may be
 * changed and is borrowed until the end of the turn. */
void link_input(Link *l, uint8_t *data, size_t size);

/* The peer has closed while it was not read from. What it has sent before that must not be lost, and its end must be told at
 * once: it is read to the end, if those who it waits for can take it within LINK_LEAVING_BYTES. */
void link_hang_up(Link *l);

/* The peer is gone. What is queued for it is dropped, its session ends or is away. */
void link_end(Link *l, LinkEnd how);

/* What to write next, and what was written. */
static inline size_t link_get_output(const Link *l, const Turn *t, struct iovec *iov, size_t max) {
        return outbox_get(&l->outbox, t, iov, max);
}
void link_sent(Link *l, size_t size);

/* At the end of a turn: keeps what could not be written. */
void link_keep(Link *l);

/* All is written and no more will be: send FIN, then read to the end. */
static inline bool link_is_finished(const Link *l) {
        return l->state == LINK_CLOSING && outbox_size(&l->outbox) == 0;
}

/* ---- For the core ---- */

enum {
        /* Over the high-water mark, for what was sent before the end: all that a kernel's receive buffer holds by default
         * (tcp_rmem) */
        LINK_LEAVING_BYTES = 8 * 1024 * 1024,
        /* Queued for all together: from there on, links are read from and let queue less */
        LINK_QUEUED_SCARCE = 64 * 1024 * 1024,
        LINK_READ_SIZE_USUAL = 128 * 1024,
        /* Where a read has brought that much, the next may bring this: then a message costs a fifth less. It is all that the
         * library lets one flow have under way. A larger one gains a little for messages of 1 MiB, and others wait for longer. */
        LINK_READ_SIZE_MAX = 512 * 1024,
        /* How long an output must have been blocked before the kernel is told that this peer is slow rather than dead: well below
         * the shortest time-out that can be configured, and rare enough to cost nothing. */
        LINK_STALL_USEC = 250 * 1000,
        LINK_STALL_CHECK_USEC = 1000 * 1000, /* … and how often it is looked at then */
        /* When it is looked whether the kernel has got rid of what was written: below the same time-out, and rare on a busy
         * link. */
        LINK_PENDING_USEC = 500 * 1000,
        /* How long a link that was told its end may take to read it. */
        LINK_LINGER_USEC = 1000 * 1000,
        /* How much of what it still sends is read and thrown away, so that no reset overtakes the last frame: more than the
         * buffers of both kernels hold by default (tcp_rmem and tcp_wmem). */
        LINK_LINGER_BYTES = 16 * 1024 * 1024,
};

/* The link has output, or what it wants of the data plane has changed. */
void link_set_dirty(Link *l);

/* Queue frames. Without memory, the link is lost, and nobody else. */
void link_post_run(Link *l, const uint8_t *data, size_t size);        /* borrowed, in order */
void link_post_run_copied(Link *l, const uint8_t *data, size_t size); /* in order */
void link_post_run_urgent(Link *l, const uint8_t *data, size_t size); /* copied, may pass what is kept */
void link_post(Link *l, const WireHeader *header, const uint8_t *payload);        /* in order */
void link_post_urgent(Link *l, const WireHeader *header, const uint8_t *payload); /* may pass what is kept */

/* Sends a last frame (REFUSED or GOODBYE) and begins to close. The session, if any, is dealt with by the caller. */
void link_refuse(Link *l, WireRefusal code, const char *text);
void link_goodbye(Link *l, WireReason code, uint32_t retry_after_ms, const char *text);

/* The peer has said GOODBYE: nothing more goes out, what still comes is thrown away until it closes. */
void link_finish(Link *l);

/* Closes at once, without a word. */
void link_kill(Link *l);

/* A frame that breaks the protocol: tells the peer, ends its session, closes. */
void link_protocol_error(Link *l, const char *what);
