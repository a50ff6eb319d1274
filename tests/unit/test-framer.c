/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames out of a stream that is cut anywhere, and the limits of a length. */

#include <errno.h>

#include "protocol/framer.h"
#include "run-tests.h"

/* Four frames: empty, one byte, one of several hundred, empty. */
enum { N_FRAMES = 4 };
static const uint32_t lengths[N_FRAMES] = { 0, 1, 300, 0 };
enum { STREAM_SIZE = N_FRAMES * WIRE_HEADER_SIZE + 301 };

static uint8_t stream[STREAM_SIZE];

static void make_stream(void) {
        uint8_t *p = stream;

        for (uint32_t i = 0; i < N_FRAMES; i++) {
                WireHeader header = { .length = lengths[i], .type = WIRE_DATA, .target = i + 1, .sequence = 100 + i };

                wire_header_store(p, &header);
                p += WIRE_HEADER_SIZE;
                for (uint32_t k = 0; k < lengths[i]; k++)
                        *p++ = (uint8_t) (k * 7 + i);
        }
        ck_assert_uint_eq((size_t) (p - stream), STREAM_SIZE);
}

/* Reads as a link does: what was kept goes to the front, the new bytes behind it, the rest is kept again. */
typedef struct Reading {
        Framer framer;
        uint8_t buffer[2 * WIRE_FRAME_MAX];
        uint8_t seen[STREAM_SIZE]; /* all frames, one after the other */
        size_t n_seen;
        unsigned n_frames;
} Reading;

static int feed(Reading *r, const uint8_t *data, size_t n) {
        size_t have = framer_take(&r->framer, r->buffer), begin = 0, size;
        int k;

        memcpy(r->buffer + have, data, n);
        have += n;
        while ((k = framer_peek(r->buffer + begin, have - begin, &size)) == 0) {
                memcpy(r->seen + r->n_seen, r->buffer + begin, size);
                r->n_seen += size;
                r->n_frames++;
                begin += size;
        }
        if (k != FRAMER_E_MORE)
                return k;
        return framer_keep(&r->framer, r->buffer + begin, have - begin);
}

static void assert_all_seen(Reading *r) {
        ck_assert_uint_eq(r->n_frames, N_FRAMES);
        ck_assert_uint_eq(r->n_seen, STREAM_SIZE);
        ck_assert_mem_eq(r->seen, stream, STREAM_SIZE);
        ck_assert_uint_eq(r->framer.n_tail, 0);
        framer_deinit(&r->framer);
}

static Reading reading;

static void setup(void) {
        make_stream();
        reading.framer = FRAMER_NULL;
        reading.n_seen = 0;
        reading.n_frames = 0;
}

START_TEST(whole) {
        ck_assert_int_eq(feed(&reading, stream, STREAM_SIZE), 0);
        assert_all_seen(&reading);
}
END_TEST

START_TEST(byte_by_byte) {
        for (size_t i = 0; i < STREAM_SIZE; i++)
                ck_assert_int_eq(feed(&reading, stream + i, 1), 0);
        assert_all_seen(&reading);
}
END_TEST

START_TEST(every_split_in_two) {
        for (size_t i = 0; i <= STREAM_SIZE; i++) {
                setup();
                ck_assert_int_eq(feed(&reading, stream, i), 0);
                ck_assert_int_eq(feed(&reading, stream + i, STREAM_SIZE - i), 0);
                assert_all_seen(&reading);
        }
}
END_TEST

START_TEST(every_split_in_three) {
        for (size_t i = 0; i <= STREAM_SIZE; i++)
                for (size_t j = i; j <= STREAM_SIZE; j += 3) {
                        setup();
                        ck_assert_int_eq(feed(&reading, stream, i), 0);
                        ck_assert_int_eq(feed(&reading, stream + i, j - i), 0);
                        ck_assert_int_eq(feed(&reading, stream + j, STREAM_SIZE - j), 0);
                        assert_all_seen(&reading);
                }
}
END_TEST

START_TEST(the_largest_frame) {
        static uint8_t frame[WIRE_FRAME_MAX];
        size_t size = 0;

        wire_header_store(frame, &(WireHeader) { .length = WIRE_PAYLOAD_MAX, .type = WIRE_DATA });
        ck_assert_int_eq(framer_peek(frame, WIRE_FRAME_MAX - 1, &size), FRAMER_E_MORE);
        ck_assert_uint_eq(size, 0);
        ck_assert_int_eq(framer_peek(frame, WIRE_FRAME_MAX, &size), 0);
        ck_assert_uint_eq(size, WIRE_FRAME_MAX);
}
END_TEST

START_TEST(a_length_above_the_limit_is_seen_at_once) {
        static const uint32_t bad[] = { WIRE_PAYLOAD_MAX + 1, 0x7fffffff, 0x80000000, UINT32_MAX - 39, UINT32_MAX };
        uint8_t header[WIRE_HEADER_SIZE] = {};
        size_t size = 0;

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                wire_store_u32(header, bad[i]);
                for (size_t n = 0; n < 4; n++)
                        ck_assert_int_eq(framer_peek(header, n, &size), FRAMER_E_MORE);
                for (size_t n = 4; n <= sizeof(header); n++)
                        ck_assert_int_eq(framer_peek(header, n, &size), FRAMER_E_LENGTH);
        }
        ck_assert_uint_eq(size, 0);
}
END_TEST

START_TEST(keeping_has_a_limit) {
        static uint8_t buffer[WIRE_FRAME_MAX];
        Framer f = FRAMER_NULL;

        ck_assert_int_eq(framer_keep(&f, buffer, WIRE_FRAME_MAX - 1), 0);
        ck_assert_int_eq(framer_keep(&f, buffer, WIRE_FRAME_MAX), -EINVAL);
        ck_assert_uint_eq(framer_take(&f, buffer), WIRE_FRAME_MAX - 1);
        ck_assert_ptr_null(f.tail);
        ck_assert_uint_eq(framer_take(&f, buffer), 0);

        ck_assert_int_eq(framer_keep(&f, NULL, 0), 0);
        ck_assert_uint_eq(framer_take(&f, buffer), 0);
        framer_deinit(&f);
        framer_deinit(&f);
}
END_TEST

START_TEST(an_idle_link_owns_no_buffer) {
        ck_assert_int_eq(feed(&reading, stream, 10), 0);
        ck_assert_uint_eq(reading.framer.n_allocated, 10);
        ck_assert_int_eq(feed(&reading, stream + 10, STREAM_SIZE - 10), 0);
        ck_assert_ptr_null(reading.framer.tail);
}
END_TEST

TEST_MAIN_FIXTURE("framer", setup, NULL, whole, byte_by_byte, every_split_in_two, every_split_in_three, the_largest_frame,
          a_length_above_the_limit_is_seen_at_once, keeping_has_a_limit, an_idle_link_owns_no_buffer)
