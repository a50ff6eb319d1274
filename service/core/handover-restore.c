/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Builds a router of records, by the same calls that built the first one where that is possible. Whatever is read has passed a
 * checksum, and is checked nevertheless: what the router takes for granted must be true of it, or the router is not made at all.
 * What would only be wrong for the one client that it belongs to is left to that client. */

#include <errno.h>

#include "service/core/handover-load.h"
#include "service/core/handover-records.h"
#include "service/core/handover.h"
#include "service/core/pause.h"
#include "service/core/share.h"

typedef struct Restore {
        Router *router;
        HandoverLink *links;
        size_t n_links;
        IdMap waiting; /* ids of those who wait for a name: no members yet */
        bool begun;    /* the router's own record was there */
} Restore;

/* What a call that may have refused what was read returns */
static int judge(int e) {
        return e >= 0 || e == -ENOMEM ? e : -EBADMSG;
}

/* The router */

static bool ids_are_right(const Router *r) {
        bool has_spare = r->spare_end > 0;

        if (r->next_id > r->end_id || r->end_id > WIRE_TARGET_GROUP)
                return false;
        return !has_spare || (r->end_id <= r->spare_first && r->spare_first <= r->spare_end && r->spare_end <= WIRE_TARGET_GROUP);
}

static int restore_router(Restore *t, WireReader *in) {
        Router *r = t->router;
        uint64_t load_timer;

        if (t->begun || wire_read_u16(in) != WIRE_VERSION || wire_read_u32(in) != t->n_links)
                return -EBADMSG;
        t->begun = true;
        wire_read_bytes(in, r->instance, sizeof(r->instance));
        r->random = wire_read_u64(in);
        r->start_usec = record_read_age(in, r->now);
        r->former_until_usec = record_read_rest(in, r->now);
        r->presence.epoch = wire_read_u64(in);
        r->next_id = wire_read_u64(in);
        r->end_id = wire_read_u64(in);
        r->spare_first = wire_read_u64(in);
        r->spare_end = wire_read_u64(in);
        load_timer = record_read_rest(in, r->now);
        if (load_timer == TIMERS_NEVER)
                timers_disarm(&r->timers, &r->load_timer);
        else
                timers_arm(&r->timers, &r->load_timer, load_timer);
        return in->failed || !ids_are_right(r) ? -EBADMSG : 0;
}

static int restore_former(Restore *t, WireReader *in) {
        while (record_get_rest(in) > 0) {
                IdRange ids;
                int e;

                ids.first = wire_read_u64(in);
                ids.end = wire_read_u64(in);
                if (in->failed || ids.first == 0 || ids.first >= ids.end || ids.end > t->router->next_id)
                        return -EBADMSG;
                e = router_add_former(t->router, ids);
                if (e < 0)
                        return e;
        }
        return 0;
}

/* Sessions */

static bool is_free_id(const Restore *t, uint64_t id) {
        return id > 0 && id < t->router->next_id && !sessions_find(&t->router->sessions, id) && !idmap_find(&t->waiting, id);
}

/* The session is one that there can be, beside those that there are already. */
static bool session_is_right(const Restore *t, uint64_t id, WireState state, unsigned flags, WireText name) {
        if (!is_free_id(t, id))
                return false;
        if (flags & RECORD_SESSION_GHOST)
                return state == WIRE_STATE_AWAY && name.size == 0 && !(flags & RECORD_SESSION_WATCHES_EVERYONE);
        return (state == WIRE_STATE_ALIVE || state == WIRE_STATE_BUSY || state == WIRE_STATE_AWAY) &&
                wire_name_is_valid(name.data, name.size) && !sessions_find_name(&t->router->sessions, name);
}

static void read_session(WireReader *in, Session *s) {
        s->since_usec = wire_read_u64(in);
        s->last_broadcast = wire_read_u64(in);
        s->messages_in = wire_read_u64(in);
        s->messages_out = wire_read_u64(in);
        s->bytes_in = wire_read_u64(in);
        s->bytes_out = wire_read_u64(in);
}

/* It has been added, with all its fields. */
static void settle_session(Router *r, Session *s, unsigned flags, uint64_t grace_end) {
        if (s->state == WIRE_STATE_AWAY)
                timers_arm(&r->timers, &s->grace, grace_end);
        if (s->ghost)
                return;
        r->sessions.n_away += s->state == WIRE_STATE_AWAY;
        r->n_broadcasters += s->last_broadcast > 0;
        presence_watch_everyone(r, s, flags & RECORD_SESSION_WATCHES_EVERYONE);
        s->missed_presence = flags & RECORD_SESSION_MISSED_PRESENCE;
        s->missed_broadcasts = flags & RECORD_SESSION_MISSED_BROADCASTS;
}

static int restore_session(Restore *t, WireReader *in) {
        uint64_t id = wire_read_u64(in), grace_end;
        WireState state = wire_read_u8(in);
        unsigned flags = wire_read_u8(in);
        WireText name = wire_read_text8(in), program = wire_read_text16(in);
        Router *r = t->router;
        Session *s;
        int e;

        if (in->failed || !session_is_right(t, id, state, flags, name))
                return -EBADMSG;
        s = router_session_new(r, id, program);
        if (!s)
                return -ENOMEM;
        if (name.size > 0)
                session_set_name(s, name);
        s->state = (uint8_t) state;
        s->ghost = flags & RECORD_SESSION_GHOST;
        read_session(in, s);
        grace_end = record_read_rest(in, r->now);
        e = in->failed ? -EBADMSG : sessions_add(&r->sessions, s);
        if (e < 0) {
                router_session_free(r, s);
                return e;
        }
        settle_session(r, s, flags, grace_end);
        return 0;
}

static Session *find_member(const Restore *t, uint64_t id) {
        Session *s = sessions_find(&t->router->sessions, id);

        return s && !s->ghost ? s : NULL;
}

static int restore_watch(Restore *t, WireReader *in) {
        Session *watcher = find_member(t, wire_read_u64(in));
        Session *watched = sessions_find(&t->router->sessions, wire_read_u64(in));

        return in->failed || !watcher || !watched ? -EBADMSG : judge(presence_watch(watcher, watched));
}

static int restore_watch_left(Restore *t, WireReader *in) {
        Session *watcher = find_member(t, wire_read_u64(in));
        uint64_t id = wire_read_u64(in);
        uint8_t reason = wire_read_u8(in);

        return in->failed || !watcher || id == 0 ? -EBADMSG : judge(presence_watch_left(watcher, id, reason));
}

/* Links */

static void read_link(WireReader *in, Link *l) {
        const Router *r = l->router;

        l->heard_usec = record_read_age(in, r->now);
        l->blocked_usec = record_read_age(in, r->now);
        l->stalled_usec = record_read_age(in, r->now);
        l->full_usec = record_read_age(in, r->now);
        l->ping_usec = record_read_age(in, r->now);
        l->ping_tag = wire_read_u32(in);
        l->rtt_usec = wire_read_u32(in);
        l->n_discarded = wire_read_u64(in);
}

static void set_link_flags(Link *l, unsigned flags) {
        l->blocked = flags & RECORD_LINK_BLOCKED;
        l->stalled = flags & RECORD_LINK_STALLED;
        l->skips_broadcasts = flags & RECORD_LINK_SKIPS_BROADCASTS;
        l->ping_outstanding = flags & RECORD_LINK_PINGED;
        l->probed = flags & RECORD_LINK_PROBED;
        l->leaving = flags & RECORD_LINK_LEAVING;
        l->outbox.opened = flags & RECORD_LINK_OPENED;
        l->unconfirmed = flags & RECORD_LINK_UNCONFIRMED;
        if (!(flags & RECORD_LINK_FULL))
                l->full_usec = 0;
        else if (l->full_usec == 0) /* longer than the clock runs */
                l->full_usec = 1;
}

static bool link_is_right(const Restore *t, uint32_t index, LinkState state, const Session *s, WireText principal) {
        const char *expected;

        if (index >= t->n_links || t->links[index].ret_link)
                return false;
        /* Whose descriptor it is the kernel says; if that is not who it was, they are not in their old order. */
        expected = t->links[index].principal;
        if (strlen(expected) != principal.size || memcmp(expected, principal.data, principal.size) != 0)
                return false;
        if (state == LINK_UP)
                return s && !s->link && s->state != WIRE_STATE_AWAY;
        return state == LINK_OPENING || state == LINK_CLOSING;
}

static int restore_link(Restore *t, WireReader *in) {
        uint32_t index = wire_read_u32(in);
        LinkState state = wire_read_u8(in);
        unsigned flags = wire_read_u16(in);
        Session *s = find_member(t, wire_read_u64(in));
        WireText principal = wire_read_text8(in);
        uint64_t timer = record_read_rest(in, t->router->now), stall = record_read_rest(in, t->router->now);
        HandoverLink *place;
        Link *l;
        int e;

        if (in->failed || !link_is_right(t, index, state, s, principal))
                return -EBADMSG;
        place = &t->links[index];
        e = link_new(t->router, place->userdata, place->address, place->principal, &place->ret_link);
        if (e < 0)
                return e;
        l = place->ret_link;
        l->state = (uint8_t) state;
        read_link(in, l);
        set_link_flags(l, flags);
        if (in->failed || (l->skips_broadcasts && l->full_usec == 0))
                return -EBADMSG;
        if (state == LINK_UP) {
                l->session = s;
                s->link = l;
        }
        timers_arm(&t->router->timers, &l->timer, timer);
        if (flags & RECORD_LINK_STALL_TIMER)
                timers_arm(&t->router->timers, &l->stall, stall);
        link_set_dirty(l);
        return 0;
}

static Link *find_link(const Restore *t, uint32_t index) {
        return index < t->n_links ? t->links[index].ret_link : NULL;
}

static int restore_waiting(Restore *t, WireReader *in) {
        Link *l = find_link(t, wire_read_u32(in));
        uint64_t id = wire_read_u64(in);
        WireText name = wire_read_text8(in), program = wire_read_text16(in);
        Session *s;

        if (in->failed || !l || l->state != LINK_OPENING || !is_free_id(t, id) || !wire_name_is_valid(name.data, name.size))
                return -EBADMSG;
        s = router_session_new(t->router, id, program);
        if (!s || idmap_add(&t->waiting, id, s) < 0) {
                router_session_free(t->router, s);
                return -ENOMEM;
        }
        session_set_name(s, name);
        l->session = s;
        l->state = LINK_WAITING;
        TAILQ_INSERT_TAIL(&t->router->waiting, l, waiting_entry);
        return 0;
}

static int restore_tail(Restore *t, WireReader *in) {
        Link *l = find_link(t, wire_read_u32(in));
        size_t n = record_get_rest(in);

        if (in->failed || !l || l->state == LINK_CLOSING || l->framer.n_tail > 0)
                return -EBADMSG;
        if (l->state != LINK_UP && n >= WIRE_HELLO_FRAME_MAX)
                return -EBADMSG;
        return judge(framer_keep(&l->framer, in->p, n));
}

static bool are_whole_frames(const uint8_t *data, size_t size) {
        while (size > 0) {
                size_t n;

                if (framer_peek(data, size, &n) != 0)
                        return false;
                data += n;
                size -= n;
        }
        return true;
}

static int restore_output(Restore *t, WireReader *in) {
        Link *l = find_link(t, wire_read_u32(in));
        unsigned flags = wire_read_u8(in);
        OutboxPart part = {
                .data = in->p,
                .size = record_get_rest(in),
                .begun = flags & RECORD_OUTPUT_BEGUN,
                .urgent = flags & RECORD_OUTPUT_URGENT,
        };
        int e;

        if (in->failed || !l || (l->state != LINK_UP && l->state != LINK_CLOSING) || part.size == 0)
                return -EBADMSG;
        if (part.begun ? l->outbox.n_kept > 0 : !are_whole_frames(part.data, part.size))
                return -EBADMSG;
        e = outbox_add_part(&l->outbox, &part);
        if (e < 0)
                return e;
        t->router->queued_bytes += part.size;
        l->n_charged = l->outbox.n_kept;
        return 0;
}

/* What there is of two links while one is over its mark ends when that drains, so there must be something to drain. */
static bool is_full_pair(const Session *sender, const Session *target) {
        return sender && sender->link && target && target->link && target->link->full_usec != 0 &&
                target->link->outbox.n_kept > 0;
}

static int restore_pause(Restore *t, WireReader *in) {
        const Session *sender = find_member(t, wire_read_u64(in)), *target = find_member(t, wire_read_u64(in));
        bool broadcast = wire_read_u8(in);

        if (in->failed || !is_full_pair(sender, target))
                return -EBADMSG;
        pause_restore(sender->link, target->link, broadcast);
        return 0;
}

static int restore_share(Restore *t, WireReader *in) {
        const Session *sender = find_member(t, wire_read_u64(in)), *target = find_member(t, wire_read_u64(in));
        ShareFacts facts;

        facts.older = wire_read_u64(in);
        facts.newer = wire_read_u64(in);
        facts.older_end = wire_read_u64(in);
        facts.newer_end = wire_read_u64(in);
        return in->failed || !is_full_pair(sender, target) ? -EBADMSG : share_add(sender->link, target->link, &facts);
}

/* All of it */

static int restore_load(Restore *t, WireReader *in) {
        return handover_restore_load(in, &t->router->load);
}

static int restore_load_sample(Restore *t, WireReader *in) {
        return handover_restore_load_sample(in, &t->router->load, t->router->now);
}

static int restore_routing_time(Restore *t, WireReader *in) {
        return handover_restore_routing_time(in, &t->router->load.routing);
}


typedef int (*RecordHandler)(Restore *t, WireReader *in);

static const RecordHandler handlers[] = {
        [RECORD_ROUTER] = restore_router,
        [RECORD_FORMER] = restore_former,
        [RECORD_SESSION] = restore_session,
        [RECORD_WATCH] = restore_watch,
        [RECORD_WATCH_LEFT] = restore_watch_left,
        [RECORD_LINK] = restore_link,
        [RECORD_WAITING] = restore_waiting,
        [RECORD_TAIL] = restore_tail,
        [RECORD_OUTPUT] = restore_output,
        [RECORD_PAUSE] = restore_pause,
        [RECORD_SHARE] = restore_share,
        [RECORD_LOAD] = restore_load,
        [RECORD_LOAD_SAMPLE] = restore_load_sample,
        [RECORD_ROUTING_TIME] = restore_routing_time,
};

static bool is_complete(const Restore *t) {
        const Sessions *ss = &t->router->sessions;

        for (size_t i = 0; i < ss->n_members; i++)
                if (!ss->members[i]->link && ss->members[i]->state != WIRE_STATE_AWAY)
                        return false;
        return t->begun;
}

static int restore_records(Restore *t, WireReader *in) {
        WireReader fields;
        uint32_t type;
        int e;

        while ((e = records_next(in, &type, &fields)) > 0) {
                RecordHandler handler = type < sizeof(handlers) / sizeof(handlers[0]) ? handlers[type] : NULL;

                if (!handler)
                        continue; /* of a later version, which says that this one does not need to know */
                if (!t->begun && type != RECORD_ROUTER)
                        return -EBADMSG;
                e = handler(t, &fields);
                if (e < 0)
                        return e;
        }
        return e < 0 ? e : is_complete(t) ? 0 : -EBADMSG;
}

/* Nobody is told anything. */
static void tear_down(Restore *t) {
        for (size_t i = 0; i < t->n_links; i++)
                if (t->links[i].ret_link) {
                        link_kill(t->links[i].ret_link);
                        t->links[i].ret_link = link_free(t->links[i].ret_link);
                }
        router_free(t->router);
}

int handover_restore(const uint8_t *data, size_t size, const RouterConfig *config, const RouterOps *ops, void *userdata,
                     uint64_t now, HandoverLink *links, size_t n_links, Router **ret_router) {
        static const uint8_t seed[ROUTER_SEED_SIZE];
        Restore t = { .links = links, .n_links = n_links };
        WireReader in;
        int e;

        for (size_t i = 0; i < n_links; i++)
                links[i].ret_link = NULL;
        e = records_open(data, size, &in);
        if (e < 0)
                return e;
        e = router_new(config, ops, userdata, now, seed, &t.router);
        if (e < 0)
                return e;
        e = restore_records(&t, &in);
        idmap_deinit(&t.waiting);
        if (e < 0) {
                tear_down(&t);
                return e;
        }
        *ret_router = t.router;
        return 0;
}
