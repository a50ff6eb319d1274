/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Incoming flows: what is handed on, what is acknowledged and when, and how much credit is given. */

#include <errno.h>

#include "client/intake.h"
#include "tests/unit/run-tests.h"

enum { INITIAL = 1024 * 1024, N_ACKS = 64, A = 7, B = 8 };

typedef struct Ack {
        uint64_t source, sequence, credit;
        uint32_t stream;
} Ack;

static Intake intake;
static Ack acks[N_ACKS];
static unsigned n_acks, n_watched;
static int ack_result, watch_result;
static Receipt receipts[64];

static int on_acknowledge(uint64_t source, uint32_t stream, uint64_t sequence, uint64_t credit, void *userdata) {
        if (ack_result < 0)
                return ack_result;
        ck_assert_uint_lt(n_acks, N_ACKS);
        acks[n_acks++] = (Ack) { source, sequence, credit, stream };
        return 0;
}

static int on_ask(uint64_t source, uint64_t first, void *userdata) {
        ck_abort_msg("nothing is asked for");
        return 0;
}

static int on_watch(uint64_t source, void *userdata) {
        if (watch_result == 0)
                n_watched++;
        return watch_result;
}

static const IntakeCallbacks callbacks = { on_acknowledge, on_ask, on_watch };

static void setup(void) {
        n_acks = n_watched = 0;
        ack_result = watch_result = 0;
        intake_init(&intake, &callbacks, NULL);
        intake.initial_credit = INITIAL;
}

static void teardown(void) {
        intake_deinit(&intake);
}

static WireHeader frame(uint64_t source, uint32_t stream, uint64_t sequence, uint32_t length, uint8_t flags) {
        return (WireHeader) { .length = length, .type = WIRE_DATA, .flags = WIRE_RELIABLE | flags, .source = source,
                              .sequence = sequence, .stream = stream };
}

static int begin(uint64_t source, uint32_t stream, uint64_t sequence, uint32_t length, uint8_t flags) {
        WireHeader header = frame(source, stream, sequence, length, flags);

        return intake_begin(&intake, &header);
}

/* A small message; its receipt is kept until it is taken. */
static void receive(uint64_t sequence, Receipt *receipt) {
        ck_assert_int_eq(begin(A, 0, sequence, 60, WIRE_FIRST | WIRE_LAST), 1);
        intake_attach(&intake, receipt);
        intake_end(&intake, true);
}

/* Of a message that is put together in the library: nobody waits with it. */
static void receive_part(uint64_t source, uint32_t stream, uint64_t sequence, uint32_t length, uint8_t flags) {
        ck_assert_int_eq(begin(source, stream, sequence, length, flags), 1);
        intake_end(&intake, true);
}

/* What is acknowledged now: one flow. Returns its credit. */
static uint64_t check_ack(uint64_t source, uint32_t stream, uint64_t sequence) {
        n_acks = 0;
        ck_assert_int_eq(intake_acknowledge(&intake), 0);
        ck_assert_uint_eq(n_acks, 1);
        ck_assert_uint_eq(acks[0].source, source);
        ck_assert_uint_eq(acks[0].stream, stream);
        ck_assert_uint_eq(acks[0].sequence, sequence);
        ck_assert(!intake_is_due(&intake));
        return acks[0].credit;
}

static void check_no_ack(void) {
        n_acks = 0;
        ck_assert_int_eq(intake_acknowledge(&intake), 0);
        ck_assert_uint_eq(n_acks, 0);
}

START_TEST(test_order) {
        for (unsigned i = 1; i <= 5; i++)
                receive(i, &receipts[i]);
        ck_assert_int_eq(begin(A, 0, 7, 60, 3), 0); /* after a gap */
        ck_assert_int_eq(begin(A, 0, 3, 60, 3), 0); /* again */
        ck_assert_int_eq(begin(A, 0, 6, 60, 3), 1);
        intake_attach(&intake, &receipts[6]);
        intake_end(&intake, true);
        ck_assert_int_eq(begin(A, 0, 7, 60, 3), 1);
        intake_end(&intake, false); /* no memory: it is as if it had not come */
        ck_assert_int_eq(begin(A, 0, 8, 60, 3), 0);
        ck_assert_int_eq(begin(A, 0, 7, 60, 3), 1);
        intake_end(&intake, true);
        ck_assert_int_eq(begin(B, 0, 1, 60, 3), 1); /* another source counts for itself */
        intake_end(&intake, true);
        ck_assert_uint_eq(n_watched, 2);
}
END_TEST

/* Acknowledged is what is taken, not what is here. */
START_TEST(test_taken) {
        for (unsigned i = 1; i <= 5; i++)
                receive(i, &receipts[i]);
        check_no_ack();
        intake_take(&receipts[1]);
        intake_take(&receipts[2]);
        ck_assert(intake_is_due(&intake));
        check_ack(A, 0, 2);
        check_no_ack();
        intake_take(&receipts[2]); /* twice does no harm */
        check_no_ack();
        for (unsigned i = 3; i <= 5; i++)
                intake_take(&receipts[i]);
        check_ack(A, 0, 5);
}
END_TEST

START_TEST(test_duplicates) {
        for (unsigned i = 1; i <= 3; i++)
                receive(i, &receipts[i]);
        intake_take(&receipts[1]);
        check_ack(A, 0, 1);
        ck_assert_int_eq(begin(A, 0, 1, 60, 3), 0); /* our acknowledgement was lost */
        check_ack(A, 0, 1);
        ck_assert_int_eq(begin(A, 0, 3, 60, 3), 0); /* here, but not taken */
        check_ack(A, 0, 1);
        ck_assert_int_eq(begin(A, 0, 5, 60, 3), 0);
        check_no_ack();
}
END_TEST

/* Replies are taken past messages that wait: those hold the number, but not the credit. */
START_TEST(test_out_of_order) {
        uint64_t credit;

        for (unsigned i = 1; i <= 5; i++)
                receive(i, &receipts[i]);
        intake_take(&receipts[1]);
        credit = check_ack(A, 0, 1);
        intake_take(&receipts[5]);
        intake_take(&receipts[3]);
        ck_assert_uint_ge(check_ack(A, 0, 1), credit);
        ck_assert_uint_eq(intake_find_source(&intake, A)->messages.n_taken, 300);
        intake_take(&receipts[2]);
        check_ack(A, 0, 3);
        intake_take(&receipts[4]);
        check_ack(A, 0, 5);
}
END_TEST

/* Credit grows even while the very first message is not taken: else a program that only makes calls would stop at some reply. */
START_TEST(test_first_waits) {
        uint64_t sequence = 2, credit = INITIAL, n_bytes = 100;

        receive(1, &receipts[0]);
        for (; n_bytes + WIRE_FRAME_MAX <= credit && n_bytes < 4 * INITIAL; sequence++) {
                ck_assert_int_eq(begin(A, 0, sequence, WIRE_PAYLOAD_MAX, 3), 1);
                intake_attach(&intake, &receipts[1]);
                intake_end(&intake, true);
                n_bytes += WIRE_FRAME_MAX;
                intake_take(&receipts[1]);
                n_acks = 0;
                intake_acknowledge(&intake);
                if (n_acks > 0) {
                        ck_assert_uint_eq(acks[0].sequence, 0);
                        ck_assert_uint_gt(acks[0].credit, credit); /* else it says nothing */
                        credit = acks[0].credit;
                }
        }
        ck_assert_uint_ge(n_bytes, 4 * INITIAL);
}
END_TEST

/* taken + window, and never less than before. */
START_TEST(test_credit) {
        uint64_t before = INITIAL, n = 0;

        for (uint64_t i = 1; i <= 100; i++) {
                uint64_t credit, wanted;

                receive_part(A, 0, i, WIRE_PAYLOAD_MAX, WIRE_FIRST | WIRE_LAST);
                n += WIRE_FRAME_MAX;
                credit = check_ack(A, 0, i);
                wanted = n + INTAKE_WINDOW_MAX;
                ck_assert_uint_eq(credit, wanted > INITIAL ? wanted : INITIAL);
                ck_assert_uint_ge(credit, before);
                before = credit;
        }
        for (unsigned i = 0; i < 3; i++) { /* not taken: no more of it */
                receive(101 + i, &receipts[i]);
                check_no_ack();
        }
        intake_take(&receipts[0]);
        ck_assert_uint_eq(check_ack(A, 0, 101), before + 100);
}
END_TEST

/* The more that send, the less for each, between the bounds; and when they are quiet again, more. */
START_TEST(test_window) {
        enum { N_MAX = 100 };
        static const unsigned counts[] = { 1, 8, 16, N_MAX, 1 };
        uint64_t sequences[N_MAX] = {}, n_taken[N_MAX] = {};

        for (unsigned i = 0; i < N_ELEMENTS(counts); i++) {
                uint64_t share = INTAKE_BUDGET / counts[i], highest = 0, lowest = UINT64_MAX;

                share = share > INTAKE_WINDOW_MAX ? INTAKE_WINDOW_MAX : share < INTAKE_WINDOW_MIN ? INTAKE_WINDOW_MIN : share;
                for (unsigned round = 0; round < 100 + 2000 / counts[i]; round++)
                        for (unsigned j = 0; j < counts[i]; j++) {
                                uint64_t credit;

                                receive_part(100 + j, 0, ++sequences[j], WIRE_PAYLOAD_MAX, WIRE_FIRST | WIRE_LAST);
                                n_taken[j] += WIRE_FRAME_MAX;
                                credit = check_ack(100 + j, 0, sequences[j]);
                                if (round < 100)
                                        continue; /* what was given before is still being used up */
                                ck_assert_uint_ge(credit - n_taken[j], INTAKE_WINDOW_MIN);
                                highest = credit - n_taken[j] > highest ? credit - n_taken[j] : highest;
                                lowest = credit - n_taken[j] < lowest ? credit - n_taken[j] : lowest;
                        }
                if (counts[i] > 16) /* a generation holds sixteen of the largest frames */
                        share = INTAKE_BUDGET / 17 < INTAKE_WINDOW_MIN ? INTAKE_WINDOW_MIN : INTAKE_BUDGET / 17;
                ck_assert_uint_le(highest, share + WIRE_FRAME_MAX);
                ck_assert_uint_ge(lowest, INTAKE_WINDOW_MIN);
        }
}
END_TEST

/* Only a first frame begins a stream, in any order; one that has ended is acknowledged again. */
START_TEST(test_streams) {
        ck_assert_int_eq(begin(A, 4, 2, 10, 0), 0); /* its beginning will be sent again, and this with it */
        check_no_ack();
        receive_part(A, 4, 1, 10, WIRE_FIRST);
        check_ack(A, 4, 1);
        receive_part(A, 3, 1, 10, WIRE_FIRST | WIRE_LAST);
        check_ack(A, 3, 1);
        ck_assert_int_eq(begin(A, 3, 1, 10, WIRE_FIRST | WIRE_LAST), 0);
        ck_assert_uint_eq(n_acks, 2); /* at once, with its own number */
        ck_assert_uint_eq(acks[1].stream, 3);
        ck_assert_uint_eq(acks[1].sequence, 1);
        receive_part(A, 6, 1, 10, WIRE_FIRST);
        check_ack(A, 6, 1);
        receive_part(A, 4, 2, 10, 0); /* still open */
        check_ack(A, 4, 2);
        receive_part(A, 4, 3, 10, WIRE_LAST);
        check_ack(A, 4, 3);
        n_acks = 0;
        ck_assert_int_eq(begin(A, 4, 3, 10, WIRE_LAST), 0);
        ck_assert_int_eq(begin(A, 4, 1, 10, WIRE_FIRST), 0);
        ck_assert_uint_eq(n_acks, 2);
        ck_assert_uint_eq(acks[0].sequence, 3);
        ck_assert_uint_eq(acks[1].sequence, 1);
        receive_part(B, 2, 1, 10, WIRE_FIRST); /* of another source */
        check_ack(B, 2, 1);
        receive_part(A, 6, 2, 10, WIRE_LAST);
        check_ack(A, 6, 2);
        ck_assert(list_is_empty(&intake_find_source(&intake, A)->streams));
}
END_TEST

/* Numbers with gaps, from above and from below: more ranges than are kept. */
START_TEST(test_stream_ranges) {
        enum { N = 3 * INTAKE_RANGES_MAX };

        for (uint32_t i = 1; i <= N; i++)
                receive_part(A, 2 * i, 1, 10, WIRE_FIRST | WIRE_LAST);
        ck_assert_int_eq(intake_acknowledge(&intake), 0);
        n_acks = 0;
        for (uint32_t i = 1; i <= N; i++)
                ck_assert_int_eq(begin(A, 2 * i, 1, 10, WIRE_FIRST | WIRE_LAST), 0);
        ck_assert_uint_eq(n_acks, N);
        ck_assert_uint_eq(intake_find_source(&intake, A)->n_ended, INTAKE_RANGES_MAX);
        receive_part(A, 2 * N - 1, 1, 10, WIRE_FIRST | WIRE_LAST); /* has not ended: it closes a gap */
        ck_assert_int_eq(intake_acknowledge(&intake), 0);
        ck_assert_uint_eq(intake_find_source(&intake, A)->n_ended, INTAKE_RANGES_MAX - 1);
        n_acks = 0;
        ck_assert_int_eq(begin(A, 2 * N - 1, 1, 10, WIRE_FIRST | WIRE_LAST), 0);
        ck_assert_int_eq(begin(A, 1, 1, 10, WIRE_FIRST | WIRE_LAST), 1); /* below all that are known */
        intake_end(&intake, true);
}
END_TEST

/* A stream is forgotten when its last frame is taken, whatever order the parts are taken in. */
START_TEST(test_stream_taken) {
        for (uint64_t i = 1; i <= 3; i++) {
                ck_assert_int_eq(begin(A, 1, i, 10, i == 1 ? WIRE_FIRST : i == 3 ? WIRE_LAST : 0), 1);
                intake_attach(&intake, &receipts[i]);
                intake_end(&intake, true);
        }
        intake_take(&receipts[3]);
        n_acks = 0;
        ck_assert_int_eq(intake_acknowledge(&intake), 0);
        ck_assert(!list_is_empty(&intake_find_source(&intake, A)->streams));
        intake_take(&receipts[1]);
        check_ack(A, 1, 1);
        ck_assert_int_eq(begin(A, 1, 3, 10, WIRE_LAST), 0);
        check_ack(A, 1, 1);
        intake_take(&receipts[2]);
        check_ack(A, 1, 3);
        ck_assert(list_is_empty(&intake_find_source(&intake, A)->streams));
}
END_TEST

/* Without memory, a first frame leaves no stream behind; a later one leaves it as it was. */
START_TEST(test_stream_not_kept) {
        ck_assert_int_eq(begin(A, 5, 1, 10, WIRE_FIRST), 1);
        intake_attach(&intake, &receipts[0]);
        intake_end(&intake, false);
        ck_assert_ptr_null(receipts[0].flow);
        ck_assert(list_is_empty(&intake_find_source(&intake, A)->streams));
        receive_part(A, 5, 1, 10, WIRE_FIRST);
        ck_assert_int_eq(begin(A, 5, 2, 10, WIRE_LAST), 1);
        intake_end(&intake, false);
        receive_part(A, 5, 2, 10, WIRE_LAST);
        check_ack(A, 5, 2);
}
END_TEST

START_TEST(test_no_memory) {
        watch_result = -ENOMEM;
        ck_assert_int_eq(begin(A, 0, 1, 10, 3), -ENOMEM);
        ck_assert_ptr_null(intake_find_source(&intake, A));
        watch_result = 0;
        receive_part(A, 0, 1, 10, 3);
        receive_part(A, 1, 1, 10, 3);
        ack_result = -ENOMEM;
        ck_assert_int_eq(intake_acknowledge(&intake), -ENOMEM);
        ck_assert(intake_is_due(&intake));
        ck_assert_int_eq(begin(A, 1, 1, 10, 3), 0); /* not forgotten before it is acknowledged */
        ack_result = 0;
        ck_assert_int_eq(intake_acknowledge(&intake), 0);
        ck_assert_uint_eq(n_acks, 2);
        ack_result = -ENOMEM;
        ck_assert_int_eq(begin(A, 1, 1, 10, 3), -ENOMEM);
}
END_TEST

/* At most one receipt for a frame, and none for what is not one of a flow. */
START_TEST(test_attach) {
        receipts[0] = receipts[1] = (Receipt) {};
        intake_attach(&intake, &receipts[0]);
        ck_assert_ptr_null(receipts[0].flow);
        ck_assert_int_eq(begin(A, 0, 1, 10, 3), 1);
        intake_attach(&intake, &receipts[0]);
        intake_attach(&intake, &receipts[1]);
        intake_end(&intake, true);
        ck_assert_ptr_nonnull(receipts[0].flow);
        ck_assert_ptr_null(receipts[1].flow);
        intake_take(&receipts[1]);
        check_no_ack();
        intake_take(&receipts[0]);
        check_ack(A, 0, 1);
}
END_TEST

/* What the program still holds of a source that is gone is its own affair. */
START_TEST(test_gone) {
        receive(1, &receipts[0]);
        ck_assert_int_eq(begin(A, 1, 1, 10, WIRE_FIRST), 1);
        intake_attach(&intake, &receipts[1]);
        intake_end(&intake, true);
        receive_part(A, 2, 1, 10, WIRE_FIRST);
        ck_assert(intake_is_due(&intake));
        intake_source_gone(&intake, B);
        intake_source_gone(&intake, A);
        ck_assert(!intake_is_due(&intake));
        ck_assert_ptr_null(receipts[0].flow);
        ck_assert_ptr_null(receipts[1].flow);
        intake_take(&receipts[0]);
        check_no_ack();

        ck_assert_int_eq(begin(A, 3, 1, 10, WIRE_FIRST), 1); /* it goes while its frame is being dealt with */
        intake_source_gone(&intake, A);
        intake_attach(&intake, &receipts[0]);
        intake_end(&intake, true);
        ck_assert_ptr_null(receipts[0].flow);
        check_no_ack();

        receive(1, &receipts[0]);
        intake_reset(&intake);
        ck_assert_ptr_null(receipts[0].flow);
        receive(1, &receipts[0]);
        intake_take(&receipts[0]);
        check_ack(A, 0, 1);
}
END_TEST

TEST_MAIN_FIXTURE("client-intake", setup, teardown, test_order, test_taken, test_duplicates, test_out_of_order, test_first_waits,
                  test_credit, test_window, test_streams, test_stream_ranges, test_stream_taken, test_stream_not_kept,
                  test_no_memory, test_attach, test_gone)
