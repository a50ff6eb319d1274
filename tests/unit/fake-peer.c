/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The peer's half of fake-net.h: makes frames, and tells those that came as text that a test can compare at a glance. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/fake-net.h"

/* Sending */

void fake_send_bytes(FakeLink *l, const void *data, size_t size) {
        if (l->n_in + size > l->n_in_allocated) {
                l->n_in_allocated = (l->n_in + size) * 2;
                l->in = realloc(l->in, l->n_in_allocated);
                fake_require(l->in);
        }
        if (size > 0)
                memcpy(l->in + l->n_in, data, size);
        l->n_in += size;
}

void fake_send(FakeLink *l, WireHeader header, const void *payload) {
        uint8_t frame[WIRE_HEADER_SIZE];

        wire_header_store(frame, &header);
        fake_send_bytes(l, frame, sizeof(frame));
        fake_send_bytes(l, payload, header.length);
}

WireHello fake_hello_init(const char *name) {
        return (WireHello) {
                .magic = WIRE_MAGIC,
                .version_min = 1,
                .version_max = 1,
                .name = { .data = name, .size = strlen(name) },
                .program = { .data = "test", .size = 4 },
                .credential = { .data = "" },
        };
}

void fake_hello_full(FakeLink *l, const WireHello *hello) {
        uint8_t payload[WIRE_HELLO_FRAME_MAX];
        int n;

        n = wire_hello_store(hello, payload, sizeof(payload));
        fake_require(n >= 0);
        fake_send(l, (WireHeader) { .type = WIRE_HELLO, .length = (uint32_t) n }, payload);
}

void fake_hello(FakeLink *l, const char *name) {
        WireHello hello = fake_hello_init(name);

        fake_hello_full(l, &hello);
}

void fake_resume(FakeLink *l, const FakeLink *was, const char *name) {
        WireHello hello = fake_hello_init(name);

        hello.resume_id = was->id;
        memcpy(hello.resume_token, was->token, sizeof(hello.resume_token));
        fake_hello_full(l, &hello);
        fake_simple(l, WIRE_PONG, 0, 0);
}

void fake_data(FakeLink *l, uint64_t target, uint64_t sequence, const char *text) {
        WireHeader header = {
                .length = (uint32_t) strlen(text),
                .type = WIRE_DATA,
                .flags = WIRE_FIRST | WIRE_LAST,
                .source = 4711, /* whatever */
                .target = target,
                .sequence = sequence,
        };

        fake_send(l, header, text);
}

void fake_fill(FakeLink *l, uint64_t target, size_t size) {
        static const uint8_t zeros[WIRE_PAYLOAD_MAX];
        WireHeader header = {
                .length = (uint32_t) (size - WIRE_HEADER_SIZE),
                .type = WIRE_DATA,
                .flags = WIRE_FIRST | WIRE_LAST,
                .target = target,
        };

        fake_send(l, header, zeros);
}

void fake_simple(FakeLink *l, WireType type, uint64_t target, uint64_t sequence) {
        fake_send(l, (WireHeader) { .type = (uint8_t) type, .target = target, .sequence = sequence }, NULL);
}

void fake_pong(FakeLink *l, uint32_t tag) {
        fake_send(l, (WireHeader) { .type = WIRE_PONG, .tag = tag }, NULL);
}

static void ask(FakeLink *l, WireQuestion kind, const WireWriter *w, uint32_t tag) {
        WireHeader header = { .length = (uint32_t) wire_writer_size(w), .type = WIRE_ASK, .kind = (uint16_t) kind, .tag = tag };

        fake_require(!w->failed);
        fake_send(l, header, w->start);
}

void fake_watch(FakeLink *l, uint64_t id, bool on) {
        uint8_t payload[9];
        WireWriter w = wire_writer(payload, sizeof(payload));

        wire_write_u64(&w, id);
        wire_write_u8(&w, on);
        ask(l, WIRE_ASK_WATCH, &w, 0);
}

void fake_ask_u64(FakeLink *l, WireQuestion kind, uint64_t value, uint32_t tag) {
        uint8_t payload[8];
        WireWriter w = wire_writer(payload, sizeof(payload));

        wire_write_u64(&w, value);
        ask(l, kind, &w, tag);
}

void fake_ask_name(FakeLink *l, WireQuestion kind, const char *name, uint32_t tag) {
        uint8_t payload[8 + 1 + WIRE_TEXT8_MAX];
        WireWriter w = wire_writer(payload, sizeof(payload));

        if (kind == WIRE_ASK_ALIVE)
                wire_write_u64(&w, 0);
        wire_write_text8(&w, name, strlen(name));
        ask(l, kind, &w, tag);
}

void fake_close(FakeLink *l, LinkEnd how) {
        l->closed = true;
        l->how = how;
        if (how != LINK_EOF)
                l->n_in = 0;
}

void fake_take(FakeLink *l, size_t n) {
        l->room = n == FAKE_UNLIMITED || l->room > FAKE_UNLIMITED - n ? FAKE_UNLIMITED : l->room + n;
        l->write_blocked = false;
        if (l->link)
                link_set_dirty(l->link);
}

void fake_stop_taking(FakeLink *l) {
        l->room = 0;
}

FakeLink *fake_client(FakeNet *n, const char *name) {
        FakeLink *l = fake_open(n);

        fake_hello(l, name);
        fake_require(strncmp(fake_heard(l), "welcome ", 8) == 0);
        return l;
}

/* Hearing */

static void tell_welcome(FakeLink *l, const uint8_t *payload, size_t size, FILE *f) {
        WireWelcome welcome;

        fake_require(wire_welcome_parse(payload, size, &welcome) == 0);
        l->id = welcome.id;
        memcpy(l->token, welcome.resume_token, sizeof(l->token));
        fprintf(f, "welcome %d %.*s", (int) welcome.id, (int) welcome.name.size, welcome.name.data);
}

static void tell_data(const WireHeader *h, const uint8_t *payload, FILE *f) {
        fprintf(f, "data %d>%d", (int) h->source, (int) h->target);
        if (h->sequence > 0)
                fprintf(f, " #%d", (int) h->sequence);
        if (h->length <= 32)
                fprintf(f, " %.*s", (int) h->length, (const char *) payload);
        else
                fprintf(f, " [%u]", (unsigned) (h->length + WIRE_HEADER_SIZE));
}

static void tell_presence(const uint8_t *payload, size_t size, FILE *f) {
        static const char *const names[] = { "?", "joined", "left", "away", "back", "busy", "alive" };
        WirePresence p;

        fake_require(wire_presence_parse(payload, size, &p) == 0 && p.event >= 1 && p.event <= 6);
        fprintf(f, "%s %d", names[p.event], (int) p.id);
        if (p.reason != 0)
                fprintf(f, " %s", wire_reason_name(p.reason));
        fprintf(f, " @%d", (int) p.epoch);
}

static void tell_answer(const WireHeader *h, const uint8_t *payload, FILE *f) {
        WireReader r = wire_reader(payload, h->length);

        if (h->flags & WIRE_ANSWER_FAILED) {
                fprintf(f, "failed %u %u", h->kind, wire_read_u16(&r));
        } else if (h->kind == WIRE_ASK_WATCH) {
                int epoch = (int) wire_read_u64(&r);

                fprintf(f, "watch @%d %s", epoch, wire_state_name(wire_read_u8(&r)));
        } else if (h->kind == WIRE_ASK_RESOLVE) {
                int id = (int) wire_read_u64(&r);

                fprintf(f, "resolve %d %s", id, wire_state_name(wire_read_u8(&r)));
        } else if (h->kind == WIRE_ASK_ALIVE) {
                WireAlive alive;

                fake_require(wire_alive_parse(payload, h->length, &alive) == 0);
                fprintf(f, "alive %d %s %u %u %u %.*s", (int) alive.id, wire_state_name(alive.state), alive.silence_ms,
                        alive.kernel_silence_ms, alive.rtt_us, (int) alive.name.size, alive.name.data);
        } else if (h->kind == WIRE_ASK_LIST) {
                fprintf(f, "list @%d", (int) wire_read_u64(&r));
                for (uint32_t i = wire_read_u32(&r); i > 0; i--) {
                        fprintf(f, " %d", (int) wire_read_u64(&r));
                        fprintf(f, "/%u", wire_read_u8(&r));
                        wire_read_text8(&r);
                }
        } else
                fprintf(f, "answer %u", h->kind);
        fake_require(!r.failed);
}

static void tell(FakeLink *l, const WireHeader *h, const uint8_t *payload, FILE *f) {
        switch ((WireType) h->type) {
        case WIRE_WELCOME:
                tell_welcome(l, payload, h->length, f);
                break;
        case WIRE_REFUSED:
                fprintf(f, "refused %s", wire_refusal_name(h->kind));
                break;
        case WIRE_GOODBYE:
                fprintf(f, "goodbye %s", wire_reason_name(h->kind));
                break;
        case WIRE_PING:
                fprintf(f, "ping %u", h->tag);
                break;
        case WIRE_PONG:
                fprintf(f, "pong %u", h->tag);
                break;
        case WIRE_DATA:
                tell_data(h, payload, f);
                break;
        case WIRE_ACK:
                fprintf(f, "ack %d>%d #%d", (int) h->source, (int) h->target, (int) h->sequence);
                break;
        case WIRE_BOUNCE:
                fprintf(f, "bounce %d #%d %u", (int) h->target, (int) h->sequence, h->kind);
                break;
        case WIRE_RESEND:
                fprintf(f, "resend %d", (int) h->source);
                break;
        case WIRE_MARK:
                fprintf(f, "%s %d #%d", h->flags & WIRE_MARK_BASELINE ? "baseline" : "mark", (int) h->source, (int) h->sequence);
                break;
        case WIRE_LOST:
                fprintf(f, "lost %d", (int) h->source);
                break;
        case WIRE_ANSWER:
                tell_answer(h, payload, f);
                break;
        case WIRE_PRESENCE:
                tell_presence(payload, h->length, f);
                break;
        default:
                fake_fail(__FILE__, __LINE__, "a type that the service sends");
        }
}

const char *fake_heard(FakeLink *l) {
        static char *text;
        size_t size;
        FILE *f;

        fake_net_run(l->net);
        free(text);
        f = open_memstream(&text, &size);
        fake_require(f);
        for (size_t n, position = l->heard; fake_frame_at(l, position, &n); position = l->heard) {
                WireHeader header;

                if (ftell(f) > 0)
                        fprintf(f, "; ");
                wire_header_load(l->out + position, &header);
                tell(l, &header, l->out + position + WIRE_HEADER_SIZE, f);
                l->heard += n;
        }
        fclose(f);
        return text;
}

const uint8_t *fake_last_frame(FakeLink *l, WireHeader *ret_header) {
        const uint8_t *frame = NULL;

        for (size_t n, position = 0; fake_frame_at(l, position, &n); position += n)
                frame = l->out + position;
        fake_require(frame);
        wire_header_load(frame, ret_header);
        return frame + WIRE_HEADER_SIZE;
}
