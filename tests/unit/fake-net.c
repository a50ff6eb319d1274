/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Does with a router what service/net does, in the same order, so that what holds here holds there. Each batch is read into a
 * block of just its size that is freed when the turn ends: with a sanitizer, a borrowed byte that is used too late is seen. Owns
 * the router and the links. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake-handover.h"

/* Done after each turn, more only takes time. */
enum { HAND_OVER_BYTES = 256 * 1024, HAND_OVER_LINKS = 200 };

bool fake_in_core;

#define IN_CORE(statement)              \
        do {                            \
                fake_in_core = true;    \
                statement;              \
                fake_in_core = false;   \
        } while (0)

void fake_fail(const char *file, int line, const char *what) {
        fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
        abort();
}

static void *must(void *p) {
        fake_require(p);
        return p;
}

/* RouterOps */

static void event(FakeNet *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void event(FakeNet *n, const char *format, ...) {
        size_t room = sizeof(n->events) - n->n_events;
        va_list ap;
        int k;

        if (room < 512)
                return; /* a fuzzer does not read them */
        if (n->n_events > 0)
                n->n_events += (size_t) sprintf(n->events + n->n_events, "; ");
        va_start(ap, format);
        k = vsnprintf(n->events + n->n_events, 400, format, ap);
        va_end(ap);
        n->n_events += k < 400 ? (size_t) k : 399;
}

static void on_joined(void *userdata, Session *s) {
        FakeNet *n = userdata;

        fake_require(sessions_find(&n->router->sessions, s->id) == s);
        fake_require(s->link && s->state == WIRE_STATE_ALIVE && !s->ghost);
        event(n, "joined %s", s->name);
}

static void on_left(void *userdata, Session *s, WireReason reason, const char *text) {
        fake_require(!s->ghost && s->state == WIRE_STATE_GONE);
        event(userdata, "left %s %s", s->name, wire_reason_name(reason));
}

static void on_ended(void *userdata, IdRange ids) {
        FakeNet *n = userdata;
        bool in_core = fake_in_core;

        fake_require(ids.first > 0 && ids.first < ids.end);
        fake_in_core = false;
        idranges_remove(&n->resumable, ids);
        fake_in_core = in_core;
}

static void on_settle(void *userdata) {
}

static void on_state_changed(void *userdata, Session *s) {
        event(userdata, "state %s %s", s->name, wire_state_name(s->state));
}

static void on_refused(void *userdata, Link *l, WireRefusal code, const char *text) {
        event(userdata, "refused %s", wire_refusal_name(code));
}

static void on_protocol_error(void *userdata, Link *l, Session *s, const char *text) {
        event(userdata, "error %s: %s", s ? s->name : "-", text);
}

static void on_ids_low(void *userdata) {
        FakeNet *n = userdata;

        if (!n->ids_low)
                event(n, "ids low");
        n->ids_low = true;
}

/* Not a secret, only different for whatever is different */
void fake_token(uint64_t id, WireText name, const char *principal, uint8_t ret[static WIRE_TOKEN_SIZE]) {
        uint64_t h = id * UINT64_C(0x9e3779b97f4a7c15);

        for (size_t i = 0; i < name.size; i++)
                h = (h ^ (uint8_t) name.data[i]) * UINT64_C(0x100000001b3);
        for (size_t i = 0; principal[i]; i++)
                h = (h ^ (uint8_t) principal[i]) * UINT64_C(0x100000001b3) + 1;
        for (size_t i = 0; i < WIRE_TOKEN_SIZE; i += 8)
                wire_store_u64(ret + i, h + i);
}

static void make_token(void *userdata, uint64_t id, WireText name, const char *principal, uint8_t ret[static WIRE_TOKEN_SIZE]) {
        fake_token(id, name, principal, ret);
}

static void get_kernel_figures(void *userdata, Link *link, uint32_t *ret_silence_ms, uint32_t *ret_rtt_usec) {
        const FakeLink *l = link->userdata;

        *ret_silence_ms = l->kernel_silence_ms;
        *ret_rtt_usec = l->kernel_rtt_usec;
}

static bool is_pending(void *userdata, Link *link) {
        return ((const FakeLink *) link->userdata)->is_pending;
}

static void on_stalled(void *userdata, Link *l, bool on) {
        event(userdata, "stalled %s", on ? "on" : "off");
}

static bool is_dead(void *userdata, Link *link) {
        return ((const FakeLink *) link->userdata)->is_dead;
}

static void complete_load(void *userdata, LoadFigures *figures) {
        figures->memory_bytes = 1;
        figures->cpu_usec = 2;
}

static const RouterOps ops = {
        .joined = on_joined,
        .left = on_left,
        .ended = on_ended,
        .settle = on_settle,
        .state_changed = on_state_changed,
        .refused = on_refused,
        .protocol_error = on_protocol_error,
        .ids_low = on_ids_low,
        .make_token = make_token,
        .get_kernel_figures = get_kernel_figures,
        .is_pending = is_pending,
        .stalled = on_stalled,
        .is_dead = is_dead,
        .complete_load = complete_load,
};

const char *fake_events(FakeNet *n) {
        static char told[FAKE_EVENTS_MAX];

        memcpy(told, n->events, n->n_events);
        told[n->n_events] = '\0';
        n->n_events = 0;
        return told;
}

/* The net */

RouterConfig fake_config(void) {
        return (RouterConfig) {
                .max_clients = 100,
                .ping_interval_usec = 10 * FAKE_SEC,
                .grace_usec = 30 * FAKE_SEC,
                .broadcast_wait_usec = 5 * FAKE_SEC,
                .outbox_high = FAKE_HIGH,
                .outbox_low = FAKE_LOW,
                .urgent_high = FAKE_HIGH,
                .initial_credit = 65536,
        };
}

static void must_add(IdRanges *rs, IdRange range) {
        fake_require(idranges_add(rs, range) >= 0);
}

FakeNet *fake_net_new(const RouterConfig *config) {
        static const uint8_t seed[ROUTER_SEED_SIZE] = "0123456789abcde";
        FakeNet *n;
        int r;

        n = must(calloc(1, sizeof(*n)));
        n->config = config ? *config : fake_config();
        n->now = 1000 * (uint64_t) FAKE_SEC;
        n->last = &n->links;
        n->hands_over = getenv("FAKE_HANDOVER") != NULL;
        IN_CORE(r = router_new(&n->config, &ops, n, n->now, seed, &n->router));
        if (r < 0) {
                free(n);
                return NULL;
        }
        must_add(&n->router->former, (IdRange) { 1, FAKE_FIRST_ID });
        must_add(&n->resumable, (IdRange) { 1, FAKE_FIRST_ID + FAKE_IDS });
        router_add_ids(n->router, FAKE_FIRST_ID, FAKE_IDS);
        return n;
}

static void end_turn(FakeNet *n) {
        router_end_turn(n->router, 1000);
        while (n->n_borrowed > 0)
                free(n->borrowed[--n->n_borrowed]);
}

static void close_link(FakeNet *n, FakeLink *l) {
        l->link = link_free(l->link);
        n->n_progress++;
}

FakeNet *fake_net_free(FakeNet *n) {
        FakeLink *l;

        if (!n)
                return NULL;
        for (l = n->links; l; l = l->next)
                if (l->link)
                        close_link(n, l);
        end_turn(n);
        fake_net_check(n);
        router_free(n->router);
        while ((l = n->links)) {
                n->links = l->next;
                free(l->in);
                free(l->out);
                free(l);
        }
        idranges_deinit(&n->resumable);
        free(n->borrowed);
        free(n);
        return NULL;
}

FakeLink *fake_open(FakeNet *n) {
        FakeLink *l;

        l = must(calloc(1, sizeof(*l)));
        l->net = n;
        l->room = FAKE_UNLIMITED;
        router_set_now(n->router, n->now);
        IN_CORE((void) link_new(n->router, l, "nowhere", l->principal, &l->link));
        *n->last = l;
        n->last = &l->next;
        return l;
}

/* Input, as dispatch() and socket_read() have it */

static void read_link(FakeNet *n, FakeLink *l) {
        size_t n_tail = l->link->framer.n_tail, size = link_get_read_size(l->link);
        uint8_t *data;

        if (size > l->n_in)
                size = l->n_in;
        data = must(malloc(n_tail + size));
        n->borrowed = must(realloc(n->borrowed, (n->n_borrowed + 1) * sizeof(*n->borrowed)));
        n->borrowed[n->n_borrowed++] = data;
        memcpy(data + n_tail, l->in, size);
        l->n_in -= size;
        memmove(l->in, l->in + size, l->n_in);
        fake_require(framer_take(&l->link->framer, data) == n_tail);
        n->n_progress++;
        IN_CORE(link_input(l->link, data, n_tail + size));
}

static void dispatch(FakeNet *n, FakeLink *l) {
        if (link_wants_input(l->link)) {
                l->hung = false;
                if (l->n_in > 0)
                        read_link(n, l);
                else if (l->closed)
                        IN_CORE(link_end(l->link, l->how));
        } else if (l->closed && !l->hung) {
                l->hung = true;
                IN_CORE(link_hang_up(l->link));
                link_set_dirty(l->link);
                n->n_progress++;
        }
}

/* Output, as socket_flush() has it */

static void write_link(FakeNet *n, FakeLink *l) {
        fake_require(!n->router->is_unsettled); /* nobody hears of an end that could be forgotten */
        while (!l->write_blocked) {
                struct iovec iov[8];
                size_t n_iov = link_get_output(l->link, &n->router->turn, iov, 8), size = 0, taken = 0;

                for (size_t i = 0; i < n_iov; i++)
                        size += iov[i].iov_len;
                if (size == 0)
                        return;
                if (l->n_out + size > l->n_out_allocated) {
                        l->n_out_allocated = (l->n_out + size) * 2;
                        l->out = must(realloc(l->out, l->n_out_allocated));
                }
                for (size_t i = 0; i < n_iov && l->room > taken; i++) {
                        size_t part = iov[i].iov_len < l->room - taken ? iov[i].iov_len : l->room - taken;

                        memcpy(l->out + l->n_out, iov[i].iov_base, part);
                        l->n_out += part;
                        taken += part;
                }
                if (l->room != FAKE_UNLIMITED)
                        l->room -= taken;
                l->write_blocked = taken < size;
                n->n_progress += taken > 0;
                IN_CORE(link_sent(l->link, taken));
        }
}

static void flush_link(FakeNet *n, FakeLink *l) {
        if (l->link->state != LINK_DEAD) {
                write_link(n, l);
                IN_CORE(link_keep(l->link));
        }
        if (l->link->state == LINK_DEAD)
                close_link(n, l);
        else if (link_is_finished(l->link))
                l->shut = true;
}

bool fake_net_turn(FakeNet *n) {
        uint64_t before = n->n_progress;
        Link *dirty;

        router_set_now(n->router, n->now);
        for (FakeLink *l = n->links; l; l = l->next)
                if (l->link)
                        dispatch(n, l);
        IN_CORE(router_tick(n->router));
        while ((dirty = router_pop_dirty(n->router)))
                flush_link(n, dirty->userdata);
        end_turn(n);
        if (n->ids_low && n->refill > 0) {
                must_add(&n->resumable, (IdRange) { n->router->end_id, n->router->end_id + n->refill });
                router_add_ids(n->router, n->router->end_id, n->refill);
                n->ids_low = false;
        }
        fake_net_check(n);
        if (n->hands_over && !n->router->stopping && n->router->queued_bytes < HAND_OVER_BYTES &&
            n->router->n_links < HAND_OVER_LINKS)
                fake_net_hand_over(n);
        return n->n_progress != before;
}

void fake_net_run(FakeNet *n) {
        unsigned n_idle = 0;

        /* A timer may be armed for this very moment. One that is again and again would never end. */
        do
                n_idle = fake_net_turn(n) ? 0 : n_idle + 1;
        while (n_idle == 0 || (n_idle < 10 && router_get_deadline(n->router) <= n->now));
}

void fake_net_advance(FakeNet *n, uint64_t usec) {
        uint64_t end = n->now + usec;

        fake_net_run(n);
        while (router_get_deadline(n->router) <= end) {
                uint64_t deadline = router_get_deadline(n->router);

                fake_require(deadline >= n->now); /* else it is due again and again */
                n->now = deadline;
                fake_net_run(n);
                fake_require(router_get_deadline(n->router) > n->now);
        }
        n->now = end;
        fake_net_run(n);
}

/* What must always be true */

static void check_session(const Router *r, const Session *s) {
        const Session *found = sessions_find(&r->sessions, s->id);

        fake_require(found == s);
        fake_require(s->state != WIRE_STATE_GONE && s->state != WIRE_STATE_UNKNOWN);
        if (s->ghost) {
                fake_require(!s->link && s->state == WIRE_STATE_AWAY);
                return;
        }
        fake_require(sessions_find_name(&r->sessions, session_name(s)) == s);
        fake_require(!s->link || (s->link->session == s && s->link->state == LINK_UP));
        fake_require((s->state == WIRE_STATE_AWAY) == !s->link || (r->stopping && !s->link));
        fake_require((s->grace.slot != 0) == (s->state == WIRE_STATE_AWAY));
}

static void check_sessions(const Router *r) {
        const Sessions *ss = &r->sessions;
        size_t n_away = 0, n_ghosts = 0;
        uint64_t n_broadcasters = 0;

        for (size_t i = 0; i < ss->n_members; i++) {
                const Session *s = ss->members[i];

                fake_require(!s->ghost && (i == 0 || ss->members[i - 1]->id < s->id));
                n_away += s->state == WIRE_STATE_AWAY;
                n_broadcasters += s->last_broadcast > 0;
        }
        for (size_t i = 0; ss->by_id.mask != 0 && i <= ss->by_id.mask; i++)
                if (ss->by_id.entries[i].id != 0) {
                        const Session *s = ss->by_id.entries[i].value;

                        check_session(r, s);
                        n_ghosts += s->ghost;
                }
        fake_require(ss->n_away == n_away);
        fake_require(r->n_broadcasters == n_broadcasters);
        fake_require(ss->by_id.n == ss->n_members + n_ghosts);
}

void fake_net_check(FakeNet *n) {
        const Router *r = n->router;
        size_t n_kept = 0, n_paused = 0, n_links = 0, n_waiting = 0;

        for (const FakeLink *f = n->links; f; f = f->next) {
                const Link *l = f->link;

                if (!l)
                        continue;
                fake_require(l->state != LINK_DEAD && !l->dirty && l->outbox.n_borrowed == 0 && !l->failed);
                fake_require(l->n_charged == l->outbox.n_kept);
                fake_require(l->state == LINK_UP || (LIST_EMPTY(&l->pauses) && LIST_EMPTY(&l->pausing)));
                fake_require(l->state == LINK_UP || (LIST_EMPTY(&l->shares) && LIST_EMPTY(&l->sharing)));
                fake_require((l->state == LINK_UP || l->state == LINK_WAITING) == (l->session != NULL));
                fake_require(l->state != LINK_UP || l->session->link == l);
                fake_require(l->state != LINK_OPENING || l->framer.n_tail <= WIRE_HELLO_FRAME_MAX);
                fake_require((l->outbox.n_kept == 0 || l->blocked) && l->timer.slot != 0);
                n_links++;
                n_kept += l->outbox.n_kept;
                n_paused += !LIST_EMPTY(&l->pauses);
                n_waiting += l->state == LINK_WAITING;
        }
        fake_require(r->n_links == n_links);
        fake_require(r->queued_bytes == n_kept);
        fake_require(r->n_paused == n_paused);
        fake_require(r->timers.n_reserved == 1 + 2 * n_links + r->sessions.by_id.n + n_waiting);
        fake_require(r->timers.n <= r->timers.n_reserved);
        fake_require(r->turn.n_segments == 0 && r->turn.n_scratch == 0 && r->turn_messages == 0);
        check_sessions(r);
}
