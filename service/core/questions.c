/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One function a question, in one table. Each answers at once from what the core knows; a question that is malformed or unknown
 * gets a failed ANSWER, and the client lives on. */

#include <errno.h>

#include "service/core/pause.h"
#include "service/core/presence.h"
#include "service/core/questions.h"
#include "service/core/router.h"

/* Reads the question from `in`, writes the answer to `out`. 0 or a negative errno, which becomes a failed ANSWER. */
typedef int (*Question)(Link *l, WireReader *in, WireWriter *out);

static uint32_t clamp_u32(uint64_t value) {
        return value < UINT32_MAX ? (uint32_t) value : UINT32_MAX;
}

/* The state of an id that nobody has at present */
static WireState former_state(const Router *r, uint64_t id) {
        if (router_may_come_back(r, id))
                return WIRE_STATE_AWAY;
        return id > 0 && id < r->next_id ? WIRE_STATE_GONE : WIRE_STATE_UNKNOWN;
}

static int ask_alive(Link *l, WireReader *in, WireWriter *out) {
        Router *r = l->router;
        uint64_t id = wire_read_u64(in);
        WireText name = id == 0 ? wire_read_text8(in) : (WireText) { .data = "" };
        WireAlive alive = { .id = id };
        uint8_t buffer[8 + 1 + 3 + 12 + 1 + WIRE_TEXT8_MAX];
        const Session *s;

        if (in->failed)
                return -EINVAL;
        s = id != 0 ? sessions_find(&r->sessions, id) : sessions_find_name(&r->sessions, name);
        alive.name = name;
        alive.state = s ? s->state : id != 0 ? former_state(r, id) : WIRE_STATE_UNKNOWN;
        if (s) {
                alive.id = s->id;
                alive.name = session_name(s);
        }
        if (s && s->link) {
                alive.silence_ms = clamp_u32((r->now - s->link->heard_usec) / 1000);
                r->ops->get_kernel_figures(r->userdata, s->link, &alive.kernel_silence_ms, &alive.rtt_us);
                if (alive.rtt_us == 0)
                        alive.rtt_us = s->link->rtt_usec;
        }
        wire_write_bytes(out, buffer, (size_t) wire_alive_store(&alive, buffer, sizeof(buffer)));
        return 0;
}

static int ask_resolve(Link *l, WireReader *in, WireWriter *out) {
        WireText name = wire_read_text8(in);
        const Session *s;

        if (in->failed)
                return -EINVAL;
        s = sessions_find_name(&l->router->sessions, name);
        wire_write_u64(out, s ? s->id : 0);
        wire_write_u8(out, s ? s->state : WIRE_STATE_UNKNOWN);
        return 0;
}

static int ask_list(Link *l, WireReader *in, WireWriter *out) {
        const Sessions *ss = &l->router->sessions;
        uint64_t after = wire_read_u64(in);
        uint8_t *count;

        if (in->failed)
                return -EINVAL;
        wire_write_u64(out, l->router->presence.epoch);
        count = out->p;
        wire_write_u32(out, 0);
        for (size_t i = sessions_after(ss, after); i < ss->n_members; i++) {
                const Session *s = ss->members[i];

                if ((size_t) (out->end - out->p) < 8U + 1 + 1 + s->n_name)
                        break;
                wire_write_u64(out, s->id);
                wire_write_u8(out, s->state);
                wire_write_text8(out, s->name, s->n_name);
                wire_store_u32(count, wire_load_u32(count) + 1);
        }
        return 0;
}

/* Somebody watches a client of the time before the restart: it counts as away until it is back, or until it can no longer
 * come. */
static int watch_former(Router *r, Session *watcher, uint64_t id) {
        Session *ghost;
        int e;

        if (watcher->n_watches >= PRESENCE_WATCHES_MAX)
                return -ENOSPC;
        ghost = router_session_new(r, id, (WireText) { .data = "" });
        if (!ghost)
                return -ENOMEM;
        ghost->ghost = true;
        ghost->state = WIRE_STATE_AWAY;
        e = sessions_add(&r->sessions, ghost);
        if (e < 0) {
                router_session_free(r, ghost);
                return e;
        }
        timers_arm(&r->timers, &ghost->grace, r->former_until_usec);
        return presence_watch(watcher, ghost);
}

static int ask_watch(Link *l, WireReader *in, WireWriter *out) {
        Router *r = l->router;
        uint64_t id = wire_read_u64(in);
        uint8_t on = wire_read_u8(in);
        Session *s = sessions_find(&r->sessions, id);
        WireState state;
        int e = 0;

        if (in->failed || on > 1)
                return -EINVAL;
        state = s ? s->state : id != 0 ? former_state(r, id) : WIRE_STATE_UNKNOWN;
        if (id == 0)
                presence_watch_everyone(r, l->session, on);
        else if (!on)
                presence_unwatch(l->session, id);
        else if (s)
                e = presence_watch(l->session, s);
        else if (state == WIRE_STATE_AWAY)
                e = watch_former(r, l->session, id);
        if (e < 0)
                return e;
        wire_write_u64(out, r->presence.epoch);
        wire_write_u8(out, (uint8_t) state);
        return 0;
}

static int ask_load(Link *l, WireReader *in, WireWriter *out) {
        LoadFigures figures;
        uint64_t fields[LOAD_N_FIELDS];

        router_get_load(l->router, &figures);
        memcpy(fields, &figures, sizeof(fields));
        for (size_t i = 0; i < LOAD_N_FIELDS; i++)
                wire_write_u64(out, fields[i]);
        return 0;
}

static const Question questions[] = {
        [WIRE_ASK_ALIVE] = ask_alive,
        [WIRE_ASK_RESOLVE] = ask_resolve,
        [WIRE_ASK_LIST] = ask_list,
        [WIRE_ASK_WATCH] = ask_watch,
        [WIRE_ASK_LOAD] = ask_load,
};

static const char *failure_text(int error) {
        switch (error) {
        case -EINVAL:
                return "the question is cut short or malformed";
        case -EOPNOTSUPP:
                return "this service does not know the question";
        case -ENOSPC:
                return "too many watches; watch everyone instead";
        default:
                return "the service is out of memory";
        }
}

void questions_answer(Link *l, const WireHeader *header, const uint8_t *payload) {
        Question question = header->kind < sizeof(questions) / sizeof(questions[0]) ? questions[header->kind] : NULL;
        WireHeader answer = { .type = WIRE_ANSWER, .kind = header->kind, .tag = header->tag };
        WireReader in = wire_reader(payload, header->length);
        uint8_t buffer[WIRE_PAYLOAD_MAX];
        WireWriter out = wire_writer(buffer, sizeof(buffer));
        int e;

        e = question ? question(l, &in, &out) : -EOPNOTSUPP;
        answer.length = (uint32_t) wire_writer_size(&out);
        if (e < 0) {
                const char *text = failure_text(e);
                WireFailure failure = { .error = (uint16_t) -e, .text = { .data = text, .size = strlen(text) } };

                answer.flags = WIRE_ANSWER_FAILED;
                answer.length = (uint32_t) wire_failure_store(&failure, buffer, sizeof(buffer));
        }
        /* The answer to WATCH is in order with the events that follow from it; the others may pass what is queued. */
        if (header->kind == WIRE_ASK_WATCH)
                link_post(l, &answer, buffer);
        else
                link_post_urgent(l, &answer, buffer);
        pause_self(l);
}
