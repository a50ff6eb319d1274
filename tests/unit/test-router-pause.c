/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Who waits for whom, how long, and what each is told of what it has missed */

#include <stdio.h>

#include "service/core/route.h"
#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;
static FakeLink *a, *b, *c; /* 1001, 1002, 1003 */

static void setup(void) {
        net = fake_net_new(NULL);
        a = fake_client(net, "a");
        b = fake_client(net, "b");
        c = fake_client(net, "c");
        fake_events(net);
}

static void teardown(void) {
        net = fake_net_free(net);
}

static bool is_paused(const FakeLink *l) {
        return !LIST_EMPTY(&l->link->pauses);
}

/* `from` sends so much to `to` that `to` is over its high-water mark, and `from` waits. */
static void make_paused(FakeLink *from, FakeLink *to) {
        fake_stop_taking(to);
        for (size_t i = 0; !is_paused(from); i++) {
                ck_assert_uint_lt(i, 10);
                fake_fill(from, to->id, 2000);
                fake_net_run(net);
        }
}

static void fill_to(FakeLink *from, FakeLink *to, size_t size) {
        fake_stop_taking(to);
        fake_fill(from, to->id, size - to->link->outbox.n_kept);
        fake_net_run(net);
        ck_assert_uint_eq(to->link->outbox.n_kept, size);
}

START_TEST(at_the_high_water_mark) {
        fill_to(a, b, FAKE_HIGH);
        fake_fill(a, b->id, 40); /* not above: it may still send */
        fake_net_run(net);
        ck_assert(!is_paused(a));
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(a));
        ck_assert_uint_eq(b->link->outbox.n_kept, FAKE_HIGH + 80);
        fake_fill(a, b->id, 40); /* stays in the kernel */
        fake_net_run(net);
        ck_assert_uint_eq(a->n_in, 40);
        ck_assert_uint_eq(b->link->outbox.n_kept, FAKE_HIGH + 80);
        ck_assert(!is_paused(c));
        ck_assert_uint_eq(net->router->n_paused, 1);
}
END_TEST

START_TEST(one_above_the_high_water_mark) {
        fill_to(a, b, FAKE_HIGH + 1);
        fake_fill(c, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(c));
        ck_assert(!is_paused(a));
}
END_TEST

START_TEST(at_the_low_water_mark) {
        make_paused(a, b);
        fake_fill(a, b->id, 100);
        fake_take(b, b->link->outbox.n_kept - FAKE_LOW - 1);
        fake_net_run(net);
        ck_assert(is_paused(a));
        fake_take(b, 1);
        fake_net_run(net);
        ck_assert(!is_paused(a));
        ck_assert_uint_eq(a->n_in, 0);
        ck_assert_uint_eq(b->link->outbox.n_kept, FAKE_LOW + 100);
}
END_TEST

/* A sender goes on only when the last of its targets has drained; others are not touched. */
START_TEST(several_targets) {
        fill_to(a, b, FAKE_HIGH + 1);
        fill_to(a, c, FAKE_HIGH + 1);
        fake_fill(a, b->id, 40);
        fake_fill(a, c->id, 40);
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(a));
        ck_assert_uint_eq(net->router->n_paused, 1);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(is_paused(a));
        fake_take(c, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(!is_paused(a));
}
END_TEST

START_TEST(several_senders) {
        fill_to(a, b, FAKE_HIGH + 1);
        fake_fill(a, b->id, 40);
        fake_fill(c, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(a) && is_paused(c));
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(!is_paused(a) && !is_paused(c));
}
END_TEST

static void set_share(uint64_t share) {
        net->config.sender_share = share;
        router_set_config(net->router, &net->config);
}

/* Over the mark each may still queue its share; who stays within it never waits. */
START_TEST(within_the_share) {
        set_share(2000);
        fill_to(a, b, FAKE_HIGH + 1);
        fake_fill(a, b->id, 2000);
        fake_fill(c, b->id, 2000);
        fake_net_run(net);
        ck_assert(!is_paused(a) && !is_paused(c));
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(a) && !is_paused(c));
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(!is_paused(a));
        ck_assert(LIST_EMPTY(&b->link->sharing) && LIST_EMPTY(&a->link->shares) && LIST_EMPTY(&c->link->shares));
        fill_to(a, b, FAKE_HIGH + 1); /* and all over again */
        fake_fill(a, b->id, 2000);
        fake_net_run(net);
        ck_assert(!is_paused(a));
}
END_TEST

/* A receiver that stays over its mark and takes a little now and then: what it has taken does not count. */
START_TEST(the_share_of_a_slow_one) {
        FakeLink *senders[6];

        set_share(2000);
        fake_stop_taking(b);
        for (size_t i = 0; i < 6; i++) {
                senders[i] = fake_client(net, (char[]) { (char) ('p' + i), '\0' });
                fake_fill(senders[i], b->id, 1000);
                fake_net_run(net);
        }
        for (size_t i = 0; i < 600; i++) {
                fake_take(b, 1000);
                fake_net_run(net);
                fake_fill(senders[i % 6], b->id, 1000);
                fake_net_run(net);
                ck_assert_uint_eq(b->link->outbox.n_kept, 6000);
                ck_assert_uint_eq(net->router->n_paused, 0);
        }
        fake_fill(a, b->id, 1000);
        fake_fill(a, b->id, 1000);
        fake_net_run(net);
        ck_assert(!is_paused(a));
        fake_fill(a, b->id, 1000);
        fake_net_run(net);
        ck_assert(is_paused(a));
}
END_TEST

/* Each has a share for each target. */
START_TEST(shares_of_several_targets) {
        set_share(2000);
        fill_to(c, a, FAKE_HIGH + 1);
        fill_to(c, b, FAKE_HIGH + 1);
        for (size_t i = 0; i < 2; i++) {
                fake_fill(c, a->id, 1000);
                fake_fill(c, b->id, 1000);
                fake_fill(a, b->id, 1000);
                fake_net_run(net);
        }
        ck_assert(!is_paused(a) && !is_paused(c));
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        ck_assert(LIST_EMPTY(&a->link->shares));
        fake_fill(c, a->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(c));
        fake_close(c, LINK_EOF);
        fake_net_run(net);
        ck_assert(LIST_EMPTY(&a->link->sharing));
}
END_TEST

/* With very much queued in all, there are no shares. */
START_TEST(no_share_while_memory_is_scarce) {
        FakeLink *d = fake_client(net, "d");

        set_share(2000);
        fill_to(a, b, FAKE_HIGH + 1);
        net->config.outbox_high = 1024 * 1024 * 1024;
        router_set_config(net->router, &net->config);
        fake_stop_taking(d);
        for (size_t i = 0; i < 1025; i++) {
                fake_fill(a, d->id, 65536);
                fake_net_run(net);
        }
        net->config.outbox_high = FAKE_HIGH;
        router_set_config(net->router, &net->config);
        fake_fill(c, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(c));
}
END_TEST

/* Who only acknowledges what a stopped client had sent goes on sending to others. */
START_TEST(acks_do_not_wait) {
        fill_to(a, b, FAKE_HIGH + 1);
        for (size_t i = 1; i <= 100; i++)
                fake_simple(c, WIRE_ACK, b->id, i);
        fake_data(c, a->id, 1, "go on");
        ck_assert_str_eq(fake_heard(a), "data 1003>1001 #1 go on");
        ck_assert(!is_paused(c));
        fake_data(c, b->id, 1, "x");
        fake_net_run(net);
        ck_assert(is_paused(c));
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(!is_paused(c));
        ck_assert_uint_eq(b->link->outbox.n_urgent, 0);
}
END_TEST

/* … within a bound, whoever sends how many: then they come back, and nobody waits. */
START_TEST(too_many_acks_come_back) {
        size_t n_max = FAKE_HIGH / WIRE_HEADER_SIZE + 1;

        fill_to(a, b, FAKE_HIGH + 1);
        for (size_t i = 1; i <= n_max; i++)
                fake_simple(c, WIRE_ACK, b->id, i);
        ck_assert_str_eq(fake_heard(c), "");
        fake_simple(c, WIRE_ACK, b->id, 7);
        ck_assert_str_eq(fake_heard(c), "bounce 1002 #7 4");
        fake_simple(c, WIRE_RESEND, b->id, 0);
        ck_assert_str_eq(fake_heard(c), "bounce 1002 #0 4");
        ck_assert(!is_paused(c));
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert_uint_eq(b->link->outbox.n_urgent, 0);
        fake_simple(c, WIRE_ACK, b->id, 7);
        ck_assert_str_eq(fake_heard(c), "");
}
END_TEST

/* What a paused sender had sent goes on its way to where it can: here it comes back. */
START_TEST(the_target_dies) {
        for (int how = LINK_EOF; how <= LINK_TIMEOUT; how++) {
                FakeLink *d = fake_client(net, "d");
                char expected[64];
                const char *heard;

                make_paused(a, d);
                fake_data(a, d->id, 7, "x");
                fake_close(d, (LinkEnd) how);
                heard = fake_heard(a);
                snprintf(expected, sizeof(expected), "bounce %d #7 %d", (int) d->id,
                         how == LINK_EOF ? WIRE_BOUNCE_NO_CLIENT : WIRE_BOUNCE_AWAY);
                ck_assert_str_eq(heard, expected);
                ck_assert_uint_eq(net->router->queued_bytes, 0); /* what was queued for it is dropped */
        }
}
END_TEST

START_TEST(the_target_is_kicked) {
        make_paused(a, b);
        ck_assert_int_eq(router_kick(net->router, b->id, ""), 0);
        fake_net_run(net);
        ck_assert(!is_paused(a));
        ck_assert_uint_lt(net->router->queued_bytes, 2000 + 100); /* the frame that has begun, and GOODBYE */
}
END_TEST

START_TEST(the_sender_dies) {
        make_paused(a, b);
        fake_close(a, LINK_RESET);
        fake_net_run(net);
        ck_assert_ptr_null(a->link);
        ck_assert(LIST_EMPTY(&b->link->pausing));
        ck_assert_uint_eq(net->router->n_paused, 0);

        make_paused(c, b);
        ck_assert_int_eq(router_kick(net->router, c->id, ""), 0);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->n_paused, 0);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
}
END_TEST

/* The end of a paused sender is seen at once, but what it had sent before is not lost. */
START_TEST(a_paused_sender_ends) {
        FakeLink *d = fake_client(net, "d");

        make_paused(d, b);
        fake_watch(c, d->id, true);
        fake_heard(c);
        for (size_t i = 0; i < 50; i++)
                fake_fill(d, b->id, 10 * 1000);
        fake_data(d, c->id, 1, "last words");
        fake_net_run(net);
        ck_assert_uint_gt(d->n_in, 500 * 1000);
        fake_close(d, LINK_EOF);
        ck_assert_str_eq(fake_heard(c), "data 1004>1003 #1 last words; left 1004 died @5");
        ck_assert_ptr_null(d->link);
        ck_assert_uint_gt(b->link->outbox.n_kept, 500 * 1000);
}
END_TEST

/* … within a bound: then it waits like any other, and is heard later. */
START_TEST(a_paused_sender_ends_with_too_much) {
        FakeLink *d = fake_client(net, "d");
        size_t limit = FAKE_HIGH + LINK_LEAVING_BYTES;

        make_paused(d, b);
        for (size_t i = 0; i < 200; i++)
                fake_fill(d, b->id, WIRE_FRAME_MAX);
        fake_close(d, LINK_EOF);
        fake_net_run(net);
        ck_assert(is_paused(d));
        ck_assert_uint_gt(b->link->outbox.n_kept, limit);
        ck_assert_uint_lt(b->link->outbox.n_kept, limit + 2 * LINK_READ_SIZE_MAX);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert_ptr_null(d->link);
        ck_assert_uint_ge(b->n_out, 200 * (size_t) WIRE_FRAME_MAX);
        ck_assert_str_eq(fake_events(net), "joined d; left d died");
}
END_TEST

/* Its own answers are more than it reads: it is not read from. */
START_TEST(who_does_not_read_its_answers) {
        for (int kind = 0; kind < 3; kind++) {
                fake_stop_taking(a);
                for (int i = 0; i < 1000; i++)
                        if (kind == 0)
                                fake_simple(a, WIRE_PING, 0, 0);
                        else if (kind == 1)
                                fake_ask_u64(a, WIRE_ASK_LIST, 0, 1);
                        else
                                fake_data(a, 4711, 1, "");
                fake_net_run(net);
                fake_simple(a, WIRE_PING, 0, 0);
                fake_data(a, 4711, 2, "");
                fake_net_run(net);
                ck_assert(is_paused(a));
                ck_assert_uint_eq(net->router->n_paused, 1);
                fake_take(a, FAKE_UNLIMITED);
                fake_net_run(net);
                ck_assert(!is_paused(a));
                ck_assert_uint_eq(a->n_in, 0);
        }
}
END_TEST

START_TEST(who_sends_to_itself) {
        make_paused(a, a);
        fake_take(a, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(!is_paused(a));
}
END_TEST

/* Two who wait for each other go on when either reads. */
START_TEST(a_circle) {
        fill_to(a, b, FAKE_HIGH + 1);
        fill_to(b, a, FAKE_HIGH + 1);
        fake_fill(a, b->id, 40);
        fake_fill(b, a->id, 40);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->n_paused, 2);
        fake_take(a, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(!is_paused(b) && is_paused(a));
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        ck_assert(!is_paused(a));
}
END_TEST

/* Broadcasts wait a bounded time for one that is full, then go on without it; it gets a MARK. */
START_TEST(broadcasts_wait_and_skip) {
        fill_to(a, b, FAKE_HIGH + 1);
        fake_heard(c);
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "one");
        ck_assert_str_eq(fake_heard(c), "data 1001>-1 #1 one");
        ck_assert(is_paused(a));
        fake_net_advance(net, 5 * FAKE_SEC - 1);
        ck_assert(is_paused(a));
        fake_net_advance(net, 1);
        ck_assert(!is_paused(a));
        fake_data(a, WIRE_TARGET_BROADCAST, 2, "two");
        fake_data(a, WIRE_TARGET_BROADCAST, 3, "three");
        ck_assert_str_eq(fake_heard(c), "data 1001>-1 #2 two; data 1001>-1 #3 three");
        ck_assert(!is_paused(a));
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 2);

        /* What is sent to it alone still waits. */
        fake_fill(c, b->id, 40);
        fake_net_run(net);
        ck_assert(is_paused(c));

        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1001>1002 [4097]; data 1001>-1 #1 one; data 1003>1002 ; mark 1001 #3");
        ck_assert(!is_paused(c));
        fake_data(a, WIRE_TARGET_BROADCAST, 4, "four");
        ck_assert_str_eq(fake_heard(b), "data 1001>-1 #4 four");
}
END_TEST

/* A broadcast and a targeted frame to the same full client: the targeted one counts, before or behind. */
START_TEST(a_broadcaster_that_also_sends) {
        fill_to(a, b, FAKE_HIGH + 1);
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "x");
        fake_data(a, b->id, 0, "y");
        fake_net_run(net);
        fake_data(c, b->id, 0, "y");
        fake_data(c, WIRE_TARGET_BROADCAST, 1, "x");
        fake_net_run(net);
        fake_net_advance(net, 6 * FAKE_SEC);
        ck_assert(is_paused(a) && is_paused(c));
}
END_TEST

/* It was full only for a while: nothing was missed, so there is no MARK. */
START_TEST(no_mark_without_need) {
        fill_to(a, b, FAKE_HIGH + 1);
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "one");
        fake_net_advance(net, 4 * FAKE_SEC);
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1001>1002 [4097]; data 1001>-1 #1 one");
        ck_assert_uint_eq(net->router->load.skipped_broadcasts, 0);
}
END_TEST

/* Newcomers learn where each broadcaster is; who resumes learns what it may have missed. */
START_TEST(marks_of_a_welcome) {
        FakeLink *d = fake_open(net), *e = fake_open(net);

        fake_data(a, WIRE_TARGET_BROADCAST, 7, "x");
        fake_data(a, WIRE_TARGET_BROADCAST, 0, "unreliable");
        fake_data(a, WIRE_TARGET_BROADCAST, 5, "again");
        fake_data(c, WIRE_TARGET_BROADCAST, 2, "y");
        fake_net_run(net);
        fake_hello(d, "d");
        ck_assert_str_eq(fake_heard(d), "welcome 1004 d; baseline 1001 #7; baseline 1003 #2");

        fake_close(c, LINK_RESET);
        fake_data(a, WIRE_TARGET_BROADCAST, 8, "z");
        fake_net_run(net);
        fake_resume(e, c, "c");
        ck_assert_str_eq(fake_heard(e), "welcome 1003 c; mark 1001 #8");
        fake_simple(e, WIRE_MARK, WIRE_TARGET_BROADCAST, 3);
        fake_heard(d);
        ck_assert_str_eq((fake_heard(a), fake_heard(a)), "");
        ck_assert_uint_eq(fake_session(c)->last_broadcast, 3);

        /* Who has left has no numbers. */
        fake_close(a, LINK_EOF);
        fake_close(e, LINK_EOF);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->n_broadcasters, 0);
}
END_TEST

TEST_MAIN_FIXTURE("router-pause", setup, teardown, at_the_high_water_mark, one_above_the_high_water_mark, at_the_low_water_mark,
                  several_targets, several_senders, within_the_share, the_share_of_a_slow_one, shares_of_several_targets,
                  no_share_while_memory_is_scarce, acks_do_not_wait, too_many_acks_come_back, the_target_dies,
                  the_target_is_kicked, the_sender_dies, a_paused_sender_ends, a_paused_sender_ends_with_too_much,
                  who_does_not_read_its_answers, who_sends_to_itself, a_circle, broadcasts_wait_and_skip,
                  a_broadcaster_that_also_sends, no_mark_without_need, marks_of_a_welcome)
