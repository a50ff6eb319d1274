/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The router: a pure state machine. Links, bytes, and the time go in; bytes to write and events come out. It reads no clock,
 * opens no file, and knows no socket; two of them in one process do not see each other.
 *
 * The data plane tells it the time with router_set_now() before each batch, feeds links (core/link.h), then takes the dirty links
 * one by one, writes what they have, keeps the rest, and ends the turn. */

#include "service/core/idranges.h"
#include "service/core/link.h"
#include "service/core/load.h"
#include "service/core/presence.h"

typedef struct RouterConfig {
        uint64_t max_clients;
        uint64_t ping_interval_usec;
        uint64_t grace_usec;
        uint64_t slow_client_timeout_usec; /* 0: never */
        uint64_t broadcast_wait_usec;
        uint64_t outbox_high;
        uint64_t outbox_low;
        uint64_t urgent_high; /* of acknowledgements and the like that have to wait for one client: more come back */
        uint32_t initial_credit;
        uint64_t sender_share; /* share.h; 0: none */
} RouterConfig;

enum { ROUTER_SEED_SIZE = 16 };

/* What the router asks of its surroundings. All are called in the middle of its work and must not call back into it. */
typedef struct RouterOps {
        /* A client has joined (again: `back`), or has left: the session is still whole. */
        void (*joined)(void *userdata, Session *s);
        void (*left)(void *userdata, Session *s, WireReason reason, const char *text);
        /* These ids may never resume again: their sessions have ended, or they have not come back in time. Nobody has been told
         * yet, and nobody is before settle() has returned: by then it must be known to whoever takes over after this process,
         * whenever it dies. */
        void (*ended)(void *userdata, IdRange ids);
        void (*settle)(void *userdata);
        /* alive, busy, away */
        void (*state_changed)(void *userdata, Session *s);
        /* A peer was turned away (REFUSED) or broke the protocol; `s` is NULL before it has joined. */
        void (*refused)(void *userdata, Link *l, WireRefusal code, const char *text);
        void (*protocol_error)(void *userdata, Link *l, Session *s, const char *text);
        /* Fewer than ROUTER_IDS_LOW ids are left: call router_add_ids() when control is back. */
        void (*ids_low)(void *userdata);
        /* The resume token of a session. */
        void (*make_token)(void *userdata, uint64_t id, WireText name, const char *principal,
                           uint8_t ret[static WIRE_TOKEN_SIZE]);
        /* What the kernel knows of a link: how long the peer's kernel has been silent, and its round trip; 0 where it doesn't. */
        void (*get_kernel_figures)(void *userdata, Link *l, uint32_t *ret_silence_ms, uint32_t *ret_rtt_usec);
        /* Does the kernel still hold output that the peer's kernel has not acknowledged, or has no room for? */
        bool (*is_pending)(void *userdata, Link *l);
        /* The output of `l` has been (or is no longer) blocked or pending for a while. */
        void (*stalled)(void *userdata, Link *l, bool on);
        /* Is the peer of a stalled link dead, as far as its kernel tells? */
        bool (*is_dead)(void *userdata, Link *l);
        /* The figures of the process (memory, processor, time); the router has filled in its own. */
        void (*complete_load)(void *userdata, LoadFigures *figures);
} RouterOps;

enum {
        ROUTER_IDS_LOW = 4096,
        ROUTER_RESET_GRACE_USEC = 900 * 1000, /* PROTOCOL.md, section 5 */
};

TAILQ_HEAD(LinkQueue, Link);

struct Router {
        RouterConfig config;
        const RouterOps *ops;
        void *userdata;
        uint64_t now;
        uint64_t start_usec;
        uint64_t former_until_usec; /* clients of the time before may come back until then: a longer grace brings back nobody */
        uint8_t instance[WIRE_INSTANCE_SIZE];
        uint64_t random;

        uint64_t next_id, end_id;
        uint64_t spare_first, spare_end; /* the next range, when this one is used up */

        Sessions sessions;
        IdRanges former; /* who may come back from the time before, or has */
        bool is_unsettled; /* there is something that nobody may hear before ops->settle() */
        Presence presence;
        Timers timers;
        Turn turn;
        struct LinkQueue dirty;
        struct LinkQueue waiting; /* for a name, the first in front */
        bool admitting;           /* one of them */
        uint64_t n_links;
        uint64_t n_paused;
        uint64_t queued_bytes;     /* kept in all outboxes */
        uint64_t n_broadcasters;   /* members that have broadcast reliably */
        bool stopping;

        Load load;
        Timer load_timer;
        uint64_t turn_messages; /* routed since the last router_turn_end() */
};

/* `seed` is random. Ids come with router_add_ids(). Returns 0 or -ENOMEM. */
int router_new(const RouterConfig *config, const RouterOps *ops, void *userdata, uint64_t now,
               const uint8_t seed[static ROUTER_SEED_SIZE], Router **ret_router);
/* All links must have been freed. */
Router *router_free(Router *r);

/* The ids [first, first + n) may be issued. */
void router_add_ids(Router *r, uint64_t first, uint64_t n);

/* The clients with these ids, of the time before, may come back until a grace is over. Returns 0 or -ENOMEM. */
int router_add_former(Router *r, IdRange ids);

static inline void router_set_now(Router *r, uint64_t now) {
        r->now = now;
}

/* Does what is due; call it when router_get_deadline() has come. */
void router_tick(Router *r);
static inline uint64_t router_get_deadline(const Router *r) {
        return timers_next(&r->timers);
}

/* The next link to look at: it has output, or wants something else of the data plane. NULL: none. */
Link *router_pop_dirty(Router *r);

/* All dirty links were dealt with. `routing_ns`: how long ago the bytes of this turn were read. */
void router_end_turn(Router *r, uint64_t routing_ns);

/* ---- For the control plane ---- */

/* Limits apply at once; the liveness of links that are up from their next check on. */
void router_set_config(Router *r, const RouterConfig *config);

/* Nobody has heard yet of what has ended, but is about to: the data plane by router_pop_dirty(), control by itself. */
void router_settle(Router *r);

/* Ends a session for good. 0, or -ENXIO. */
int router_kick(Router *r, uint64_t id, const char *text);

/* Says GOODBYE to all, with a delay each after which to come back, and admits nobody from now on. */
void router_stop(Router *r);

void router_get_load(Router *r, LoadFigures *ret);

/* ---- For the core ---- */

/* A number in [0, n). */
uint64_t router_random(Router *r, uint64_t n);

/* 0: there is none left. */
uint64_t router_issue_id(Router *r);

/* An id that was issued before this service started, and whose client may yet come back. */
bool router_may_come_back(const Router *r, uint64_t id);

/* A session that is no member yet, with room for its timer. NULL: out of memory. */
Session *router_session_new(Router *r, uint64_t id, WireText program);
/* One that is no member, or no more. Takes NULL, returns NULL. */
Session *router_session_free(Router *r, Session *s);

/* The session ends for good: everybody is told, it is freed. Its link, if it has one, is left to the caller. */
void router_end_session(Router *r, Session *s, WireReason reason, const char *text);

/* The session's link is lost: it stays for `grace_usec`. */
void router_session_away(Router *r, Session *s, uint64_t grace_usec);

void router_set_state(Router *r, Session *s, WireState state, WireEvent event, WireReason reason);
