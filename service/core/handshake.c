/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* HELLO is checked in the order in which a person would want to hear what is wrong: the protocol, the version, the name, room. A
 * newcomer whose name is taken by a link that is up waits, unannounced, while that link is probed. Resuming needs no memory of
 * the client: the token proves that the id and the name were issued by a service with this key. */

#include <stdio.h>

#include "service/core/handshake.h"
#include "service/core/liveness.h"
#include "service/core/presence.h"
#include "service/core/route.h"
#include "service/core/router.h"

static void refuse(Link *l, WireRefusal code, const char *text) {
        l->router->ops->refused(l->router->userdata, l, code, text);
        link_refuse(l, code, text);
}

static void send_welcome(Link *l) {
        Router *r = l->router;
        Session *s = l->session;
        uint8_t payload[256];
        WireWelcome welcome = {
                .version = WIRE_VERSION,
                .id = s->id,
                .max_payload = WIRE_PAYLOAD_MAX,
                .initial_credit = r->config.initial_credit,
                .ping_interval_ms = (uint32_t) (r->config.ping_interval_usec / 1000),
                .grace_ms = (uint32_t) (r->config.grace_usec / 1000),
                .epoch = r->presence.epoch,
                .name = session_name(s),
        };
        WireHeader header = { .type = WIRE_WELCOME, .target = s->id };

        r->ops->make_token(r->userdata, s->id, welcome.name, l->principal, welcome.resume_token);
        memcpy(welcome.instance, r->instance, sizeof(welcome.instance));
        header.length = (uint32_t) wire_welcome_store(&welcome, payload, sizeof(payload));
        link_post(l, &header, payload);
}

/* The session is a member: everybody is told, the newcomer last, so that its WELCOME has the epoch that includes it. */
static void welcome(Link *l, bool resumed) {
        l->state = LINK_UP;
        l->unconfirmed = resumed;
        link_set_dirty(l);
        liveness_begin(l);
        send_welcome(l);
        route_send_marks(l, !resumed);
}

static void admit(Link *l, Session *s) {
        Router *r = l->router;

        if (sessions_add(&r->sessions, s) < 0) {
                router_session_free(r, s);
                l->session = NULL;
                l->state = LINK_OPENING;
                refuse(l, WIRE_REFUSED_FULL, "the service is out of memory");
                return;
        }
        l->session = s;
        s->link = l;
        s->state = WIRE_STATE_ALIVE;
        presence_tell(r, s, WIRE_EVENT_JOINED, WIRE_REASON_NONE);
        r->ops->joined(r->userdata, s);
        welcome(l, false);
}

/* A name of the service's own choice: the id makes it unique, unless somebody has chosen just that. */
static void give_name(Router *r, Session *s) {
        char name[WIRE_NAME_MAX + 1];

        for (unsigned attempt = 0;; attempt++) {
                int n = attempt == 0 ? snprintf(name, sizeof(name), "client-%llu", (unsigned long long) s->id) :
                                       snprintf(name, sizeof(name), "client-%llu-%u", (unsigned long long) s->id, attempt);

                if (!sessions_find_name(&r->sessions, (WireText) { .data = name, .size = (size_t) n })) {
                        session_set_name(s, (WireText) { .data = name, .size = (size_t) n });
                        return;
                }
        }
}

static bool is_full(const Router *r) {
        return r->sessions.n_members >= r->config.max_clients;
}

static const char full_text[] = "the service has as many clients as it is allowed (MaxClients=)";

static void hello_fresh(Link *l, const WireHello *hello) {
        Router *r = l->router;
        Session *holder = sessions_find_name(&r->sessions, hello->name);
        Session *s;
        uint64_t id;

        if (is_full(r) && !holder) {
                refuse(l, WIRE_REFUSED_FULL, full_text);
                return;
        }
        id = router_issue_id(r);
        s = id > 0 ? router_session_new(r, id, hello->program) : NULL;
        if (!s) {
                refuse(l, WIRE_REFUSED_FULL, "the service is out of ids or memory");
                return;
        }
        if (hello->name.size == 0)
                give_name(r, s);
        else
                session_set_name(s, hello->name);
        if (!holder || !holder->link) {
                if (holder)
                        router_end_session(r, holder, WIRE_REASON_REPLACED, "");
                admit(l, s);
                return;
        }
        l->session = s;
        l->state = LINK_WAITING;
        TAILQ_INSERT_TAIL(&r->waiting, l, waiting_entry);
        timers_arm(&r->timers, &l->timer, r->now + HANDSHAKE_PROBE_USEC);
        holder->link->probed = true;
        liveness_ping(holder->link);
}

/* In constant time, so that nobody can find a token byte by byte */
static bool token_is_right(Link *l, const WireHello *hello) {
        uint8_t right[WIRE_TOKEN_SIZE];
        unsigned difference = 0;

        l->router->ops->make_token(l->router->userdata, hello->resume_id, hello->name, l->principal, right);
        for (size_t i = 0; i < sizeof(right); i++)
                difference |= (unsigned) (right[i] ^ hello->resume_token[i]);
        return difference == 0;
}

/* The newest link wins. */
static void resume_member(Link *l, Session *s) {
        Router *r = l->router;
        Link *old = s->link;

        if (old)
                link_goodbye(old, WIRE_REASON_REPLACED, 0, "the session was resumed on another connection");
        else
                r->sessions.n_away--;
        timers_disarm(&r->timers, &s->grace);
        l->session = s;
        s->link = l;
        welcome(l, true); /* first, for one that watches itself */
        router_set_state(r, s, WIRE_STATE_ALIVE, WIRE_EVENT_BACK, WIRE_REASON_NONE);
        if (s->missed_presence)
                presence_catch_up(r, s);
}

/* The session of a client of the time before the restart: a ghost, if somebody watches it already. NULL: out of memory. */
static Session *make_former(Router *r, Session *ghost, const WireHello *hello) {
        Session *s;

        if (ghost) {
                session_set_name(ghost, hello->name);
                if (session_set_program(ghost, hello->program) < 0 || sessions_add_ghost(&r->sessions, ghost) < 0)
                        return NULL;
                timers_disarm(&r->timers, &ghost->grace);
                return ghost;
        }
        s = router_session_new(r, hello->resume_id, hello->program);
        if (!s)
                return NULL;
        session_set_name(s, hello->name);
        return sessions_add(&r->sessions, s) < 0 ? router_session_free(r, s) : s;
}

static void resume_former(Link *l, Session *ghost, const WireHello *hello) {
        Router *r = l->router;
        Session *s = make_former(r, ghost, hello);

        if (!s) {
                refuse(l, WIRE_REFUSED_FULL, "the service is out of memory");
                return;
        }
        l->session = s;
        s->link = l;
        s->state = WIRE_STATE_ALIVE;
        presence_tell_resumed_ghost(r, s);
        r->ops->joined(r->userdata, s);
        welcome(l, true);
}

static void hello_resume(Link *l, const WireHello *hello) {
        Router *r = l->router;
        Session *s = sessions_find(&r->sessions, hello->resume_id);

        if (!wire_name_is_valid(hello->name.data, hello->name.size) || !token_is_right(l, hello))
                refuse(l, WIRE_REFUSED_RESUME, "the token is not that of this id, name and principal");
        else if (s && !s->ghost)
                resume_member(l, s);
        else if (!router_may_come_back(r, hello->resume_id))
                refuse(l, WIRE_REFUSED_RESUME, "the session has ended");
        else if (sessions_find_name(&r->sessions, hello->name))
                refuse(l, WIRE_REFUSED_RESUME, "the name has been taken since");
        else if (is_full(r))
                refuse(l, WIRE_REFUSED_FULL, full_text);
        else
                resume_former(l, s, hello);
}

void handshake_begin(Link *l, const WireHeader *header, const uint8_t *payload) {
        Router *r = l->router;
        WireHello hello;

        if (header->flags != 0 || wire_hello_parse(payload, header->length, &hello) < 0)
                link_protocol_error(l, "a HELLO that is cut short or malformed");
        else if (hello.magic != WIRE_MAGIC)
                link_protocol_error(l, "a HELLO without the magic number of direct/1");
        else if (hello.version_min > WIRE_VERSION || hello.version_max < WIRE_VERSION)
                refuse(l, WIRE_REFUSED_VERSION, "this service speaks version 1 only");
        else if (hello.name.size > 0 && !wire_name_is_valid(hello.name.data, hello.name.size))
                refuse(l, WIRE_REFUSED_NAME_INVALID, "a name has 1 to 63 of A-Z a-z 0-9 . _ -");
        else if (r->stopping)
                refuse(l, WIRE_REFUSED_FULL, "the service is stopping");
        else if (hello.resume_id != 0)
                hello_resume(l, &hello);
        else
                hello_fresh(l, &hello);
}

void handshake_time_out(Link *l) {
        l->router->ops->refused(l->router->userdata, l, WIRE_REFUSED_PROTOCOL, "no HELLO within 5 seconds");
        link_kill(l);
}

/* Back from waiting: `s` is the session that it has waited with. */
static Session *stop_waiting(Link *l) {
        Session *s = l->session;

        TAILQ_REMOVE(&l->router->waiting, l, waiting_entry);
        l->session = NULL;
        l->state = LINK_OPENING;
        return s;
}

void handshake_give_up(Link *l) {
        router_session_free(l->router, stop_waiting(l));
        refuse(l, WIRE_REFUSED_NAME_TAKEN, "another client has this name, and its link is up");
}

static Link *find_waiting(Router *r, WireText name) {
        Link *l;

        TAILQ_FOREACH(l, &r->waiting, waiting_entry)
                if (l->session->n_name == name.size && memcmp(l->session->name, name.data, name.size) == 0)
                        return l;
        return NULL;
}

/* What the newcomer had sent behind its HELLO */
static void feed_held_back(Link *l) {
        size_t n = l->framer.n_tail;
        uint8_t *data;

        if (l->state != LINK_UP || n == 0)
                return;
        data = turn_scratch(&l->router->turn, n);
        if (!data) {
                link_end(l, LINK_RESET);
                return;
        }
        framer_take(&l->framer, data);
        link_input(l, data, n);
}

void handshake_name_free(Router *r, WireText name) {
        Link *l;

        /* What one of them had sent may have ended it already. The loop that has admitted it goes on with the next; a call for
         * each would let those who wait choose the depth of the stack. */
        if (r->admitting)
                return;
        r->admitting = true;
        while ((l = find_waiting(r, name)))
                if (sessions_find_name(&r->sessions, name))
                        handshake_give_up(l);
                else {
                        admit(l, stop_waiting(l));
                        feed_held_back(l);
                }
        r->admitting = false;
}

void handshake_name_held(Router *r, WireText name) {
        Link *l;

        while ((l = find_waiting(r, name)))
                handshake_give_up(l);
}

bool handshake_is_waited_for(Router *r, WireText name) {
        return find_waiting(r, name) != NULL;
}
