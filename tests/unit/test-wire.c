/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Every payload there and back, every truncation of it, text and names. */

#include <errno.h>

#include "protocol/wire.h"
#include "run-tests.h"

#define TEXT(s) ((WireText) { .data = (s), .size = sizeof(s) - 1 })

enum { BUFFER_SIZE = 1024 };

static void assert_text_eq(WireText a, WireText b) {
        ck_assert_uint_eq(a.size, b.size);
        ck_assert_mem_eq(a.data, b.data, a.size);
}

/* The samples: no field is 0 or equals another, so that a swapped pair shows. */

static WireHello sample_hello(void) {
        WireHello h = {
                .magic = WIRE_MAGIC,
                .version_min = 1,
                .version_max = 0x0203,
                .features = 0x04050607,
                .resume_id = UINT64_C(0x08090a0b0c0d0e0f),
                .name = TEXT("worker-3"),
                .program = TEXT("render \xc3\xa4 1234@host"),
                .credential = TEXT("secret"),
        };

        for (unsigned i = 0; i < WIRE_TOKEN_SIZE; i++)
                h.resume_token[i] = (uint8_t) (0x40 + i);
        return h;
}

static WireWelcome sample_welcome(void) {
        WireWelcome w = {
                .version = 0x0102,
                .features = 0x03040506,
                .id = UINT64_C(0x0708090a0b0c0d0e),
                .max_payload = WIRE_PAYLOAD_MAX,
                .initial_credit = 0x11121314,
                .ping_interval_ms = 0x15161718,
                .grace_ms = 0x191a1b1c,
                .epoch = UINT64_C(0x1d1e1f2021222324),
                .name = TEXT("client-7"),
        };

        for (unsigned i = 0; i < WIRE_TOKEN_SIZE; i++)
                w.resume_token[i] = (uint8_t) (0x40 + i);
        for (unsigned i = 0; i < WIRE_INSTANCE_SIZE; i++)
                w.instance[i] = (uint8_t) (0x80 + i);
        return w;
}

static int store_hello(uint8_t *p, size_t n) {
        WireHello h = sample_hello();

        return wire_hello_store(&h, p, n);
}
static int parse_hello(const uint8_t *p, size_t n) {
        WireHello h, want = sample_hello();
        int r = wire_hello_parse(p, n, &h);

        if (r < 0)
                return r;
        ck_assert_uint_eq(h.magic, want.magic);
        ck_assert_uint_eq(h.version_min, want.version_min);
        ck_assert_uint_eq(h.version_max, want.version_max);
        ck_assert_uint_eq(h.features, want.features);
        ck_assert_uint_eq(h.resume_id, want.resume_id);
        ck_assert_mem_eq(h.resume_token, want.resume_token, WIRE_TOKEN_SIZE);
        assert_text_eq(h.name, want.name);
        assert_text_eq(h.program, want.program);
        assert_text_eq(h.credential, want.credential);
        return r;
}

static int store_welcome(uint8_t *p, size_t n) {
        WireWelcome w = sample_welcome();

        return wire_welcome_store(&w, p, n);
}
static int parse_welcome(const uint8_t *p, size_t n) {
        WireWelcome w, want = sample_welcome();
        int r = wire_welcome_parse(p, n, &w);

        if (r < 0)
                return r;
        ck_assert_uint_eq(w.version, want.version);
        ck_assert_uint_eq(w.features, want.features);
        ck_assert_uint_eq(w.id, want.id);
        ck_assert_mem_eq(w.resume_token, want.resume_token, WIRE_TOKEN_SIZE);
        ck_assert_mem_eq(w.instance, want.instance, WIRE_INSTANCE_SIZE);
        ck_assert_uint_eq(w.max_payload, want.max_payload);
        ck_assert_uint_eq(w.initial_credit, want.initial_credit);
        ck_assert_uint_eq(w.ping_interval_ms, want.ping_interval_ms);
        ck_assert_uint_eq(w.grace_ms, want.grace_ms);
        ck_assert_uint_eq(w.epoch, want.epoch);
        assert_text_eq(w.name, want.name);
        return r;
}

static int store_goodbye(uint8_t *p, size_t n) {
        return wire_goodbye_store(&(WireGoodbye) { .retry_after_ms = 0x01020304, .reason = TEXT("maintenance") }, p, n);
}
static int parse_goodbye(const uint8_t *p, size_t n) {
        WireGoodbye g;
        int r = wire_goodbye_parse(p, n, &g);

        if (r < 0)
                return r;
        ck_assert_uint_eq(g.retry_after_ms, 0x01020304);
        assert_text_eq(g.reason, TEXT("maintenance"));
        return r;
}

static int store_presence(uint8_t *p, size_t n) {
        return wire_presence_store(&(WirePresence) { .epoch = 77, .event = 2, .reason = 9, .id = UINT64_C(0x0102030405060708),
                                                     .name = TEXT("a.b_c-d") },
                                   p, n);
}
static int parse_presence(const uint8_t *p, size_t n) {
        WirePresence e;
        int r = wire_presence_parse(p, n, &e);

        if (r < 0)
                return r;
        ck_assert_uint_eq(e.epoch, 77);
        ck_assert_uint_eq(e.event, WIRE_EVENT_LEFT);
        ck_assert_uint_eq(e.reason, WIRE_REASON_DIED);
        ck_assert_uint_eq(e.id, UINT64_C(0x0102030405060708));
        assert_text_eq(e.name, TEXT("a.b_c-d"));
        return r;
}

static int store_alive(uint8_t *p, size_t n) {
        return wire_alive_store(&(WireAlive) { .id = 5,
                                               .state = WIRE_STATE_BUSY,
                                               .silence_ms = 6,
                                               .kernel_silence_ms = 7,
                                               .rtt_us = 8,
                                               .name = TEXT("n") },
                                p, n);
}
static int parse_alive(const uint8_t *p, size_t n) {
        WireAlive a;
        int r = wire_alive_parse(p, n, &a);

        if (r < 0)
                return r;
        ck_assert_uint_eq(a.id, 5);
        ck_assert_uint_eq(a.state, WIRE_STATE_BUSY);
        ck_assert_uint_eq(a.silence_ms, 6);
        ck_assert_uint_eq(a.kernel_silence_ms, 7);
        ck_assert_uint_eq(a.rtt_us, 8);
        assert_text_eq(a.name, TEXT("n"));
        return r;
}

static int store_failure(uint8_t *p, size_t n) {
        return wire_failure_store(&(WireFailure) { .error = 28, .text = TEXT("too many watches") }, p, n);
}
static int parse_failure(const uint8_t *p, size_t n) {
        WireFailure f;
        int r = wire_failure_parse(p, n, &f);

        if (r < 0)
                return r;
        ck_assert_uint_eq(f.error, 28);
        assert_text_eq(f.text, TEXT("too many watches"));
        return r;
}

static const struct Payload {
        int (*store)(uint8_t *buffer, size_t size);
        int (*parse)(const uint8_t *payload, size_t size);
        int size;
} payloads[] = {
        { store_hello, parse_hello, 20 + 32 + 1 + 8 + 2 + 19 + 2 + 6 },
        { store_welcome, parse_welcome, 16 + 32 + 16 + 4 * 4 + 8 + 1 + 8 },
        { store_goodbye, parse_goodbye, 4 + 2 + 11 },
        { store_presence, parse_presence, 20 + 1 + 7 },
        { store_alive, parse_alive, 24 + 1 + 1 },
        { store_failure, parse_failure, 2 + 2 + 16 },
};
enum { N_PAYLOADS = sizeof(payloads) / sizeof(payloads[0]) };

START_TEST(there_and_back) {
        for (const struct Payload *p = payloads; p < payloads + N_PAYLOADS; p++) {
                uint8_t buffer[BUFFER_SIZE];

                ck_assert_int_eq(p->store(buffer, sizeof(buffer)), p->size);
                ck_assert_int_eq(p->parse(buffer, (size_t) p->size), 0);
        }
}
END_TEST

START_TEST(bytes_after_the_last_field_are_ignored) {
        for (const struct Payload *p = payloads; p < payloads + N_PAYLOADS; p++) {
                uint8_t buffer[BUFFER_SIZE];

                memset(buffer, 0xff, sizeof(buffer));
                ck_assert_int_eq(p->store(buffer, sizeof(buffer)), p->size);
                ck_assert_int_eq(p->parse(buffer, sizeof(buffer)), 0);
        }
}
END_TEST

/* In memory of just that size, so that a sanitizer or valgrind sees a read past the end. */
START_TEST(every_truncation_fails) {
        for (const struct Payload *p = payloads; p < payloads + N_PAYLOADS; p++) {
                uint8_t buffer[BUFFER_SIZE];

                ck_assert_int_eq(p->store(buffer, sizeof(buffer)), p->size);
                for (size_t n = 0; n < (size_t) p->size; n++) {
                        uint8_t *copy = malloc(n > 0 ? n : 1);

                        ck_assert_ptr_nonnull(copy);
                        memcpy(copy, buffer, n);
                        ck_assert_int_eq(p->parse(copy, n), -EBADMSG);
                        free(copy);
                }
        }
}
END_TEST

START_TEST(every_buffer_too_small_is_refused) {
        for (const struct Payload *p = payloads; p < payloads + N_PAYLOADS; p++) {
                for (size_t n = 0; n < (size_t) p->size; n++) {
                        uint8_t *buffer = malloc(n > 0 ? n : 1);

                        ck_assert_ptr_nonnull(buffer);
                        ck_assert_int_eq(p->store(buffer, n), -ENOBUFS);
                        free(buffer);
                }
        }
}
END_TEST

START_TEST(failure_leaves_the_output_untouched) {
        WireGoodbye g = { .retry_after_ms = 42 };

        ck_assert_int_eq(wire_goodbye_parse((const uint8_t *) "\1\0\0\0\5\0abc", 9, &g), -EBADMSG);
        ck_assert_uint_eq(g.retry_after_ms, 42);
}
END_TEST

START_TEST(header_there_and_back) {
        static const uint8_t bytes[WIRE_HEADER_SIZE] = {
                0x04, 0x03, 0x02, 0x01, 0x05, 0x06, 0x08, 0x07, 0x10, 0x0f, 0x0e, 0x0d, 0x0c, 0x0b,
                0x0a, 0x09, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x20, 0x1f, 0x1e, 0x1d,
                0x1c, 0x1b, 0x1a, 0x19, 0x24, 0x23, 0x22, 0x21, 0x28, 0x27, 0x26, 0x25,
        };
        uint8_t out[WIRE_HEADER_SIZE];
        WireHeader h;

        wire_header_load(bytes, &h);
        ck_assert_uint_eq(h.length, 0x01020304);
        ck_assert_uint_eq(h.type, 0x05);
        ck_assert_uint_eq(h.flags, 0x06);
        ck_assert_uint_eq(h.kind, 0x0708);
        ck_assert_uint_eq(h.source, UINT64_C(0x090a0b0c0d0e0f10));
        ck_assert_uint_eq(h.target, UINT64_C(0x1112131415161718));
        ck_assert_uint_eq(h.sequence, UINT64_C(0x191a1b1c1d1e1f20));
        ck_assert_uint_eq(h.stream, 0x21222324);
        ck_assert_uint_eq(h.tag, 0x25262728);
        wire_header_store(out, &h);
        ck_assert_mem_eq(out, bytes, sizeof(out));
}
END_TEST

START_TEST(integers_at_their_edges) {
        static const uint64_t values[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, UINT32_MAX,
                                           INT64_MAX, UINT64_C(1) << 63, UINT64_MAX };
        uint8_t p[8];

        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                wire_store_u16(p, (uint16_t) values[i]);
                ck_assert_uint_eq(wire_load_u16(p), (uint16_t) values[i]);
                wire_store_u32(p, (uint32_t) values[i]);
                ck_assert_uint_eq(wire_load_u32(p), (uint32_t) values[i]);
                wire_store_u64(p, values[i]);
                ck_assert_uint_eq(wire_load_u64(p), values[i]);
        }
}
END_TEST

START_TEST(a_failed_reader_gives_zeros) {
        static const uint8_t data[] = { 1, 2, 3, 4, 5, 6, 7, 8 };
        WireReader r = wire_reader(data, 3);
        uint8_t bytes[4] = { 9, 9, 9, 9 };

        ck_assert_uint_eq(wire_read_u16(&r), 0x0201);
        ck_assert_uint_eq(wire_read_u16(&r), 0);
        ck_assert(r.failed);
        ck_assert_uint_eq(wire_read_u8(&r), 0); /* one byte is left, but what it means is not known any more */
        ck_assert_uint_eq(wire_read_u32(&r), 0);
        ck_assert_uint_eq(wire_read_u64(&r), 0);
        wire_read_bytes(&r, bytes, sizeof(bytes));
        ck_assert_mem_eq(bytes, ((const uint8_t[4]) {}), sizeof(bytes));
        ck_assert_uint_eq(wire_read_text8(&r).size, 0);
        ck_assert_ptr_nonnull(wire_read_text16(&r).data);
}
END_TEST

START_TEST(a_failed_writer_leaves_out_the_whole_field) {
        uint8_t buffer[8];
        WireWriter w = wire_writer(buffer, 3);

        wire_write_u16(&w, 1);
        wire_write_u32(&w, 2);
        ck_assert(w.failed);
        ck_assert_uint_eq(wire_writer_size(&w), 2);
        wire_write_u8(&w, 3);
        ck_assert_uint_eq(wire_writer_size(&w), 2);
}
END_TEST

START_TEST(texts_at_their_limits) {
        static char text[65537];
        static uint8_t buffer[65600];
        WireWriter w;
        WireReader r;

        memset(text, 'x', sizeof(text));
        w = wire_writer(buffer, sizeof(buffer));
        wire_write_text8(&w, text, 255);
        ck_assert(!w.failed);
        r = wire_reader(buffer, wire_writer_size(&w));
        ck_assert_uint_eq(wire_read_text8(&r).size, 255);
        wire_write_text8(&w, text, 256);
        ck_assert(w.failed);

        w = wire_writer(buffer, sizeof(buffer));
        wire_write_text16(&w, text, 65535);
        ck_assert(!w.failed);
        r = wire_reader(buffer, wire_writer_size(&w));
        ck_assert_uint_eq(wire_read_text16(&r).size, 65535);
        wire_write_text16(&w, text, 65536);
        ck_assert(w.failed);

        w = wire_writer(buffer, sizeof(buffer));
        wire_write_text8(&w, NULL, 0);
        wire_write_text16(&w, NULL, 0);
        ck_assert_uint_eq(wire_writer_size(&w), 3);
}
END_TEST

static const struct Text {
        const char *data;
        size_t size;
        bool clean;
} texts[] = {
#define T(s, ok) { s, sizeof(s) - 1, ok }
        T("", true),
        T("plain ASCII ~", true),
        T("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", true),
        /* The smallest and largest of each length */
        T("\xc2\xa0", true),
        T("\xdf\xbf", true),
        T("\xe0\xa0\x80", true),
        T("\xef\xbf\xbf", true),
        T("\xf0\x90\x80\x80", true),
        T("\xf4\x8f\xbf\xbf", true),
        /* Around the surrogates */
        T("\xed\x9f\xbf", true),
        T("\xed\xa0\x80", false),
        T("\xed\xaf\xbf\xed\xb0\x80", false),
        T("\xed\xbf\xbf", false),
        T("\xee\x80\x80", true),
        /* Overlong */
        T("\xc0\x80", false),
        T("\xc0\xaf", false),
        T("\xc1\xbf", false),
        T("\xe0\x80\xaf", false),
        T("\xe0\x9f\xbf", false),
        T("\xf0\x80\x80\xaf", false),
        T("\xf0\x8f\xbf\xbf", false),
        /* Beyond U+10FFFF, and lengths that never were */
        T("\xf4\x90\x80\x80", false),
        T("\xf5\x80\x80\x80", false),
        T("\xf8\x88\x80\x80\x80", false),
        T("\xfc\x84\x80\x80\x80\x80", false),
        T("\xfe", false),
        T("\xff", false),
        /* Lone and missing continuation bytes */
        T("\x80", false),
        T("\xbf", false),
        T("a\x80", false),
        T("\xc3", false),
        T("\xc3(", false),
        T("\xe2\x82", false),
        T("\xe2\x28\xa1", false),
        T("\xe2\x82(", false),
        T("\xf0\x9f\x98", false),
        T("\xf0\x9f(\x80", false),
        T("\xf0\x9f\x98(", false),
        T("\xc3\xa9\xa9", false),
        /* C0, DEL, C1 */
        T("\0", false),
        T("a\0b", false),
        T("\x01", false),
        T("\t", false),
        T("\n", false),
        T("\r\n", false),
        T("\x1b[31m", false),
        T("\x1f", false),
        T(" ", true),
        T("~", true),
        T("\x7f", false),
        T("\xc2\x80", false),
        T("\xc2\x85", false),
        T("\xc2\x9b", false),
        T("\xc2\x9f", false),
#undef T
};

START_TEST(text) {
        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
                const struct Text *t = &texts[i];
                char *copy = malloc(t->size > 0 ? t->size : 1);
                uint8_t payload[64] = { (uint8_t) t->size };
                WireReader r = wire_reader(payload, 1 + t->size);
                WireText read;

                /* In memory of just that size: a sequence that is cut short must not be read past its end. */
                ck_assert_ptr_nonnull(copy);
                memcpy(copy, t->data, t->size);
                ck_assert_msg(wire_text_is_clean(copy, t->size) == t->clean, "text %zu", i);
                free(copy);

                memcpy(payload + 1, t->data, t->size);
                read = wire_read_text8(&r);
                ck_assert_msg(r.failed == !t->clean, "text %zu in a payload", i);
                ck_assert_uint_eq(read.size, t->clean ? t->size : 0);
        }
}
END_TEST

/* Every code point, encoded here in the plain way, is clean unless it is a control character or a surrogate. */
START_TEST(every_code_point) {
        for (uint32_t c = 0; c < 0x110000; c++) {
                bool clean = c >= 0x20 && !(c >= 0x7f && c < 0xa0) && !(c >= 0xd800 && c < 0xe000);
                char s[4];
                size_t n;

                if (c < 0x80)
                        n = 1, s[0] = (char) c;
                else if (c < 0x800)
                        n = 2, s[0] = (char) (0xc0 | c >> 6);
                else if (c < 0x10000)
                        n = 3, s[0] = (char) (0xe0 | c >> 12);
                else
                        n = 4, s[0] = (char) (0xf0 | c >> 18);
                for (size_t i = 1; i < n; i++)
                        s[i] = (char) (0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
                if (wire_text_is_clean(s, n) != clean) /* an assertion each would take seconds */
                        ck_abort_msg("U+%04X", c);
        }
}
END_TEST

START_TEST(names) {
        static const char *const valid[] = { "a", "Z", "0", "worker-3", "a.b_c-d", ".", "-", "_" };
        static const char *const invalid[] = { "",    " ",   "a b", "a/b", "a:b", "a\n", "a\x1b", "\xc3\xa4",
                                               "a@b", "a,b", "*",   "[",   "{",   "`",   "^" };
        char name[65];

        for (size_t i = 0; i < sizeof(valid) / sizeof(valid[0]); i++)
                ck_assert_msg(wire_name_is_valid(valid[i], strlen(valid[i])), "%s", valid[i]);
        for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
                ck_assert_msg(!wire_name_is_valid(invalid[i], strlen(invalid[i])), "%s", invalid[i]);
        ck_assert(!wire_name_is_valid("a\0b", 3));

        memset(name, 'n', sizeof(name));
        ck_assert(!wire_name_is_valid(name, 0));
        ck_assert(wire_name_is_valid(name, 1));
        ck_assert(wire_name_is_valid(name, WIRE_NAME_MAX));
        ck_assert(!wire_name_is_valid(name, WIRE_NAME_MAX + 1));
}
END_TEST

START_TEST(words_for_numbers) {
        ck_assert_str_eq(wire_state_name(WIRE_STATE_GONE), "gone");
        ck_assert_str_eq(wire_state_name(_WIRE_STATE_N), "?");
        ck_assert_str_eq(wire_reason_name(WIRE_REASON_LINK_LOST), "link lost");
        ck_assert_str_eq(wire_reason_name(_WIRE_REASON_N), "?");
        ck_assert_str_eq(wire_refusal_name(0), "?");
        ck_assert_str_eq(wire_refusal_name(WIRE_REFUSED_RESUME), "resume refused");
        ck_assert_str_eq(wire_refusal_name(8), "?");
        ck_assert_str_eq(wire_state_name(UINT32_MAX), "?");
}
END_TEST

TEST_MAIN("wire", there_and_back, bytes_after_the_last_field_are_ignored, every_truncation_fails,
          every_buffer_too_small_is_refused, failure_leaves_the_output_untouched, header_there_and_back, integers_at_their_edges,
          a_failed_reader_gives_zeros, a_failed_writer_leaves_out_the_whole_field, texts_at_their_limits, text, every_code_point,
          names, words_for_numbers)
