/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;
static FakeLink *a, *b; /* 1001, 1002 */

static void setup(void) {
        net = fake_net_new(NULL); /* which pings after 10 s */
        a = fake_client(net, "a");
        b = fake_client(net, "b");
        fake_events(net);
}

static void teardown(void) {
        net = fake_net_free(net);
}

static bool is_paused(const FakeLink *l) {
        return !LIST_EMPTY(&l->link->pauses);
}

static void fill_over(FakeLink *from, FakeLink *to) {
        fake_stop_taking(to);
        fake_fill(from, to->id, FAKE_HIGH + 1);
        fake_net_run(net);
}

START_TEST(silence_is_pinged) {
        fake_net_advance(net, 10 * FAKE_SEC - 1);
        ck_assert_str_eq(fake_heard(a), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_heard(a), "ping 1");
        fake_net_advance(net, 250 * 1000);
        fake_pong(a, 1);
        fake_net_run(net);
        ck_assert_uint_eq(a->link->rtt_usec, 250 * 1000);
        ck_assert_str_eq(fake_events(net), "");
        fake_net_advance(net, 10 * FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 2");
}
END_TEST

/* Whoever is heard of is not pinged, whatever it sends, and be it half a frame. */
START_TEST(traffic_is_sign_of_life) {
        for (size_t i = 0; i < 10; i++) {
                fake_net_advance(net, 9 * FAKE_SEC);
                fake_send_bytes(a, "\0", 1);
                fake_net_run(net);
        }
        ck_assert_str_eq(fake_heard(a), "");
        fake_net_advance(net, 10 * FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 1");
        ck_assert_str_eq(fake_events(net), "state b busy");
}
END_TEST

/* Silent for twice the interval, and for one since the ping: busy, no more. There is one ping, however long it takes. */
START_TEST(busy_and_alive_again) {
        net->hands_over = false; /* which of two timers of the same moment comes first is not promised */
        fake_watch(b, a->id, true);
        fake_net_advance(net, 10 * FAKE_SEC);
        fake_pong(b, 1);
        fake_net_advance(net, 10 * FAKE_SEC - 1);
        ck_assert_str_eq(fake_heard(b), "watch @2 alive; ping 1");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_heard(b), "ping 2; busy 1001 @2");
        ck_assert_str_eq(fake_events(net), "state a busy");
        fake_pong(b, 2);
        fake_net_advance(net, 3600 * (uint64_t) FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 1");
        ck_assert_str_eq(fake_events(net), "state b busy");
        ck_assert_ptr_nonnull(a->link);
        fake_heard(b);
        fake_data(a, b->id, 1, "done"); /* not the PONG yet */
        ck_assert_str_eq(fake_heard(b), "alive 1001 @2; data 1001>1002 #1 done");
        ck_assert_str_eq(fake_events(net), "state a alive");
        fake_pong(a, 1);
        fake_net_advance(net, 10 * FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 2");
}
END_TEST

START_TEST(pongs_that_nobody_asked_for) {
        fake_pong(a, 0);
        fake_pong(a, 1);
        fake_net_advance(net, 10 * FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 1");
        fake_pong(a, 2);
        fake_net_run(net);
        ck_assert(a->link->ping_outstanding);
        fake_pong(a, 1);
        fake_pong(a, 1);
        fake_net_run(net);
        ck_assert(!a->link->ping_outstanding);
}
END_TEST

/* A link that the service does not read from is not silent by its own fault. */
START_TEST(a_paused_link_is_not_busy) {
        fill_over(a, b);
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(a));
        fake_net_advance(net, 600 * (uint64_t) FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "");
        ck_assert_int_eq(fake_session(a)->state, WIRE_STATE_ALIVE);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        fake_net_advance(net, 10 * FAKE_SEC - 1);
        ck_assert_str_eq(fake_heard(a), "");
        fake_net_advance(net, 10 * FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 1");
}
END_TEST

/* … also when it had been pinged before. */
START_TEST(paused_while_a_ping_is_outstanding) {
        fake_net_advance(net, 10 * FAKE_SEC);
        fill_over(a, b);
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        fake_net_advance(net, 60 * (uint64_t) FAKE_SEC);
        fake_pong(a, 1);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_advance(net, 9 * FAKE_SEC);
        ck_assert_int_eq(fake_session(a)->state, WIRE_STATE_ALIVE);
        ck_assert_int_eq(fake_session(b)->state, WIRE_STATE_BUSY);
}
END_TEST

START_TEST(a_new_interval) {
        net->config.ping_interval_usec = FAKE_SEC;
        router_set_config(net->router, &net->config);
        FakeLink *c = fake_client(net, "c");

        fake_net_advance(net, FAKE_SEC);
        ck_assert_str_eq(fake_heard(c), "ping 1");
        fake_net_advance(net, 9 * FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 1"); /* from its next check on */
        fake_pong(a, 1);
        fake_net_advance(net, FAKE_SEC);
        ck_assert_str_eq(fake_heard(a), "ping 2");
}
END_TEST

/* An output that is blocked: after a second the kernel is asked differently, until all is written. */
START_TEST(stalled_and_not) {
        fake_stop_taking(a);
        fake_data(b, a->id, 1, "x");
        fake_net_run(net);
        fake_net_advance(net, LINK_STALL_USEC - 1);
        ck_assert_str_eq(fake_events(net), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_events(net), "stalled on");
        fake_take(a, 10); /* some, not all */
        fake_net_run(net);
        ck_assert_str_eq(fake_events(net), "");
        fake_take(a, FAKE_UNLIMITED);
        fake_net_advance(net, LINK_STALL_CHECK_USEC);
        ck_assert_str_eq(fake_events(net), "stalled off");

        /* Blocked for short times again and again is not stalled. */
        for (size_t i = 0; i < 10; i++) {
                fake_stop_taking(a);
                fake_data(b, a->id, 1, "x");
                fake_net_run(net);
                fake_net_advance(net, LINK_STALL_USEC - 1);
                fake_take(a, FAKE_UNLIMITED);
                fake_net_run(net);
        }
        fake_net_advance(net, 2 * FAKE_SEC);
        ck_assert_ptr_null(strstr(fake_events(net), "stalled"));
}
END_TEST

/* All of it fits the buffers of the kernel: a program that does not read looks the same from there, for as long as it
 * computes. */
START_TEST(pending_in_the_kernel) {
        a->is_pending = true;
        fake_data(b, a->id, 1, "x");
        fake_net_run(net);
        fake_net_advance(net, LINK_PENDING_USEC - 1);
        ck_assert_str_eq(fake_events(net), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_events(net), "stalled on");
        fake_net_advance(net, 3600 * (uint64_t) FAKE_SEC);
        ck_assert_ptr_nonnull(a->link);
        a->is_pending = false;
        fake_events(net);
        fake_net_advance(net, LINK_STALL_CHECK_USEC);
        ck_assert_str_eq(fake_events(net), "stalled off");

        a->is_pending = a->is_dead = true;
        fake_data(b, a->id, 2, "x");
        fake_net_advance(net, LINK_PENDING_USEC);
        ck_assert_str_eq(fake_events(net), "state b alive; stalled on; state a away");
}
END_TEST

START_TEST(stalled_and_dead) {
        fake_stop_taking(a);
        fake_data(b, a->id, 1, "x");
        a->is_dead = true;
        fake_net_run(net);
        fake_net_advance(net, LINK_STALL_USEC);
        ck_assert_str_eq(fake_events(net), "stalled on; state a away");
        ck_assert_ptr_null(a->link);
        fake_net_advance(net, 29 * FAKE_SEC);
        ck_assert_ptr_nonnull(fake_session(a));

        fake_stop_taking(b);
        fake_simple(b, WIRE_PING, 0, 0);
        fake_net_advance(net, 10 * FAKE_SEC + LINK_STALL_USEC / 2);
        ck_assert_ptr_nonnull(b->link);
        b->is_dead = true; /* it is asked every second */
        fake_net_advance(net, LINK_STALL_USEC);
        ck_assert_ptr_null(b->link);
}
END_TEST

START_TEST(a_slow_client_is_only_disconnected_if_told_so) {
        fill_over(a, b);
        fake_net_advance(net, 3600 * (uint64_t) FAKE_SEC);
        ck_assert_ptr_nonnull(b->link);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);

        net->config.slow_client_timeout_usec = 20 * FAKE_SEC;
        router_set_config(net->router, &net->config);
        fill_over(a, b);
        fake_events(net);
        fake_net_advance(net, 20 * FAKE_SEC - 1);
        ck_assert_ptr_nonnull(fake_session(b));
        fake_net_advance(net, 1);
        ck_assert_ptr_null(fake_session(b));
        ck_assert_ptr_nonnull(strstr(fake_events(net), "left b too slow"));
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_ptr_nonnull(strstr(fake_heard(b), "goodbye too slow"));
}
END_TEST

/* Not one that is blocked, but below the mark; nor one that drains in time. */
START_TEST(who_is_not_too_slow) {
        net->config.slow_client_timeout_usec = 20 * FAKE_SEC;
        router_set_config(net->router, &net->config);
        fake_stop_taking(a);
        fake_fill(b, a->id, FAKE_HIGH - WIRE_HEADER_SIZE); /* room for a PING */
        fake_net_advance(net, 60 * FAKE_SEC);
        ck_assert_ptr_nonnull(fake_session(a));

        fill_over(a, b);
        for (size_t i = 0; i < 5; i++) {
                fake_net_advance(net, 19 * FAKE_SEC);
                fake_take(b, b->link->outbox.n_kept - FAKE_LOW);
                fake_net_run(net);
                fill_over(a, b);
        }
        ck_assert_ptr_nonnull(fake_session(b));
}
END_TEST

/* The setting may come while it is slow already. */
START_TEST(a_timeout_that_comes_late) {
        fill_over(a, b);
        fake_net_advance(net, 30 * FAKE_SEC);
        net->config.slow_client_timeout_usec = 10 * FAKE_SEC;
        router_set_config(net->router, &net->config);
        fake_net_advance(net, 2 * FAKE_SEC);
        ck_assert_ptr_null(fake_session(b));
        fake_net_advance(net, LINK_LINGER_USEC);
        ck_assert_ptr_null(b->link);
}
END_TEST

TEST_MAIN_FIXTURE("liveness", setup, teardown, silence_is_pinged, traffic_is_sign_of_life, busy_and_alive_again,
                  pongs_that_nobody_asked_for, a_paused_link_is_not_busy, paused_while_a_ping_is_outstanding, a_new_interval,
                  stalled_and_not, pending_in_the_kernel, stalled_and_dead, a_slow_client_is_only_disconnected_if_told_so,
                  who_is_not_too_slow, a_timeout_that_comes_late)
