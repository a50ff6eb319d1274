/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A data plane without sockets and without a clock, for tests and fuzzing of the core: bytes are put in by hand, time moves by
 * hand, and what goes out is told as text. After each turn it holds the router against what must always be true
 * (fake_net_check()). */

#include "service/core/router.h"

typedef struct FakeNet FakeNet;

/* One end of a link, as the peer and its kernel see it */
typedef struct FakeLink {
        FakeNet *net;
        Link *link;  /* NULL: closed by the service */
        uint64_t id; /* of fake_client(), and of what was welcome since */
        uint8_t token[WIRE_TOKEN_SIZE];
        char principal[16];

        uint8_t *in; /* sent, not read by the service yet */
        size_t n_in, n_in_allocated;
        bool closed; /* by the peer, as `how` says */
        LinkEnd how;
        bool hung;

        uint8_t *out; /* written by the service */
        size_t n_out, n_out_allocated;
        size_t heard; /* how much of it fake_heard() has told */
        size_t room;  /* how much more the peer's kernel takes */
        bool write_blocked;
        bool shut;    /* the service has sent its FIN */

        /* For RouterOps */
        bool is_pending;
        bool is_dead;
        uint32_t kernel_silence_ms, kernel_rtt_usec;

        struct FakeLink *next;
} FakeLink;

enum { FAKE_EVENTS_MAX = 16 * 1024 };

struct FakeNet {
        Router *router;
        RouterConfig config;
        uint64_t now;
        FakeLink *links; /* the oldest first */
        FakeLink **last;
        uint8_t **borrowed; /* what was read in this turn, each in a block of its own, so that a use after the turn is seen */
        size_t n_borrowed;
        uint64_t n_progress;
        uint64_t refill; /* ids to give when they are low; 0: none */
        bool ids_low;
        IdRanges resumable; /* what a router that is started after this one may be given as former clients */
        bool hands_over; /* after each turn, so that a test finds whatever gets lost; set by $FAKE_HANDOVER */
        char events[FAKE_EVENTS_MAX];
        size_t n_events;
};

enum {
        FAKE_SEC = 1000 * 1000,
        FAKE_FIRST_ID = 1001, /* those below are of the time before */
        FAKE_IDS = 65536,
        FAKE_HIGH = 4096,
        FAKE_LOW = 1024,
};
#define FAKE_UNLIMITED SIZE_MAX

/* True while the core is at work: only what it allocates is to fail in test-router-memory.c. */
extern bool fake_in_core;

/* Small limits */
RouterConfig fake_config(void);
/* Ids from FAKE_FIRST_ID. With `config` NULL: fake_config(). NULL: the core had no memory. */
FakeNet *fake_net_new(const RouterConfig *config);
FakeNet *fake_net_free(FakeNet *n);

/* One turn as service/net/net.c does it. True if anything has happened. */
bool fake_net_turn(FakeNet *n);
/* Turns until nothing happens. */
void fake_net_run(FakeNet *n);
/* Lets time pass, with a turn at each deadline on the way. */
void fake_net_advance(FakeNet *n, uint64_t usec);
void fake_net_check(FakeNet *n);

/* What the router has told since the last call: "joined a; state a busy; left a died; refused full; ids low; stalled on" */
const char *fake_events(FakeNet *n);

/* A connection; closed at once (`link` is NULL) if the core has no memory. */
FakeLink *fake_open(FakeNet *n);
/* … that is welcome already, and has heard so. */
FakeLink *fake_client(FakeNet *n, const char *name);

/* All of these only put bytes on their way; the turn reads them. */
void fake_send_bytes(FakeLink *l, const void *data, size_t size);
void fake_send(FakeLink *l, WireHeader header, const void *payload);
void fake_hello(FakeLink *l, const char *name);
void fake_hello_full(FakeLink *l, const WireHello *hello);
WireHello fake_hello_init(const char *name);
/* Resumes what `was` had, and confirms that, as a client does that has read its WELCOME. */
void fake_resume(FakeLink *l, const FakeLink *was, const char *name);
void fake_token(uint64_t id, WireText name, const char *principal, uint8_t ret[static WIRE_TOKEN_SIZE]);
void fake_data(FakeLink *l, uint64_t target, uint64_t sequence, const char *text);
void fake_fill(FakeLink *l, uint64_t target, size_t size); /* one DATA frame of so many bytes, the header included */
void fake_simple(FakeLink *l, WireType type, uint64_t target, uint64_t sequence); /* without payload */
void fake_pong(FakeLink *l, uint32_t tag);
void fake_watch(FakeLink *l, uint64_t id, bool on);
void fake_ask_u64(FakeLink *l, WireQuestion kind, uint64_t value, uint32_t tag);
void fake_ask_name(FakeLink *l, WireQuestion kind, const char *name, uint32_t tag);

/* The peer ends its side. What it has sent is read before EOF, and lost with the other two. */
void fake_close(FakeLink *l, LinkEnd how);

/* The peer's kernel takes `n` more bytes (FAKE_UNLIMITED: all from now on), or no more at all. */
void fake_take(FakeLink *l, size_t n);
void fake_stop_taking(FakeLink *l);

/* Runs, and then tells all whole frames that the peer has received since the last call, as text, separated by "; ". */
const char *fake_heard(FakeLink *l);
/* Is there a whole frame at this place of `out`? */
static inline bool fake_frame_at(const FakeLink *l, size_t position, size_t *ret_size) {
        return l->n_out > 0 && framer_peek(l->out + position, l->n_out - position, ret_size) == 0;
}
/* The last whole frame that has arrived. */
const uint8_t *fake_last_frame(FakeLink *l, WireHeader *ret_header);

static inline Session *fake_session(const FakeLink *l) {
        return sessions_find(&l->net->router->sessions, l->id);
}

/* For harness and fuzzer, where libcheck is not: says what was expected, and aborts. */
#define fake_require(e) ((e) ? (void) 0 : fake_fail(__FILE__, __LINE__, #e))
void fake_fail(const char *file, int line, const char *what) __attribute__((noreturn));
