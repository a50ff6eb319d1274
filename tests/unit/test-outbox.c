/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <string.h>

#include "service/core/outbox.h"
#include "tests/unit/run-tests.h"

static Turn turn;
static Outbox o;

static void setup(void) {
        ck_assert_int_eq(turn_init(&turn), 0);
        o = OUTBOX_NULL;
}

static void teardown(void) {
        outbox_deinit(&o);
        turn_deinit(&turn);
}

/* What would be written, up to `max` bytes, as text */
static const char *peek(size_t max) {
        static char text[256];
        struct iovec iov[64];
        size_t n = outbox_get(&o, &turn, iov, 64), size = 0;

        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < iov[i].iov_len && size < max; j++)
                        text[size++] = ((const char *) iov[i].iov_base)[j];
        text[size] = '\0';
        return text;
}

static void borrow(const char *text) {
        ck_assert_int_eq(outbox_borrow(&o, &turn, (const uint8_t *) text, strlen(text)), 0);
}

static void keep(void) {
        ck_assert_int_eq(outbox_keep(&o, &turn), 0);
        turn_end(&turn);
}

/* The first frame of all has gone out. */
static void open_it(void) {
        borrow("W");
        outbox_sent(&o, &turn, 1);
}

static void urgent(const char *text) {
        ck_assert_int_eq(outbox_copy_urgent(&o, &turn, (const uint8_t *) text, strlen(text)), 0);
}

START_TEST(neighbours_are_one_segment) {
        static const char data[] = "aaaabbbbcccc";
        struct iovec iov[8];

        ck_assert_int_eq(outbox_borrow(&o, &turn, (const uint8_t *) data, 4), 0);
        ck_assert_int_eq(outbox_borrow(&o, &turn, (const uint8_t *) data + 4, 4), 0);
        ck_assert_uint_eq(outbox_get(&o, &turn, iov, 8), 1);
        ck_assert_uint_eq(iov[0].iov_len, 8);
        borrow("xx");
        ck_assert_uint_eq(outbox_get(&o, &turn, iov, 8), 2);
        ck_assert_uint_eq(outbox_get(&o, &turn, iov, 1), 1);
        ck_assert_uint_eq(outbox_size(&o), 10);
        ck_assert_uint_eq(o.n_kept, 0);
}
END_TEST

/* At every place where a write may stop, before and after the rest is kept */
START_TEST(short_writes) {
        for (size_t first = 0; first <= 12; first++)
                for (size_t second = 0; second <= 12 - first; second++) {
                        borrow("aaaa");
                        borrow("bbbb");
                        borrow("cccc");
                        outbox_sent(&o, &turn, first);
                        ck_assert_str_eq(peek(99), &"aaaabbbbcccc"[first]);
                        keep();
                        ck_assert_uint_eq(o.n_kept, 12 - first);
                        ck_assert_uint_eq(o.n_borrowed, 0);
                        borrow("dd");
                        outbox_sent(&o, &turn, second);
                        keep();
                        ck_assert_uint_eq(outbox_size(&o), 14 - first - second);
                        ck_assert_str_eq(peek(99), &"aaaabbbbccccdd"[first + second]);
                        outbox_sent(&o, &turn, outbox_size(&o));
                        ck_assert_uint_eq(outbox_size(&o), 0);
                        ck_assert_ptr_null(o.head);
                        ck_assert_ptr_null(o.tail);
                }
}
END_TEST

START_TEST(urgent_passes_what_is_kept_but_not_a_begun_frame) {
        open_it();
        borrow("aaaa");
        keep();
        urgent("U1");
        urgent("U2");
        ck_assert_str_eq(peek(99), "U1U2aaaa");
        outbox_sent(&o, &turn, 6); /* into the run */
        ck_assert_str_eq(peek(99), "aa");
        borrow("bbbb");
        keep();
        urgent("U3");
        ck_assert_str_eq(peek(2), "aa");
        ck_assert_uint_eq(outbox_size(&o), 8);
        outbox_sent(&o, &turn, 1);
        urgent("U4"); /* behind U3 */
        ck_assert_ptr_nonnull(strstr(peek(99), "U3U4"));
        ck_assert_uint_eq(outbox_size(&o), 9);
}
END_TEST

START_TEST(urgent_does_not_pass_the_first_frame_of_all) {
        borrow("WWWW");
        keep();
        urgent("U1");
        borrow("aaaa");
        keep();
        urgent("U2");
        ck_assert_str_eq(peek(99), "WWWWU1U2aaaa");
        ck_assert_uint_eq(o.n_urgent, 4);
        outbox_sent(&o, &turn, 5);
        ck_assert_uint_eq(o.n_urgent, 3);
        outbox_drop(&o);
        ck_assert_str_eq(peek(99), "1U2"); /* a chunk that has begun stays */
        outbox_sent(&o, &turn, 3);
        ck_assert_uint_eq(o.n_urgent, 0);
        borrow("bbbb");
        keep();
        urgent("U3");
        ck_assert_str_eq(peek(99), "U3bbbb");
        outbox_drop(&o);
        ck_assert_uint_eq(o.n_urgent, 0);
}
END_TEST

START_TEST(urgent_passes_a_large_backlog) {
        static uint8_t run[100 * 1024];

        for (size_t i = 0; i < 10; i++) {
                ck_assert_int_eq(outbox_borrow(&o, &turn, run, sizeof(run)), 0);
                keep();
        }
        outbox_sent(&o, &turn, 10);
        urgent("U");
        outbox_sent(&o, &turn, sizeof(run) - 10);
        ck_assert_str_eq(peek(1), "U");
        ck_assert_uint_eq(outbox_size(&o), 9 * sizeof(run) + 1);
}
END_TEST

START_TEST(urgent_is_in_order_when_nothing_is_kept) {
        borrow("aa");
        urgent("U");
        borrow("bb");
        ck_assert_str_eq(peek(99), "aaUbb");
}
END_TEST

START_TEST(drop_leaves_the_begun_run) {
        borrow("aaaa");
        keep();
        borrow("bbbb");
        outbox_drop(&o);
        ck_assert_uint_eq(outbox_size(&o), 0);

        borrow("aaaa");
        borrow("bbbb");
        outbox_sent(&o, &turn, 2);
        keep();
        borrow("cccc");
        outbox_drop(&o);
        borrow("END");
        ck_assert_str_eq(peek(2), "aa");
        ck_assert_ptr_nonnull(strstr(peek(99), "END"));
        ck_assert_ptr_null(strstr(peek(99), "cccc"));
}
END_TEST

/* What the turn has no room for is copied, in the same order. */
START_TEST(more_than_a_turn_holds) {
        size_t n = TURN_N_SEGMENTS + 100;
        struct iovec iov[4];
        uint8_t byte[2];

        for (size_t i = 0; i < n; i++) {
                byte[0] = (uint8_t) i;
                ck_assert_int_eq(outbox_copy(&o, &turn, byte, 1), 0);
                borrow("x"); /* not next to it in memory */
        }
        ck_assert_uint_eq(outbox_size(&o), 2 * n);
        for (size_t i = 0; i < n; i++) {
                ck_assert_uint_ge(outbox_get(&o, &turn, iov, 4), 1);
                ck_assert_uint_eq(*(const uint8_t *) iov[0].iov_base, (uint8_t) i);
                outbox_sent(&o, &turn, 2);
        }
        ck_assert_uint_eq(outbox_size(&o), 0);
}
END_TEST

START_TEST(scratch_at_its_limit) {
        ck_assert_ptr_nonnull(turn_scratch(&turn, TURN_SCRATCH_SIZE));
        ck_assert_ptr_null(turn_scratch(&turn, 1));
        turn_end(&turn);
        ck_assert_ptr_null(turn_scratch(&turn, TURN_SCRATCH_SIZE + 1));
        ck_assert_ptr_nonnull(turn_scratch(&turn, 1));
}
END_TEST

TEST_MAIN_FIXTURE("outbox", setup, teardown, neighbours_are_one_segment, short_writes,
                  urgent_passes_what_is_kept_but_not_a_begun_frame, urgent_does_not_pass_the_first_frame_of_all,
                  urgent_passes_a_large_backlog, urgent_is_in_order_when_nothing_is_kept, drop_leaves_the_begun_run,
                  more_than_a_turn_holds, scratch_at_its_limit)
