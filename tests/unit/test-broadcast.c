/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Broadcasts: who waits for whom, who is skipped, and that each receiver can find out what it has missed */

#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;
static FakeLink *a, *b, *c, *d; /* 1001, 1002, 1003, 1004 */

static void setup(void) {
        net = fake_net_new(NULL);
        a = fake_client(net, "a");
        b = fake_client(net, "b");
        c = fake_client(net, "c");
        d = fake_client(net, "d");
        fake_events(net);
}

static void teardown(void) {
        net = fake_net_free(net);
}

static bool is_paused(const FakeLink *l) {
        return !LIST_EMPTY(&l->link->pauses);
}

/* `l` stops reading, and so much is queued for it that it is over its high-water mark. */
static void fill(FakeLink *l) {
        fake_stop_taking(l);
        fake_fill(l, l->id, FAKE_HIGH + 1);
        fake_net_run(net);
}

/* The client of a service before this one, with its token */
static FakeLink *former(uint64_t id, const char *name) {
        FakeLink *l = fake_open(net);

        l->id = id;
        fake_token(id, (WireText) { .data = name, .size = strlen(name) }, "", l->token);
        fake_resume(l, l, name);
        return l;
}

static void send_mark(FakeLink *l, uint64_t sequence, uint64_t before) {
        uint8_t payload[8];

        wire_store_u64(payload, before);
        fake_send(l, (WireHeader) { .type = WIRE_MARK, .length = 8, .target = WIRE_TARGET_BROADCAST, .sequence = sequence },
                  payload);
}

/* The wait is the receiver's: whoever comes later waits for the rest of it, and then nobody waits any more. */
START_TEST(several_wait_for_one) {
        fill(b);
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "a1");
        fake_net_advance(net, 3 * FAKE_SEC);
        fake_data(c, WIRE_TARGET_BROADCAST, 1, "c1");
        fake_net_run(net);
        ck_assert(is_paused(a) && is_paused(c));
        fake_net_advance(net, 2 * FAKE_SEC);
        ck_assert(!is_paused(a) && !is_paused(c));
        ck_assert_str_eq(fake_heard(d), "data 1001>-1 #1 a1; data 1003>-1 #1 c1");
        fake_data(a, WIRE_TARGET_BROADCAST, 2, "a2");
        fake_data(c, WIRE_TARGET_BROADCAST, 2, "c2");
        fake_data(d, WIRE_TARGET_BROADCAST, 1, "d1");
        fake_net_run(net);
        ck_assert_uint_eq(net->router->n_paused, 0);
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 3);
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1002>1002 [4097]; data 1001>-1 #1 a1; data 1003>-1 #1 c1; mark 1001 #2; "
                                        "mark 1003 #2; mark 1004 #1");
        fake_data(d, WIRE_TARGET_BROADCAST, 2, "d2");
        ck_assert_str_eq(fake_heard(b), "data 1004>-1 #2 d2"); /* and no MARK twice */
}
END_TEST

/* Two that stop at different times: each costs one wait, at the same time as far as they overlap. */
START_TEST(one_waits_for_several) {
        fill(b);
        fake_net_advance(net, 2 * FAKE_SEC);
        fill(c);
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "1");
        fake_net_advance(net, 5 * FAKE_SEC - 1);
        ck_assert(is_paused(a));
        fake_net_advance(net, 1);
        ck_assert(!is_paused(a));
        for (uint64_t i = 2; i < 10; i++) {
                fake_data(a, WIRE_TARGET_BROADCAST, i, "x");
                fake_net_run(net);
                ck_assert(!is_paused(a));
        }
}
END_TEST

/* It was skipped, and its link breaks before it could be told: the MARKs come with the resume, once. */
START_TEST(skipped_and_resumed) {
        FakeLink *again;

        fill(b);
        fake_net_advance(net, 5 * FAKE_SEC);
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "x");
        fake_net_run(net);
        fake_close(b, LINK_RESET);
        fake_data(c, WIRE_TARGET_BROADCAST, 1, "y");
        fake_net_run(net);
        again = fake_open(net);
        fake_resume(again, b, "b");
        ck_assert_str_eq(fake_heard(again), "welcome 1002 b; mark 1001 #1; mark 1003 #1");
        fake_data(a, WIRE_TARGET_BROADCAST, 2, "x");
        ck_assert_str_eq(fake_heard(again), "data 1001>-1 #2 x");
}
END_TEST

/* Each frame of a large one is numbered; who was skipped in its middle is told the last number. */
START_TEST(a_large_one_in_part) {
        WireHeader header = { .type = WIRE_DATA, .target = WIRE_TARGET_BROADCAST, .stream = 1 };

        for (uint64_t i = 1; i <= 4; i++) {
                header.sequence = i;
                header.flags = (uint8_t) (WIRE_RELIABLE | (i == 1 ? WIRE_FIRST : 0) | (i == 4 ? WIRE_LAST : 0));
                if (i == 3) {
                        fill(b);
                        fake_net_advance(net, 5 * FAKE_SEC);
                }
                fake_send(a, header, NULL);
                fake_net_run(net);
        }
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1001>-1 #1 ; data 1001>-1 #2 ; data 1002>1002 [4097]; mark 1001 #4");
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 1);
}
END_TEST

/* A service that was restarted knows no numbers. The MARK of each sender that resumes brings them back, with all that it says. */
START_TEST(after_a_restart) {
        FakeLink *sender = former(77, "sender"), *receiver, *newcomer;
        WireHeader header;

        ck_assert_str_eq(fake_heard(sender), "welcome 77 sender");
        receiver = former(78, "early");
        ck_assert_str_eq(fake_heard(receiver), "welcome 78 early");
        send_mark(sender, 12, 11);
        ck_assert_str_eq(fake_heard(receiver), "mark 77 #12");
        ck_assert_uint_eq(wire_load_u64(fake_last_frame(receiver, &header)), 11);
        ck_assert_uint_eq(header.length, 8);

        /* Whose session is older has missed something, perhaps; a newcomer has not. */
        receiver = former(79, "late");
        ck_assert_str_eq(fake_heard(receiver), "welcome 79 late; mark 77 #12");
        newcomer = fake_open(net);
        fake_hello(newcomer, "new");
        ck_assert_str_eq(fake_heard(newcomer), "welcome 1005 new; baseline 77 #12");
}
END_TEST

/* A MARK is skipped as a broadcast is: what it says comes all the same. */
START_TEST(a_mark_that_is_skipped) {
        FakeLink *sender = former(77, "sender");

        fill(b);
        fake_net_advance(net, 5 * FAKE_SEC);
        send_mark(sender, 12, 12);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 0); /* it is no message */
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1002>1002 [4097]; mark 77 #12");
}
END_TEST

/* What is asked and answered between two of them goes its way, and changes no number. */
START_TEST(asking_again) {
        WireHeader resent = { .type = WIRE_DATA, .sequence = 9,
                              .flags = WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE | WIRE_BROADCAST };
        FakeLink *newcomer = fake_open(net);

        fake_data(a, WIRE_TARGET_BROADCAST, 3, "x");
        fake_heard(b);
        fake_simple(b, WIRE_RESEND, a->id, 0);
        ck_assert_str_eq(fake_heard(a), "resend 1002");
        resent.target = b->id;
        fake_simple(a, WIRE_LOST, b->id, 0);
        fake_send(a, resent, NULL);
        fake_simple(a, WIRE_MARK, b->id, 9);
        ck_assert_str_eq(fake_heard(b), "lost 1001; data 1001>1002 #9 ; mark 1001 #9");
        fake_hello(newcomer, "new");
        ck_assert_str_eq(fake_heard(newcomer), "welcome 1005 new; baseline 1001 #3");
}
END_TEST

static void send_resent(FakeLink *from, const FakeLink *to, uint64_t sequence) {
        WireHeader resent = { .type = WIRE_DATA, .target = to->id, .sequence = sequence,
                              .flags = WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE | WIRE_BROADCAST };

        fake_send(from, resent, NULL);
}

/* Several may answer one that has asked all of them and has stopped then: each waits no longer than a broadcast does. */
START_TEST(answers_do_not_wait_for_ever) {
        fake_data(a, WIRE_TARGET_BROADCAST, 3, "x");
        fake_heard(b);
        fill(b);
        send_resent(a, b, 1);
        fake_net_run(net);
        ck_assert(is_paused(a));
        fake_net_advance(net, 5 * FAKE_SEC);
        ck_assert(!is_paused(a));
        fake_simple(a, WIRE_LOST, b->id, 0);
        send_resent(a, b, 2);
        fake_simple(a, WIRE_MARK, b->id, 3);
        fake_net_run(net);
        ck_assert(!is_paused(a));
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 1);
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1002>1002 [4097]; data 1001>1002 #1 ; mark 1001 #3");
        send_resent(a, b, 2);
        ck_assert_str_eq(fake_heard(b), "data 1001>1002 #2 ");
}
END_TEST

/* … and is not taken for a message that stands beside it in a batch, nor that for an answer. */
START_TEST(answers_among_messages) {
        fake_data(a, WIRE_TARGET_BROADCAST, 3, "x");
        fake_heard(b);
        fill(b);
        send_resent(a, b, 1);
        fake_net_advance(net, 5 * FAKE_SEC);
        for (uint64_t i = 1; i <= 4; i++) {
                send_resent(a, b, 2 * i);
                fake_data(a, b->id, 2 * i + 1, "m");
        }
        fake_net_turn(net); /* all in one */
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 4);
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1002>1002 [4097]; data 1001>1002 #1 ; data 1001>1002 #3 m; data 1001>1002 #5 m; "
                                        "data 1001>1002 #7 m; data 1001>1002 #9 m; mark 1001 #3");
}
END_TEST

/* Nor is anybody stopped by one that it asks. */
START_TEST(asking_one_that_does_not_read) {
        fill(b);
        fake_simple(c, WIRE_RESEND, b->id, 0);
        fake_net_run(net);
        ck_assert(!is_paused(c));
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "resend 1003; data 1002>1002 [4097]");
}
END_TEST

TEST_MAIN_FIXTURE("broadcast", setup, teardown, several_wait_for_one, one_waits_for_several, skipped_and_resumed,
                  a_large_one_in_part, after_a_restart, a_mark_that_is_skipped, asking_again, answers_do_not_wait_for_ever,
                  answers_among_messages, asking_one_that_does_not_read)
