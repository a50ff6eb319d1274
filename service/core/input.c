/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The way of bytes into the core: cuts them into frames, checks each against the table of what a client may send, gathers
 * neighbours with one target into a run, and hands runs to route.c and the rest to their handlers. Owns nothing. */

#include "service/core/handshake.h"
#include "service/core/liveness.h"
#include "service/core/pause.h"
#include "service/core/questions.h"
#include "service/core/route.h"
#include "service/core/router.h"

typedef void (*FrameHandler)(Link *l, const WireHeader *header, const uint8_t *payload);

typedef struct FrameRule {
        uint8_t flags;        /* those that the type defines */
        bool routed;          /* goes to another client */
        uint32_t max_length;
        FrameHandler handler; /* for what is not routed */
} FrameRule;

static void on_goodbye(Link *l, const WireHeader *header, const uint8_t *payload) {
        Session *s = l->session;

        link_finish(l);
        router_end_session(l->router, s, WIRE_REASON_LEAVING, "");
}

static void on_ping(Link *l, const WireHeader *header, const uint8_t *payload) {
        WireHeader pong = { .type = WIRE_PONG, .length = header->length, .tag = header->tag };

        link_post_urgent(l, &pong, payload);
        pause_self(l);
}

static void on_pong(Link *l, const WireHeader *header, const uint8_t *payload) {
        liveness_pong(l, header->tag);
}

/* What a client may send once it is up; everything else is a protocol error. */
static const FrameRule rules[] = {
        [WIRE_GOODBYE] = { .max_length = WIRE_PAYLOAD_MAX, .handler = on_goodbye },
        [WIRE_PING] = { .max_length = WIRE_PING_MAX, .handler = on_ping },
        [WIRE_PONG] = { .max_length = WIRE_PING_MAX, .handler = on_pong },
        [WIRE_DATA] = { .max_length = WIRE_PAYLOAD_MAX, .flags = (uint8_t) ~WIRE_RESERVED, .routed = true },
        [WIRE_ACK] = { .max_length = WIRE_PAYLOAD_MAX, .routed = true },
        [WIRE_RESEND] = { .max_length = WIRE_PAYLOAD_MAX, .routed = true },
        [WIRE_MARK] = { .max_length = WIRE_PAYLOAD_MAX, .flags = WIRE_MARK_BASELINE, .routed = true },
        [WIRE_LOST] = { .max_length = WIRE_PAYLOAD_MAX, .routed = true },
        [WIRE_ASK] = { .max_length = WIRE_PAYLOAD_MAX, .handler = questions_answer },
};

static const FrameRule *find_rule(uint8_t type) {
        const FrameRule *rule = type < sizeof(rules) / sizeof(rules[0]) ? &rules[type] : NULL;

        return rule && (rule->routed || rule->handler) ? rule : NULL;
}

/* What is wrong with a frame that is there in full, or NULL */
static const char *check(const FrameRule *rule, const uint8_t *frame, size_t size) {
        if (!rule)
                return frame[4] == WIRE_HELLO ? "a second HELLO" : "a frame type that a client does not send";
        if (frame[5] & ~rule->flags)
                return "a flag that the frame type does not define";
        if (size - WIRE_HEADER_SIZE > rule->max_length)
                return "a payload longer than the frame type allows";
        return NULL;
}

static void flush_run(Link *l, Run *run) {
        if (run->size > 0)
                route_run(l, run);
        run->size = 0;
}

static RunClass classify(uint8_t type, uint8_t flags) {
        switch (type) {
        case WIRE_ACK:
        case WIRE_RESEND:
                return RUN_URGENT;
        case WIRE_MARK:
        case WIRE_LOST:
                return RUN_BROADCASTS;
        default:
                return flags & WIRE_BROADCAST ? RUN_BROADCASTS : RUN_MESSAGES;
        }
}

/* Stamps the sender into the frame and adds it to the run, or begins a new one. */
static void add_to_run(Link *l, Run *run, uint8_t *frame, size_t size, uint8_t type, uint8_t flags) {
        uint64_t target = wire_load_u64(frame + 16);
        RunClass class = target == WIRE_TARGET_BROADCAST ? RUN_BROADCASTS : classify(type, flags);

        wire_store_u64(frame + 8, l->session->id);
        if (run->size > 0 && (run->target != target || run->class != class || run->data + run->size != frame))
                flush_run(l, run);
        if (run->size == 0)
                *run = (Run) { .target = target, .data = frame, .class = (uint8_t) class };
        run->size += size;
        run->n_messages += type == WIRE_DATA && (flags & WIRE_LAST);
}

/* Whether extend_run() is worth its call: where targets take turns it would only cost. */
static bool may_extend(const Run *run, const uint8_t *data, size_t size) {
        return size >= WIRE_HEADER_SIZE && wire_load_u64(data + 16) == run->target;
}

/* The hot path: `like` is the last frame of the run, a DATA frame that was checked, and at `data`, behind it, those are added
 * that are whole and the same in all that check() and add_to_run() look at (any length that the framer lets pass is allowed for
 * DATA). What else comes is left to them. Returns how many bytes were added. Not inlined, so that all stays in registers. */
__attribute__((noinline)) static size_t extend_run(Link *l, Run *run, const uint8_t *like, uint8_t *data, size_t size) {
        const uint16_t same = UINT8_MAX | (WIRE_RESERVED | WIRE_BROADCAST) << 8; /* of type and flags */
        const uint16_t kind = wire_load_u16(like + 4) & same;
        const uint64_t source = l->session->id, target = run->target;
        size_t position = 0, n = 0;
        uint32_t n_messages = 0;

        while (framer_peek(data + position, size - position, &n) == 0) {
                uint8_t *frame = data + position;

                if ((wire_load_u16(frame + 4) & same) != kind || wire_load_u64(frame + 16) != target)
                        break;
                wire_store_u64(frame + 8, source);
                n_messages += (frame[5] & WIRE_LAST) != 0;
                position += n;
        }
        run->size += position;
        run->n_messages += n_messages;
        return position;
}

/* Routes the whole frames at `data` and returns how many bytes they were. */
static size_t take_frames(Link *l, uint8_t *data, size_t size) {
        size_t position = 0, n = 0;
        const char *wrong = NULL;
        Run run = {};
        int e;

        while (l->state == LINK_UP && (e = framer_peek(data + position, size - position, &n)) != FRAMER_E_MORE) {
                uint8_t *frame = data + position;
                const FrameRule *rule;

                if (e == FRAMER_E_LENGTH) {
                        wrong = "a payload longer than 65536 bytes";
                        break;
                }
                rule = find_rule(frame[4]);
                wrong = check(rule, frame, n);
                if (wrong)
                        break;
                if (rule->routed)
                        add_to_run(l, &run, frame, n, frame[4], frame[5]);
                else {
                        WireHeader header;

                        flush_run(l, &run);
                        wire_header_load(frame, &header);
                        rule->handler(l, &header, frame + WIRE_HEADER_SIZE);
                }
                position += n;
                if (may_extend(&run, data + position, size - position) && frame[4] == WIRE_DATA && l->state == LINK_UP)
                        position += extend_run(l, &run, frame, data + position, size - position);
        }
        if (l->state == LINK_UP)
                flush_run(l, &run);
        if (wrong && l->state == LINK_UP)
                link_protocol_error(l, wrong);
        return position;
}

/* The first frame. It is judged by its first bytes: nothing larger than a HELLO is waited for. */
static size_t take_hello(Link *l, const uint8_t *data, size_t size) {
        WireHeader header;
        size_t n;

        if (size >= 5 && data[4] != WIRE_HELLO) {
                link_protocol_error(l, "the first frame is not a HELLO");
                return 0;
        }
        if (size >= 4 && wire_load_u32(data) > WIRE_HELLO_FRAME_MAX - WIRE_HEADER_SIZE) {
                link_protocol_error(l, "a HELLO longer than 1024 bytes");
                return 0;
        }
        if (framer_peek(data, size, &n) != 0)
                return 0;
        wire_header_load(data, &header);
        handshake_begin(l, &header, data + WIRE_HEADER_SIZE);
        return n;
}

void link_input(Link *l, uint8_t *data, size_t size) {
        Router *r = l->router;
        size_t n = 0;

        if (l->state == LINK_CLOSING) {
                l->n_discarded += size;
                if (l->n_discarded > LINK_LINGER_BYTES)
                        link_kill(l);
                return;
        }
        l->n_last_read = (uint32_t) size;
        if (l->state == LINK_UP)
                liveness_heard(l);
        if (l->state == LINK_OPENING)
                n = take_hello(l, data, size);
        if (l->state == LINK_UP) {
                Session *s = l->session;
                size_t taken = take_frames(l, data + n, size - n);

                if (taken > 0)
                        l->unconfirmed = false;
                r->load.counters.bytes_in += taken;
                if (l->session == s)
                        s->bytes_in += taken;
                n += taken;
        }
        if ((l->state == LINK_OPENING || l->state == LINK_WAITING || l->state == LINK_UP) &&
            framer_keep(&l->framer, data + n, size - n) < 0)
                link_end(l, LINK_RESET);
}
