/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Broadcasts of others: each once and in order, and what is missing is asked for, once. */

#include <errno.h>

#include "client/intake.h"
#include "tests/unit/run-tests.h"

enum { A = 7 };

static Intake intake;
static unsigned n_asked;
static uint64_t asked_first;
static int ask_result;

static int on_acknowledge(uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit, void *userdata) {
        ck_abort_msg("broadcasts are not acknowledged");
        return 0;
}

static int on_ask(uint64_t source, uint64_t first, void *userdata) {
        if (ask_result < 0)
                return ask_result;
        ck_assert_uint_eq(source, A);
        n_asked++;
        asked_first = first;
        return 0;
}

static int on_watch(uint64_t source, void *userdata) {
        return 0;
}

static const IntakeCallbacks callbacks = { on_acknowledge, on_ask, on_watch };

static void setup(void) {
        n_asked = 0;
        ask_result = 0;
        intake_init(&intake, &callbacks, NULL);
        intake.began_here = true;
}

static void teardown(void) {
        intake_deinit(&intake);
}

/* True if it is handed on. */
static bool hear(uint64_t sequence) {
        WireHeader header = { .type = WIRE_DATA, .source = A, .target = WIRE_TARGET_BROADCAST, .sequence = sequence,
                              .flags = WIRE_RELIABLE | WIRE_FIRST | WIRE_LAST };
        int r;

        r = heard_begin(&intake, &header);
        ck_assert_int_ge(r, 0);
        if (r > 0)
                heard_end(&intake);
        return r > 0;
}

static int mark_with(uint64_t sequence, uint8_t flags, uint64_t target, uint64_t before) {
        return heard_mark(&intake, &(WireHeader) { .type = WIRE_MARK, .flags = flags, .source = A, .target = target,
                                                   .sequence = sequence }, before);
}

static void mark(uint64_t sequence) {
        ck_assert_int_eq(mark_with(sequence, 0, 1, 0), 0);
}

/* So many requests since the last look, the last one from here on. */
static void check_asked(unsigned n, uint64_t first) {
        ck_assert_uint_eq(n_asked, n);
        if (n > 0)
                ck_assert_uint_eq(asked_first, first);
        n_asked = 0;
}

START_TEST(test_order) {
        for (uint64_t i = 1; i <= 5; i++) {
                ck_assert(hear(i));
                ck_assert(!hear(i));
                ck_assert(!hear(1));
        }
        check_asked(0, 0);
        ck_assert_uint_eq(heard_missing(&intake, A), 0);
        ck_assert_uint_eq(heard_missing(&intake, 99), 0);
}
END_TEST

/* A newcomer wants nothing of what was before it. */
START_TEST(test_baseline) {
        ck_assert_int_eq(mark_with(41, WIRE_MARK_BASELINE, 1, 0), 0);
        check_asked(0, 0);
        ck_assert_uint_eq(heard_missing(&intake, A), 0);
        ck_assert(!hear(41));
        ck_assert(hear(42));
        ck_assert_int_eq(mark_with(50, WIRE_MARK_BASELINE, 1, 0), 0); /* only the first word on it counts */
        check_asked(1, 43);
}
END_TEST

START_TEST(test_gap) {
        ck_assert(hear(1));
        ck_assert(!hear(4));
        check_asked(1, 2);
        ck_assert(!hear(5)); /* one request at a time */
        ck_assert(!hear(3));
        check_asked(0, 0);
        ck_assert_uint_eq(heard_missing(&intake, A), 4);
        ck_assert(hear(2)); /* the answer */
        ck_assert(hear(3));
        check_asked(0, 0);
        mark(5); /* that was all of the answer */
        check_asked(1, 4);
        ck_assert(hear(4));
        ck_assert(hear(5));
        mark(5);
        check_asked(0, 0);
        ck_assert(!hear(7)); /* the next gap */
        check_asked(1, 6);
}
END_TEST

/* All is there before the MARK comes: a new gap is a new request. */
START_TEST(test_gap_closed) {
        ck_assert(!hear(2));
        check_asked(1, 1);
        ck_assert(hear(1));
        ck_assert(hear(2));
        ck_assert(!hear(4));
        check_asked(1, 3);
}
END_TEST

START_TEST(test_mark) {
        mark(3); /* the first that is heard of it, and no baseline */
        check_asked(1, 1);
        mark(3);
        check_asked(1, 1);
        mark(2); /* an old one asks for what is known to be missing all the same */
        check_asked(1, 1);
        ck_assert_uint_eq(heard_missing(&intake, A), 3);
        for (uint64_t i = 1; i <= 3; i++)
                ck_assert(hear(i));
        mark(3);
        mark(0);
        check_asked(0, 0);
}
END_TEST

START_TEST(test_lost) {
        static const struct {
                uint64_t first, last, n;
        } answers[] = {
                { 4, 5, 0 },  /* not from what is wanted on */
                { 1, 2, 0 },  /* of what is here */
                { 1, 11, 0 }, /* of what is not known to exist */
                { 3, 2, 0 },
                { 0, UINT64_MAX, 0 },
                { 1, 6, 4 }, /* 3 to 6 */
                { 1, 6, 0 },
                { 7, 10, 4 },
        };

        ck_assert_uint_eq(heard_count_lost(&intake, A, 1, 1), 0);
        hear(1);
        hear(2);
        ck_assert(!hear(10));
        check_asked(1, 3);
        for (unsigned i = 0; i < N_ELEMENTS(answers); i++) {
                ck_assert_uint_eq(heard_count_lost(&intake, A, answers[i].first, answers[i].last), answers[i].n);
                heard_lost(&intake, A, answers[i].first, answers[i].last);
        }
        ck_assert_uint_eq(heard_missing(&intake, A), 0);
        ck_assert(!hear(10));
        ck_assert(hear(11));
        check_asked(0, 0);
        mark(12);
        check_asked(1, 12);
}
END_TEST

/* A request or its answer may have died with a link. */
START_TEST(test_again) {
        ck_assert_int_eq(heard_back(&intake, A), 0); /* not known */
        hear(1);
        ck_assert_int_eq(heard_back(&intake, A), 0);
        ck_assert_int_eq(heard_renew(&intake), 0);
        check_asked(0, 0);
        hear(3);
        check_asked(1, 2);
        ck_assert_int_eq(heard_back(&intake, A), 0);
        check_asked(1, 2);
        ck_assert_int_eq(heard_renew(&intake), 0);
        check_asked(1, 2);
        hear(4);
        check_asked(0, 0);
        hear(2);
        ck_assert_int_eq(heard_back(&intake, A), 0);
        check_asked(1, 3);
}
END_TEST

START_TEST(test_no_memory) {
        WireHeader header = { .source = A, .sequence = 3 };

        ask_result = -ENOMEM;
        ck_assert_int_eq(heard_begin(&intake, &header), -ENOMEM);
        ck_assert_int_eq(mark_with(3, 0, 1, 0), -ENOMEM);
        ck_assert_int_eq(heard_renew(&intake), -ENOMEM);
        ck_assert_int_eq(heard_back(&intake, A), -ENOMEM);
        ask_result = 0;
        ck_assert_int_eq(heard_begin(&intake, &header), 0);
        check_asked(1, 1);
}
END_TEST

/* The service was restarted and knows no number; the sender says how many there were before that. Who came after it wants those
 * that were sent since, and no earlier ones. */
START_TEST(test_before) {
        static const struct {
                uint64_t target;
                bool began_here;
                uint64_t before, first;
        } cases[] = {
                { WIRE_TARGET_BROADCAST, true, 7, 8 },
                { WIRE_TARGET_BROADCAST, true, 0, 1 },
                { WIRE_TARGET_BROADCAST, true, 10, 11 },
                { WIRE_TARGET_BROADCAST, true, 11, 1 }, /* more than there are: nonsense */
                { WIRE_TARGET_BROADCAST, false, 7, 1 }, /* our session is older: they were for us */
                { 1, true, 7, 1 },                      /* the answer to a request: so we had wanted some */
        };

        for (unsigned i = 0; i < N_ELEMENTS(cases); i++) {
                intake.began_here = cases[i].began_here;
                ck_assert_int_eq(mark_with(10, 0, cases[i].target, cases[i].before), 0);
                check_asked(cases[i].first <= 10, cases[i].first);
                ck_assert_int_eq(mark_with(10, 0, WIRE_TARGET_BROADCAST, 9), 0); /* only the first word on it counts */
                check_asked(cases[i].first <= 10, cases[i].first);
                ck_assert(hear(cases[i].first));
                intake_reset(&intake);
        }
}
END_TEST

/* The source goes between the two. */
START_TEST(test_gone) {
        WireHeader header = { .source = A, .sequence = 1 };

        ck_assert_int_eq(heard_begin(&intake, &header), 1);
        intake_source_gone(&intake, A);
        heard_end(&intake);
        ck_assert_uint_eq(heard_missing(&intake, A), 0);
        ck_assert(hear(1));
}
END_TEST

TEST_MAIN_FIXTURE("client-heard", setup, teardown, test_order, test_baseline, test_gap, test_gap_closed, test_mark, test_lost,
                  test_again, test_no_memory, test_before, test_gone)
