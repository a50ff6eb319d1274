/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fields are taken from bytes one by one, never by laying a struct over them, so neither alignment nor the order of bytes of the
 * host matters. All checks of lengths are comparisons of what is left, never subtractions from what a peer said. */

#include <errno.h>

#include "protocol/wire.h"

const char *wire_state_name(unsigned state) {
        static const char *const names[_WIRE_STATE_N] = { "unknown", "alive", "busy", "away", "gone" };

        return state < _WIRE_STATE_N ? names[state] : "?";
}

const char *wire_reason_name(unsigned reason) {
        static const char *const names[_WIRE_REASON_N] = {
                "none",     "leaving",    "stopping", "kicked",       "replaced", "protocol error",
                "restarting", "too slow", "unresponsive", "died",     "link lost",
        };

        return reason < _WIRE_REASON_N ? names[reason] : "?";
}

const char *wire_refusal_name(unsigned code) {
        static const char *const names[] = {
                [WIRE_REFUSED_VERSION] = "version",
                [WIRE_REFUSED_NAME_TAKEN] = "name taken",
                [WIRE_REFUSED_NAME_INVALID] = "name invalid",
                [WIRE_REFUSED_NOT_AUTHORISED] = "not authorised",
                [WIRE_REFUSED_PROTOCOL] = "protocol error",
                [WIRE_REFUSED_FULL] = "full",
                [WIRE_REFUSED_RESUME] = "resume refused",
        };

        return code < sizeof(names) / sizeof(names[0]) && names[code] ? names[code] : "?";
}

/* Reading */

static const uint8_t *reader_take(WireReader *r, size_t size) {
        const uint8_t *p = r->p;

        if (r->failed || (size_t) (r->end - r->p) < size) {
                r->failed = true;
                return NULL;
        }
        r->p += size;
        return p;
}

uint8_t wire_read_u8(WireReader *r) {
        const uint8_t *p = reader_take(r, 1);

        return p ? *p : 0;
}

uint16_t wire_read_u16(WireReader *r) {
        const uint8_t *p = reader_take(r, 2);

        return p ? wire_load_u16(p) : 0;
}

uint32_t wire_read_u32(WireReader *r) {
        const uint8_t *p = reader_take(r, 4);

        return p ? wire_load_u32(p) : 0;
}

uint64_t wire_read_u64(WireReader *r) {
        const uint8_t *p = reader_take(r, 8);

        return p ? wire_load_u64(p) : 0;
}

void wire_read_bytes(WireReader *r, void *ret, size_t size) {
        const uint8_t *p = reader_take(r, size);

        if (p)
                memcpy(ret, p, size);
        else
                memset(ret, 0, size);
}

static WireText read_text(WireReader *r, size_t size) {
        const uint8_t *p = reader_take(r, size);

        if (!p)
                return (WireText) { .data = "" };
        if (!wire_text_is_clean((const char *) p, size)) {
                r->failed = true;
                return (WireText) { .data = "" };
        }
        return (WireText) { .data = (const char *) p, .size = size };
}

WireText wire_read_text8(WireReader *r) {
        return read_text(r, wire_read_u8(r));
}

WireText wire_read_text16(WireReader *r) {
        return read_text(r, wire_read_u16(r));
}

/* Writing */

static uint8_t *writer_take(WireWriter *w, size_t size) {
        uint8_t *p = w->p;

        if (w->failed || (size_t) (w->end - w->p) < size) {
                w->failed = true;
                return NULL;
        }
        w->p += size;
        return p;
}

void wire_write_u8(WireWriter *w, uint8_t v) {
        uint8_t *p = writer_take(w, 1);

        if (p)
                *p = v;
}

void wire_write_u16(WireWriter *w, uint16_t v) {
        uint8_t *p = writer_take(w, 2);

        if (p)
                wire_store_u16(p, v);
}

void wire_write_u32(WireWriter *w, uint32_t v) {
        uint8_t *p = writer_take(w, 4);

        if (p)
                wire_store_u32(p, v);
}

void wire_write_u64(WireWriter *w, uint64_t v) {
        uint8_t *p = writer_take(w, 8);

        if (p)
                wire_store_u64(p, v);
}

void wire_write_bytes(WireWriter *w, const void *data, size_t size) {
        uint8_t *p = writer_take(w, size);

        if (p && size > 0)
                memcpy(p, data, size);
}

void wire_write_text8(WireWriter *w, const char *text, size_t size) {
        uint8_t *p = size <= UINT8_MAX ? writer_take(w, 1 + size) : NULL;

        if (!p) {
                w->failed = true;
                return;
        }
        *p = (uint8_t) size;
        if (size > 0)
                memcpy(p + 1, text, size);
}

void wire_write_text16(WireWriter *w, const char *text, size_t size) {
        uint8_t *p = size <= UINT16_MAX ? writer_take(w, 2 + size) : NULL;

        if (!p) {
                w->failed = true;
                return;
        }
        wire_store_u16(p, (uint16_t) size);
        if (size > 0)
                memcpy(p + 2, text, size);
}

/* Text */

/* The size of the UTF-8 sequence that begins with `first`, and the smallest second byte that makes it the shortest form and no
 * surrogate, as in table 3-7 of the Unicode standard. 0: no such sequence. */
static size_t utf8_sequence(uint8_t first, uint8_t *ret_low, uint8_t *ret_high) {
        *ret_low = 0x80;
        *ret_high = 0xbf;
        if (first < 0x80)
                return 1;
        if (first >= 0xc2 && first <= 0xdf)
                return 2;
        if (first >= 0xe0 && first <= 0xef) {
                if (first == 0xe0)
                        *ret_low = 0xa0;
                if (first == 0xed)
                        *ret_high = 0x9f;
                return 3;
        }
        if (first >= 0xf0 && first <= 0xf4) {
                if (first == 0xf0)
                        *ret_low = 0x90;
                if (first == 0xf4)
                        *ret_high = 0x8f;
                return 4;
        }
        return 0;
}

bool wire_text_is_clean(const char *text, size_t size) {
        const uint8_t *p = (const uint8_t *) text;

        while (size > 0) {
                uint8_t low, high;
                size_t n;

                n = utf8_sequence(*p, &low, &high);
                if (n == 0 || n > size)
                        return false;
                if (n == 1 && (*p < 0x20 || *p == 0x7f))
                        return false;
                if (n > 1 && (p[1] < low || p[1] > high))
                        return false;
                for (size_t i = 2; i < n; i++)
                        if ((p[i] & 0xc0) != 0x80)
                                return false;
                if (n == 2 && p[0] == 0xc2 && p[1] < 0xa0) /* C1: a terminal may take U+009B for an escape sequence */
                        return false;
                p += n;
                size -= n;
        }
        return true;
}

bool wire_name_is_valid(const char *name, size_t size) {
        if (size < 1 || size > WIRE_NAME_MAX)
                return false;
        for (size_t i = 0; i < size; i++) {
                char c = name[i];

                if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
                      c == '-'))
                        return false;
        }
        return true;
}

/* Payloads */

static int writer_finish(const WireWriter *w) {
        return w->failed ? -ENOBUFS : (int) wire_writer_size(w);
}

int wire_hello_parse(const uint8_t *payload, size_t size, WireHello *ret) {
        WireReader r = wire_reader(payload, size);
        WireHello hello = {};
        size_t n_name;

        hello.magic = wire_read_u32(&r);
        hello.version_min = wire_read_u16(&r);
        hello.version_max = wire_read_u16(&r);
        hello.features = wire_read_u32(&r);
        hello.resume_id = wire_read_u64(&r);
        wire_read_bytes(&r, hello.resume_token, sizeof(hello.resume_token));
        n_name = wire_read_u8(&r);
        hello.name = (WireText) { .data = (const char *) reader_take(&r, n_name), .size = n_name };
        hello.program = wire_read_text16(&r);
        hello.credential = wire_read_text16(&r);
        if (r.failed)
                return -EBADMSG;
        *ret = hello;
        return 0;
}

int wire_hello_store(const WireHello *hello, uint8_t *buffer, size_t size) {
        WireWriter w = wire_writer(buffer, size);

        wire_write_u32(&w, hello->magic);
        wire_write_u16(&w, hello->version_min);
        wire_write_u16(&w, hello->version_max);
        wire_write_u32(&w, hello->features);
        wire_write_u64(&w, hello->resume_id);
        wire_write_bytes(&w, hello->resume_token, sizeof(hello->resume_token));
        wire_write_text8(&w, hello->name.data, hello->name.size);
        wire_write_text16(&w, hello->program.data, hello->program.size);
        wire_write_text16(&w, hello->credential.data, hello->credential.size);
        return writer_finish(&w);
}

int wire_welcome_parse(const uint8_t *payload, size_t size, WireWelcome *ret) {
        WireReader r = wire_reader(payload, size);
        WireWelcome welcome = {};

        welcome.version = wire_read_u16(&r);
        wire_read_u16(&r);
        welcome.features = wire_read_u32(&r);
        welcome.id = wire_read_u64(&r);
        wire_read_bytes(&r, welcome.resume_token, sizeof(welcome.resume_token));
        wire_read_bytes(&r, welcome.instance, sizeof(welcome.instance));
        welcome.max_payload = wire_read_u32(&r);
        welcome.initial_credit = wire_read_u32(&r);
        welcome.ping_interval_ms = wire_read_u32(&r);
        welcome.grace_ms = wire_read_u32(&r);
        welcome.epoch = wire_read_u64(&r);
        welcome.name = wire_read_text8(&r);
        if (r.failed)
                return -EBADMSG;
        *ret = welcome;
        return 0;
}

int wire_welcome_store(const WireWelcome *welcome, uint8_t *buffer, size_t size) {
        WireWriter w = wire_writer(buffer, size);

        wire_write_u16(&w, welcome->version);
        wire_write_u16(&w, 0);
        wire_write_u32(&w, welcome->features);
        wire_write_u64(&w, welcome->id);
        wire_write_bytes(&w, welcome->resume_token, sizeof(welcome->resume_token));
        wire_write_bytes(&w, welcome->instance, sizeof(welcome->instance));
        wire_write_u32(&w, welcome->max_payload);
        wire_write_u32(&w, welcome->initial_credit);
        wire_write_u32(&w, welcome->ping_interval_ms);
        wire_write_u32(&w, welcome->grace_ms);
        wire_write_u64(&w, welcome->epoch);
        wire_write_text8(&w, welcome->name.data, welcome->name.size);
        return writer_finish(&w);
}

int wire_goodbye_parse(const uint8_t *payload, size_t size, WireGoodbye *ret) {
        WireReader r = wire_reader(payload, size);
        WireGoodbye goodbye = {};

        goodbye.retry_after_ms = wire_read_u32(&r);
        goodbye.reason = wire_read_text16(&r);
        if (r.failed)
                return -EBADMSG;
        *ret = goodbye;
        return 0;
}

int wire_goodbye_store(const WireGoodbye *goodbye, uint8_t *buffer, size_t size) {
        WireWriter w = wire_writer(buffer, size);

        wire_write_u32(&w, goodbye->retry_after_ms);
        wire_write_text16(&w, goodbye->reason.data, goodbye->reason.size);
        return writer_finish(&w);
}

int wire_presence_parse(const uint8_t *payload, size_t size, WirePresence *ret) {
        WireReader r = wire_reader(payload, size);
        WirePresence presence = {};

        presence.epoch = wire_read_u64(&r);
        presence.event = wire_read_u8(&r);
        presence.reason = wire_read_u8(&r);
        wire_read_u16(&r);
        presence.id = wire_read_u64(&r);
        presence.name = wire_read_text8(&r);
        if (r.failed)
                return -EBADMSG;
        *ret = presence;
        return 0;
}

int wire_presence_store(const WirePresence *presence, uint8_t *buffer, size_t size) {
        WireWriter w = wire_writer(buffer, size);

        wire_write_u64(&w, presence->epoch);
        wire_write_u8(&w, presence->event);
        wire_write_u8(&w, presence->reason);
        wire_write_u16(&w, 0);
        wire_write_u64(&w, presence->id);
        wire_write_text8(&w, presence->name.data, presence->name.size);
        return writer_finish(&w);
}

int wire_alive_parse(const uint8_t *payload, size_t size, WireAlive *ret) {
        WireReader r = wire_reader(payload, size);
        uint8_t zero[3];
        WireAlive alive = {};

        alive.id = wire_read_u64(&r);
        alive.state = wire_read_u8(&r);
        wire_read_bytes(&r, zero, sizeof(zero));
        alive.silence_ms = wire_read_u32(&r);
        alive.kernel_silence_ms = wire_read_u32(&r);
        alive.rtt_us = wire_read_u32(&r);
        alive.name = wire_read_text8(&r);
        if (r.failed)
                return -EBADMSG;
        *ret = alive;
        return 0;
}

int wire_alive_store(const WireAlive *alive, uint8_t *buffer, size_t size) {
        WireWriter w = wire_writer(buffer, size);

        wire_write_u64(&w, alive->id);
        wire_write_u8(&w, alive->state);
        wire_write_bytes(&w, (const uint8_t[3]) {}, 3);
        wire_write_u32(&w, alive->silence_ms);
        wire_write_u32(&w, alive->kernel_silence_ms);
        wire_write_u32(&w, alive->rtt_us);
        wire_write_text8(&w, alive->name.data, alive->name.size);
        return writer_finish(&w);
}

int wire_failure_parse(const uint8_t *payload, size_t size, WireFailure *ret) {
        WireReader r = wire_reader(payload, size);
        WireFailure failure = {};

        failure.error = wire_read_u16(&r);
        failure.text = wire_read_text16(&r);
        if (r.failed)
                return -EBADMSG;
        *ret = failure;
        return 0;
}

int wire_failure_store(const WireFailure *failure, uint8_t *buffer, size_t size) {
        WireWriter w = wire_writer(buffer, size);

        wire_write_u16(&w, failure->error);
        wire_write_text16(&w, failure->text.data, failure->text.size);
        return writer_finish(&w);
}
