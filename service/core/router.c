/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Holds the parts of the core together: time, ids, the beginning and end of sessions, the queue of dirty links. What a frame does
 * is elsewhere: input.c, route.c, handshake.c, questions.c. */

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "service/core/handshake.h"
#include "service/core/liveness.h"
#include "service/core/router.h"

#define container_of(ptr, type, member) ((type *) ((char *) (ptr) - offsetof(type, member)))

enum { LOAD_SAMPLE_USEC = 1000 * 1000 };

int router_new(const RouterConfig *config, const RouterOps *ops, void *userdata, uint64_t now,
               const uint8_t seed[static ROUTER_SEED_SIZE], Router **ret_router) {
        Router *r;

        r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        if (turn_init(&r->turn) < 0 || timers_reserve(&r->timers, 1) < 0) {
                turn_deinit(&r->turn);
                free(r);
                return -ENOMEM;
        }
        r->config = *config;
        r->ops = ops;
        r->userdata = userdata;
        r->now = r->start_usec = now;
        r->former_until_usec = now + config->grace_usec;
        r->random = wire_load_u64(seed) ^ wire_load_u64(seed + 8);
        memcpy(r->instance, seed, sizeof(r->instance));
        TAILQ_INIT(&r->dirty);
        TAILQ_INIT(&r->waiting);
        LIST_INIT(&r->presence.everyone);
        load_init(&r->load, now);
        r->load_timer = TIMER_INIT(TIMER_LOAD);
        timers_arm(&r->timers, &r->load_timer, now + LOAD_SAMPLE_USEC);
        *ret_router = r;
        return 0;
}

Router *router_free(Router *r) {
        if (!r)
                return NULL;
        assert(r->n_links == 0);
        while (r->sessions.n_members > 0)
                presence_forget(r, r->sessions.members[--r->sessions.n_members]);
        sessions_deinit(&r->sessions);
        idranges_deinit(&r->former);
        timers_deinit(&r->timers);
        turn_deinit(&r->turn);
        free(r);
        return NULL;
}

void router_set_config(Router *r, const RouterConfig *config) {
        r->config = *config;
}

/* SplitMix64 (Steele, Lea, Flood 2014): for delays and the like, not for secrets. */
uint64_t router_random(Router *r, uint64_t n) {
        uint64_t z = r->random += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        z ^= z >> 31;
        return n > 0 ? z % n : 0;
}

/* Ids */

void router_add_ids(Router *r, uint64_t first, uint64_t n) {
        if (r->end_id == 0) {
                r->next_id = first;
                r->end_id = first + n;
        } else {
                r->spare_first = first;
                r->spare_end = first + n;
        }
}

uint64_t router_issue_id(Router *r) {
        if (r->next_id == r->end_id && r->spare_end > r->spare_first) {
                r->next_id = r->spare_first;
                r->end_id = r->spare_end;
                r->spare_first = r->spare_end = 0;
        }
        if (r->spare_end == 0 && r->end_id - r->next_id <= ROUTER_IDS_LOW)
                r->ops->ids_low(r->userdata);
        return r->next_id < r->end_id ? r->next_id++ : 0;
}

int router_add_former(Router *r, IdRange ids) {
        return idranges_add(&r->former, ids);
}

bool router_may_come_back(const Router *r, uint64_t id) {
        return r->now < r->former_until_usec && idranges_has(&r->former, id);
}

/* What is final */

static void note_ended(Router *r, IdRange ids) {
        r->ops->ended(r->userdata, ids);
        r->is_unsettled = true;
}

/* All that were not seen again: those that somebody waits for, who end at the same moment, and those whom nobody has asked for
 * yet. */
static void end_former(Router *r) {
        const Sessions *ss = &r->sessions;

        for (size_t i = 0; i < r->former.n; i++) {
                IdRange left = r->former.ranges[i];

                for (size_t k = sessions_after(ss, left.first - 1); k < ss->n_members && ss->members[k]->id < left.end; k++) {
                        uint64_t id = ss->members[k]->id;

                        if (left.first < id)
                                note_ended(r, (IdRange) { left.first, id });
                        left.first = id + 1;
                }
                if (left.first < left.end)
                        note_ended(r, left);
        }
        idranges_deinit(&r->former);
}

void router_settle(Router *r) {
        if (r->former.n > 0 && r->now >= r->former_until_usec)
                end_former(r);
        if (!r->is_unsettled)
                return;
        r->is_unsettled = false;
        r->ops->settle(r->userdata);
}

/* Sessions */

Session *router_session_new(Router *r, uint64_t id, WireText program) {
        Session *s;

        s = session_new(id, program);
        if (!s || timers_reserve(&r->timers, 1) < 0)
                return session_free(s);
        return s;
}

Session *router_session_free(Router *r, Session *s) {
        if (!s)
                return NULL;
        timers_disarm(&r->timers, &s->grace);
        timers_unreserve(&r->timers, 1);
        return session_free(s);
}

void router_set_state(Router *r, Session *s, WireState state, WireEvent event, WireReason reason) {
        s->state = (uint8_t) state;
        presence_tell(r, s, event, reason);
        r->ops->state_changed(r->userdata, s);
}

void router_end_session(Router *r, Session *s, WireReason reason, const char *text) {
        bool ghost = s->ghost;

        assert(!s->link || s->link->state != LINK_UP);
        note_ended(r, idranges_remove(&r->former, (IdRange) { s->id, s->id + 1 }));
        if (!ghost) {
                r->sessions.n_away -= s->state == WIRE_STATE_AWAY;
                r->n_broadcasters -= s->last_broadcast > 0;
        }
        s->state = WIRE_STATE_GONE;
        sessions_remove(&r->sessions, s);
        presence_tell(r, s, WIRE_EVENT_LEFT, reason);
        presence_forget(r, s);
        if (!ghost) {
                r->ops->left(r->userdata, s, reason, text);
                handshake_name_free(r, session_name(s));
        }
        router_session_free(r, s);
}

void router_session_away(Router *r, Session *s, uint64_t grace_usec) {
        r->sessions.n_away++;
        timers_arm(&r->timers, &s->grace, r->now + grace_usec);
        router_set_state(r, s, WIRE_STATE_AWAY, WIRE_EVENT_AWAY, WIRE_REASON_LINK_LOST);

        /* Somebody waits for the name of a link that was being probed, and that has failed now. */
        if (handshake_is_waited_for(r, session_name(s)))
                router_end_session(r, s, WIRE_REASON_REPLACED, "");
}

int router_kick(Router *r, uint64_t id, const char *text) {
        Session *s = sessions_find(&r->sessions, id);

        if (!s || s->ghost)
                return -ENXIO;
        if (s->link)
                link_goodbye(s->link, WIRE_REASON_KICKED, 0, text);
        router_end_session(r, s, WIRE_REASON_KICKED, text);
        return 0;
}

enum {
        /* When the clients of a service that stops come back: spread over what their number needs at 5 in a millisecond, less
         * than half of what it can take while it does nothing else; but all of them are to be back within 2 s. */
        RETRY_MIN_MS = 100,
        RETRY_SPREAD_MIN_MS = 400,
        RETRY_SPREAD_MAX_MS = 1500,
        RETRY_CLIENTS_PER_MS = 5,
};

void router_stop(Router *r) {
        uint64_t spread = r->sessions.n_members / RETRY_CLIENTS_PER_MS;

        if (spread < RETRY_SPREAD_MIN_MS)
                spread = RETRY_SPREAD_MIN_MS;
        if (spread > RETRY_SPREAD_MAX_MS)
                spread = RETRY_SPREAD_MAX_MS;
        r->stopping = true;
        for (size_t i = 0; i < r->sessions.n_members; i++) {
                Session *s = r->sessions.members[i];

                if (s->link)
                        link_goodbye(s->link, WIRE_REASON_STOPPING, RETRY_MIN_MS + (uint32_t) router_random(r, spread),
                                     "the service is stopping");
        }
}

/* Time */

static void sample_load(Router *r) {
        if (load_sample(&r->load, r->now))
                timers_arm(&r->timers, &r->load_timer, r->now + LOAD_SAMPLE_USEC);
}

void router_tick(Router *r) {
        Timer *timer;

        while ((timer = timers_pop(&r->timers, r->now)))
                switch ((TimerKind) timer->kind) {
                case TIMER_LINK:
                        liveness_check(container_of(timer, Link, timer));
                        break;
                case TIMER_STALL:
                        liveness_check_stall(container_of(timer, Link, stall));
                        break;
                case TIMER_GRACE:
                        router_end_session(r, container_of(timer, Session, grace), WIRE_REASON_LINK_LOST, "");
                        break;
                case TIMER_LOAD:
                        sample_load(r);
                        break;
                }
}

Link *router_pop_dirty(Router *r) {
        Link *l = TAILQ_FIRST(&r->dirty);

        router_settle(r);
        if (l) {
                TAILQ_REMOVE(&r->dirty, l, dirty_entry);
                l->dirty = false;
        }
        return l;
}

void router_end_turn(Router *r, uint64_t routing_ns) {
        turn_end(&r->turn);
        if (r->turn_messages == 0)
                return;
        histogram_record(&r->load.routing, routing_ns, r->turn_messages);
        r->turn_messages = 0;
        if (r->load_timer.slot == 0) {
                load_sample(&r->load, r->now);
                timers_arm(&r->timers, &r->load_timer, r->now + LOAD_SAMPLE_USEC);
        }
}

void router_get_load(Router *r, LoadFigures *ret) {
        *ret = (LoadFigures) {
                .uptime_usec = r->now - r->start_usec,
                .clients = r->sessions.n_members,
                .clients_away = r->sessions.n_away,
                .clients_paused = r->n_paused,
                .queued_bytes = r->queued_bytes,
        };
        load_get_figures(&r->load, r->now, ret);
        r->ops->complete_load(r->userdata, ret);
}
