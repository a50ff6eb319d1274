/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Messages of several frames: put together, handed out in parts, and dropped when their frames do not fit. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/assembly.h"
#include "tests/unit/run-tests.h"

static Assembly assembly;
static DirectMessage *messages[64];
static size_t n_messages;
static unsigned n_sources_on, n_sources_off;

static void on_message(DirectMessage *message, uint8_t flags, void *userdata) {
        ck_assert_uint_lt(n_messages, N_ELEMENTS(messages));
        messages[n_messages++] = message;
}

static void on_source(uint64_t source, bool on, void *userdata) {
        if (on)
                n_sources_on++;
        else
                n_sources_off++;
}

static const AssemblyCallbacks callbacks = { on_message, on_source };

static void setup(void) {
        n_messages = n_sources_on = n_sources_off = 0;
        assembly_init(&assembly, &callbacks, NULL);
        assembly.max_message = 1000;
}

static void teardown(void) {
        for (size_t i = 0; i < n_messages; i++)
                direct_message_free(messages[i]);
        assembly_deinit(&assembly);
        ck_assert_uint_eq(n_sources_on, n_sources_off);
        ck_assert_uint_eq(assembly.n_held, 0);
}

static int put(uint64_t source, uint32_t stream, uint8_t flags, uint64_t total, const char *text) {
        uint8_t payload[256];
        size_t n = 0;

        if ((flags & (WIRE_FIRST | WIRE_LAST)) == WIRE_FIRST) {
                wire_store_u64(payload, total);
                n = 8;
        }
        memcpy(payload + n, text, strlen(text));
        return assembly_frame(&assembly,
                              &(WireHeader) { .length = (uint32_t) (n + strlen(text)),
                                              .type = WIRE_DATA,
                                              .flags = flags,
                                              .kind = 3,
                                              .source = source,
                                              .target = 1,
                                              .stream = stream,
                                              .tag = 9 },
                              payload);
}

static void check(size_t i, uint64_t source, const char *text, uint64_t offset, bool is_last, bool is_failed) {
        ck_assert_uint_lt(i, n_messages);
        ck_assert_uint_eq(messages[i]->source, source);
        ck_assert_uint_eq(messages[i]->size, strlen(text));
        ck_assert_mem_eq(messages[i]->data, text, strlen(text));
        ck_assert_uint_eq(messages[i]->offset, offset);
        ck_assert_int_eq(messages[i]->is_last, is_last);
        ck_assert_int_eq(messages[i]->is_failed, is_failed);
}

START_TEST(test_whole) {
        ck_assert_int_eq(put(2, 0, WIRE_FIRST | WIRE_LAST, 0, ""), 0);
        ck_assert_int_eq(put(2, 7, WIRE_FIRST | WIRE_LAST | WIRE_REQUEST, 0, "abc"), 0);
        check(0, 2, "", 0, true, false);
        check(1, 2, "abc", 0, true, false);
        ck_assert_uint_eq(messages[1]->stream, 0);
        ck_assert_uint_eq(messages[1]->total, 3);
        ck_assert(messages[1]->is_request);
        ck_assert_uint_eq(n_sources_on, 0);
}
END_TEST

START_TEST(test_together) {
        ck_assert_int_eq(put(2, 1, WIRE_FIRST, 9, "abc"), 0);
        ck_assert_int_eq(put(2, 2, WIRE_FIRST, 4, "12"), 0);
        ck_assert_int_eq(put(3, 1, WIRE_FIRST, 2, "x"), 0);
        ck_assert_int_eq(put(2, 0, WIRE_FIRST | WIRE_LAST, 0, "small"), 0); /* in between */
        ck_assert_int_eq(put(2, 1, 0, 0, "def"), 0);
        ck_assert_int_eq(put(2, 2, WIRE_LAST, 0, "34"), 0);
        ck_assert_int_eq(put(2, 1, WIRE_LAST, 0, "ghi"), 0);
        ck_assert_int_eq(put(3, 1, WIRE_LAST, 0, "y"), 0);
        check(0, 2, "small", 0, true, false);
        check(1, 2, "1234", 0, true, false);
        check(2, 2, "abcdefghi", 0, true, false);
        check(3, 3, "xy", 0, true, false);
        ck_assert_uint_eq(n_sources_on, 2);
        ck_assert_uint_eq(n_sources_off, 2);
        ck_assert_uint_eq(messages[2]->stream, 0);
        ck_assert_uint_eq(messages[2]->tag, 9);
        ck_assert_uint_eq(messages[2]->kind, 3);
}
END_TEST

START_TEST(test_parts) {
        const uint64_t totals[] = { 1001, WIRE_SIZE_UNKNOWN };

        for (size_t i = 0; i < 2; i++) {
                char text[201];
                size_t first = n_messages;

                memset(text, 'x', 200);
                text[200] = '\0';
                ck_assert_int_eq(put(2, 1, WIRE_FIRST, totals[i], text), 0);
                for (int j = 0; j < 4; j++)
                        ck_assert_int_eq(put(2, 1, 0, 0, text), 0);
                ck_assert_int_eq(put(2, 1, WIRE_LAST | WIRE_REQUEST, 0, "z"), 0);
                ck_assert_uint_eq(n_messages - first, 6);
                for (size_t j = 0; j < 5; j++) {
                        check(first + j, 2, text, j * 200, false, false);
                        ck_assert_uint_eq(messages[first + j]->total, totals[i]);
                        ck_assert_uint_eq(messages[first + j]->stream, 1);
                }
                check(first + 5, 2, "z", 1000, true, false);
                ck_assert_uint_eq(messages[first + 5]->total, 1001);
        }
}
END_TEST

START_TEST(test_limit) {
        ck_assert_int_eq(put(2, 1, WIRE_FIRST, 1000, "a"), 0);
        ck_assert_uint_eq(n_messages, 0);
        ck_assert_uint_eq(assembly.n_held, 1000);
        ck_assert_int_eq(put(2, 2, WIRE_FIRST, 1001, "a"), 0);
        ck_assert_uint_eq(n_messages, 1);
        /* So many at the same time, and no more: the rest is handed out in parts */
        for (uint32_t i = 3; i < 100; i++)
                (void) put(2, i, WIRE_FIRST, 1000, "");
        ck_assert_uint_eq(assembly.n_held, 1000 * ASSEMBLY_HELD_FACTOR);
        ck_assert_int_eq(put(2, 99, 0, 0, "b"), 0);
        ck_assert_uint_eq(n_messages, 2);
}
END_TEST

START_TEST(test_sizes_that_do_not_fit) {
        ck_assert_int_eq(put(2, 1, WIRE_FIRST, 2, "abc"), -EBADMSG);
        ck_assert_int_eq(put(2, 1, WIRE_LAST, 0, ""), -EBADMSG); /* dropped already */
        ck_assert_int_eq(put(2, 2, WIRE_FIRST, 4, "abc"), 0);
        ck_assert_int_eq(put(2, 2, WIRE_LAST, 0, ""), -EBADMSG);
        ck_assert_int_eq(put(2, 3, WIRE_FIRST, 4, "abc"), 0);
        ck_assert_int_eq(put(2, 3, 0, 0, "de"), -EBADMSG);
        ck_assert_int_eq(put(2, 4, 0, 0, "de"), -EBADMSG);
        ck_assert_uint_eq(n_messages, 0);
        ck_assert_int_eq(put(2, 5, WIRE_FIRST, 2000, "abc"), 0);
        ck_assert_int_eq(put(2, 5, WIRE_LAST, 0, "d"), -EBADMSG);
        check(0, 2, "abc", 0, false, false);
        check(1, 2, "", 3, true, true);
        ck_assert_uint_eq(assembly.by_stream.n_nodes, 0);
}
END_TEST

START_TEST(test_ends) {
        ck_assert_int_eq(put(2, 1, WIRE_FIRST, WIRE_SIZE_UNKNOWN, "abc"), 0);
        ck_assert_int_eq(put(2, 2, WIRE_FIRST, 100, "abc"), 0);
        ck_assert_int_eq(put(3, 1, WIRE_FIRST, WIRE_SIZE_UNKNOWN, "abc"), 0);
        assembly_source_gone(&assembly, 2);
        assembly_source_gone(&assembly, 77);
        ck_assert_uint_eq(n_messages, 3);
        check(2, 2, "", 3, true, true);
        ck_assert_int_eq(put(3, 1, WIRE_FIRST, WIRE_SIZE_UNKNOWN, "new"), 0); /* begins anew: the old one has failed */
        check(3, 3, "", 3, true, true);
        check(4, 3, "new", 0, false, false);
        ck_assert_int_eq(put(3, 1, WIRE_LAST | WIRE_FAILED, 0, ""), 0); /* given up by its sender */
        check(5, 3, "", 3, true, true);
        ck_assert_int_eq(put(4, 1, WIRE_FIRST, WIRE_SIZE_UNKNOWN, "x"), 0);
        assembly_reset(&assembly);
        check(7, 4, "", 1, true, true);
        ck_assert_uint_eq(assembly.by_source.n_nodes, 0);
}
END_TEST

/* The numbers of streams are the sender's to each target: a broadcast and a message to us may have the same. */
START_TEST(test_broadcast) {
        WireHeader header = {
                .length = 9, .type = WIRE_DATA, .flags = WIRE_FIRST, .source = 2, .target = WIRE_TARGET_BROADCAST, .stream = 1
        };

        ck_assert_int_eq(assembly_frame(&assembly, &header, (const uint8_t *) "\2\0\0\0\0\0\0\0a"), 0);
        ck_assert_int_eq(put(2, 1, WIRE_FIRST, 2, "1"), 0);
        header.length = 1;
        header.flags = WIRE_LAST;
        ck_assert_int_eq(assembly_frame(&assembly, &header, (const uint8_t *) "b"), 0);
        ck_assert_int_eq(put(2, 1, WIRE_LAST, 0, "2"), 0);
        check(0, 2, "ab", 0, true, false);
        check(1, 2, "12", 0, true, false);
        ck_assert(messages[0]->is_broadcast);
        ck_assert(!messages[1]->is_broadcast);
}
END_TEST

TEST_MAIN_FIXTURE("client-assembly", setup, teardown, test_whole, test_together, test_parts, test_limit,
                  test_sizes_that_do_not_fit, test_ends, test_broadcast)
