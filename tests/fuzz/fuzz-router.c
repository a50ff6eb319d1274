/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A script for the core: each step is a byte that says what happens, and a few that say to whom and how. Peers open, speak well
 * or badly, read little or nothing, end in every way; time passes; the control plane kicks, changes limits, stops. After each
 * turn fake_net_check() compares everything that must always be true, and at the end all that the peers have heard must be whole
 * frames, in the order of their sender. */

#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/fake-net.h"

enum {
        N_LINKS = 10,
        N_STEPS_MAX = 400,
        MARKED = 0x7777, /* kind of a frame whose order is checked */
};

typedef struct Script {
        const uint8_t *p, *end;
        FakeNet *net;
        FakeLink *links[N_LINKS]; /* the place of one that is closed is taken by the next */
        uint64_t sequence;
        size_t n_targeted; /* marked frames that were sent to one client, or to none */
        bool unmarked;     /* there may also be frames that are not counted */
} Script;

static uint8_t take_u8(Script *s) {
        return s->p < s->end ? *s->p++ : 0;
}

static FakeLink *take_link(Script *s) {
        return s->links[take_u8(s) % N_LINKS];
}

/* The ids of clients, of none, and the special ones */
static uint64_t take_id(Script *s) {
        uint8_t which = take_u8(s);
        const FakeLink *l = s->links[which % N_LINKS];

        switch (which / 32) {
        case 0:
        case 1:
        case 2:
                return l ? l->id : 0;
        case 3:
                return WIRE_TARGET_BROADCAST;
        case 4:
                return WIRE_TARGET_GROUP + which;
        case 5:
                return which % 8; /* of the time before, and 0 */
        case 6:
                return FAKE_FIRST_ID - 1 + which % 8;
        default:
                return FAKE_FIRST_ID + 100000;
        }
}

static const char *take_name(Script *s) {
        static const char *const names[] = {
                "a", "b", "c", "d", "", "client-1003", "not a name",
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", /* the longest, and one byte more */
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        };

        return names[take_u8(s) % (sizeof(names) / sizeof(names[0]))];
}

static void step_open(Script *s) {
        FakeLink **place = &s->links[take_u8(s) % N_LINKS];

        if (!*place || !(*place)->link)
                *place = fake_open(s->net);
}

static void step_hello(Script *s) {
        FakeLink *l = take_link(s);
        const char *name = take_name(s);

        if (l)
                fake_hello(l, name);
}

/* A session of the time before, or one that there is or was, with its own name and token or not quite. */
static void step_resume(Script *s) {
        FakeLink *l = take_link(s);
        const char *name = take_name(s);
        uint8_t wrong = take_u8(s);
        uint64_t id = take_id(s);
        const Session *session = sessions_find(&s->net->router->sessions, id);
        WireHello hello = fake_hello_init(session && !session->ghost && wrong < 128 ? session->name : name);

        hello.resume_id = id;
        fake_token(hello.resume_id, hello.name, "", hello.resume_token);
        if (wrong > 200)
                hello.resume_token[wrong % WIRE_TOKEN_SIZE] ^= 1;
        if (l)
                fake_hello_full(l, &hello);
}

static void step_frame(Script *s) {
        static const uint8_t types[] = {
                WIRE_DATA, WIRE_DATA, WIRE_DATA, WIRE_ACK, WIRE_ACK, WIRE_MARK, WIRE_RESEND, WIRE_LOST, WIRE_PING, WIRE_PONG,
                WIRE_GOODBYE,
        };
        static uint8_t payload[WIRE_PAYLOAD_MAX];
        FakeLink *l = take_link(s);
        WireHeader header = { .target = take_id(s) };
        uint8_t n = take_u8(s);

        header.type = types[n % sizeof(types)];
        header.flags = header.type == WIRE_DATA ? WIRE_FIRST | WIRE_LAST : 0;
        header.length = (uint32_t) take_u8(s);
        if (header.type == WIRE_DATA) {
                header.length *= 257 / (1U + take_u8(s) % 4 * 80);
                header.kind = MARKED;
                header.sequence = ++s->sequence;
        } else if (header.type == WIRE_MARK)
                header.sequence = s->sequence;
        if (!l || (header.type == WIRE_DATA && l->n_in >= 1024 * 1024))
                return;
        fake_send(l, header, payload);
        s->n_targeted += header.type == WIRE_DATA && header.target != WIRE_TARGET_BROADCAST;
        s->unmarked = s->unmarked || header.type == WIRE_ACK; /* which is bounced as well */
}

/* Whatever the script says, with the length that fits, so that the frames behind it are met. */
static void step_mutated_frame(Script *s) {
        FakeLink *l = take_link(s);
        WireHeader header = {};
        uint8_t payload[128];

        header.length = take_u8(s) % sizeof(payload);
        header.type = take_u8(s);
        header.flags = take_u8(s);
        header.target = take_id(s);
        header.kind = take_u8(s);
        header.sequence = take_u8(s);
        header.tag = take_u8(s);
        for (size_t i = 0; i < header.length; i++)
                payload[i] = take_u8(s);
        s->unmarked = true;
        if (l)
                fake_send(l, header, payload);
}

static void step_bytes(Script *s) {
        FakeLink *l = take_link(s);
        size_t n = take_u8(s);

        if (n > (size_t) (s->end - s->p))
                n = (size_t) (s->end - s->p);
        s->unmarked = true;
        if (l)
                fake_send_bytes(l, s->p, n);
        s->p += n;
}

static void step_watch(Script *s) {
        FakeLink *l = take_link(s);
        uint64_t id = take_id(s);
        bool on = take_u8(s) % 4 > 0;

        if (l)
                fake_watch(l, id, on);
}

static void step_ask(Script *s) {
        FakeLink *l = take_link(s);
        uint8_t kind = take_u8(s) % 8;
        uint64_t id = take_id(s);

        if (l)
                fake_ask_u64(l, (WireQuestion) kind, id, kind);
}

static void step_pong(Script *s) {
        FakeLink *l = take_link(s);

        if (l && l->link)
                fake_pong(l, l->link->ping_tag);
}

static void step_take(Script *s) {
        FakeLink *l = take_link(s);
        uint8_t n = take_u8(s);

        if (!l)
                return;
        if (n < 64)
                fake_stop_taking(l);
        else if (n >= 192)
                fake_take(l, FAKE_UNLIMITED);
        else
                fake_take(l, (size_t) (n - 63) * (n - 63));
}

static void step_time(Script *s) {
        static const uint32_t msec[] = { 0, 1, 100, 500, 1000, 2000, 5000, 10000, 30000, 70000 };

        fake_net_advance(s->net, (uint64_t) msec[take_u8(s) % (sizeof(msec) / sizeof(msec[0]))] * 1000);
}

static void step_turn(Script *s) {
        fake_net_turn(s->net);
}

static void step_close(Script *s) {
        FakeLink *l = take_link(s);
        uint8_t how = take_u8(s);

        if (l && !l->closed)
                fake_close(l, (LinkEnd) (how % 3));
}

static void step_kick(Script *s) {
        (void) router_kick(s->net->router, take_id(s), "kicked");
}

static void step_dead(Script *s) {
        FakeLink *l = take_link(s);

        if (l)
                l->is_dead = take_u8(s) & 1;
}

static void step_config(Script *s) {
        uint8_t bits = take_u8(s);
        RouterConfig config = {
                .max_clients = bits & 1 ? 3 : 100,
                .ping_interval_usec = bits & 2 ? FAKE_SEC : 10 * FAKE_SEC,
                .grace_usec = bits & 4 ? 0 : 30 * FAKE_SEC,
                .slow_client_timeout_usec = bits & 8 ? 3 * FAKE_SEC : 0,
                .broadcast_wait_usec = bits & 16 ? 0 : 5 * FAKE_SEC,
                .outbox_high = bits & 32 ? 500 : FAKE_HIGH,
                .outbox_low = bits & 64 ? 1 : 400,
                .urgent_high = bits & 64 ? 2000 : 100,
                .sender_share = bits & 128 ? 1000 : 0,
        };

        router_set_config(s->net->router, &config);
}

static void step_ids(Script *s) {
        Router *r = s->net->router;

        s->net->refill = take_u8(s);
        if (s->net->refill == 255 && r->end_id - r->next_id > 3)
                r->next_id = r->end_id - 3; /* as if many had come and gone */
}

static void step_stop(Script *s) {
        if (take_u8(s) == 1) /* rare: not much happens behind it */
                router_stop(s->net->router);
}

static void step_load(Script *s) {
        LoadFigures figures;

        router_get_load(s->net->router, &figures);
}

typedef void (*Step)(Script *s);

static const Step steps[] = {
        step_open, step_hello, step_resume, step_frame, step_frame, step_mutated_frame, step_bytes, step_watch, step_ask,
        step_pong, step_take, step_time, step_turn, step_close, step_kick, step_dead, step_config, step_ids, step_stop, step_load,
};

/* What one peer has heard: whole frames, and those of one sender in their order. Returns how many of them were for one client,
 * and how many came back. */
static size_t check_order(const FakeLink *l) {
        struct { uint64_t source, sequence; } last[64] = {};
        size_t n_targeted = 0;

        for (size_t n, position = 0; fake_frame_at(l, position, &n); position += n) {
                WireHeader header;
                size_t i;

                wire_header_load(l->out + position, &header);
                n_targeted += header.type == WIRE_BOUNCE;
                if (header.type != WIRE_DATA || header.kind != MARKED)
                        continue;
                n_targeted += header.target != WIRE_TARGET_BROADCAST;
                for (i = 0; i < 63 && last[i].source != 0 && last[i].source != header.source; i++)
                        ;
                fuzz_assert(last[i].source != header.source || last[i].sequence < header.sequence);
                last[i].source = header.source;
                last[i].sequence = header.sequence;
        }
        return n_targeted;
}

/* When no link has ended, each frame has arrived or was bounced, once. */
static void check_end(Script *s) {
        bool all_up = true;
        size_t n = 0;

        for (FakeLink *l = s->net->links; l; l = l->next)
                if (l->link)
                        fake_take(l, FAKE_UNLIMITED);
        fake_net_run(s->net);
        for (FakeLink *l = s->net->links; l; l = l->next) {
                fake_heard(l);
                n += check_order(l);
                all_up = all_up && l->link && (l->link->state == LINK_UP || l->link->state == LINK_OPENING);
        }
        fuzz_assert(!all_up || s->unmarked || n == s->n_targeted);
}

/* Who has been given which id: after the link's end it still stands for the session. */
static void note_ids(Script *s) {
        for (size_t i = 0; i < N_LINKS; i++) {
                FakeLink *l = s->links[i];

                if (l && l->link && l->link->state == LINK_UP)
                        l->id = l->link->session->id;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Script s = { .p = data, .end = data + size };

        s.net = fake_net_new(NULL);
        fuzz_assert(s.net);
        for (size_t i = 0; i < N_STEPS_MAX && s.p < s.end; i++) {
                steps[take_u8(&s) % (sizeof(steps) / sizeof(steps[0]))](&s);
                note_ids(&s);
        }
        check_end(&s);
        fake_net_free(s.net);
        return 0;
}
