/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;
static FakeLink *w, *a; /* 1001, 1002 */

static void setup(void) {
        net = fake_net_new(NULL);
        w = fake_client(net, "w");
        a = fake_client(net, "a");
        fake_events(net);
}

static void teardown(void) {
        net = fake_net_free(net);
}

static void watch(FakeLink *l, uint64_t id, const char *heard) {
        fake_watch(l, id, true);
        ck_assert_str_eq(fake_heard(l), heard);
}

START_TEST(one_client) {
        FakeLink *b;

        watch(w, a->id, "watch @2 alive");
        watch(w, a->id, "watch @2 alive"); /* twice is once */
        ck_assert_uint_eq(fake_session(w)->n_watches, 1);
        b = fake_client(net, "b");
        fake_close(b, LINK_EOF);
        ck_assert_str_eq(fake_heard(w), ""); /* nobody else */
        fake_close(a, LINK_RESET);
        ck_assert_str_eq(fake_heard(w), "away 1002 link lost @4");
        b = fake_open(net);
        fake_resume(b, a, "a");
        ck_assert_str_eq(fake_heard(w), "back 1002 @4");
        fake_simple(b, WIRE_GOODBYE, 0, 0);
        ck_assert_str_eq(fake_heard(w), "left 1002 leaving @5");
        ck_assert_uint_eq(fake_session(w)->n_watches, 0);
}
END_TEST

START_TEST(unwatch) {
        watch(w, a->id, "watch @2 alive");
        fake_watch(w, a->id, false);
        ck_assert_str_eq(fake_heard(w), "watch @2 alive");
        fake_watch(w, a->id, false);
        fake_watch(w, 4711, false);
        fake_watch(w, 77, false);
        ck_assert_str_eq(fake_heard(w), "watch @2 alive; watch @2 unknown; watch @2 away");
        fake_close(a, LINK_EOF);
        ck_assert_str_eq(fake_heard(w), "");
}
END_TEST

START_TEST(everyone) {
        FakeLink *b;

        watch(w, 0, "watch @2 unknown");
        watch(w, 0, "watch @2 unknown");
        watch(w, a->id, "watch @2 alive"); /* and still hears of each event once */
        b = fake_client(net, "b");
        ck_assert_str_eq(fake_heard(w), "joined 1003 @3");
        fake_close(a, LINK_TIMEOUT);
        ck_assert_str_eq(fake_heard(w), "away 1002 link lost @3");
        fake_close(b, LINK_EOF);
        ck_assert_str_eq(fake_heard(w), "left 1003 died @4");
        ck_assert_int_eq(router_kick(net->router, a->id, ""), 0);
        ck_assert_str_eq(fake_heard(w), "left 1002 kicked @5");
        fake_watch(w, 0, false);
        ck_assert_str_eq(fake_heard(w), "watch @5 unknown");
        fake_client(net, "c");
        ck_assert_str_eq(fake_heard(w), "");
}
END_TEST

/* Every reason for which one can leave */
START_TEST(reasons) {
        FakeLink *b, *c;

        watch(w, 0, "watch @2 unknown");
        fake_send_bytes(a, "\0\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 40);
        ck_assert_str_eq(fake_heard(w), "left 1002 protocol error @3");
        b = fake_client(net, "b");
        fake_close(b, LINK_RESET);
        fake_net_run(net);
        c = fake_client(net, "b");
        ck_assert_str_eq(fake_heard(w), "joined 1003 @4; away 1003 link lost @4; left 1003 replaced @5; joined 1004 @6");
        fake_close(c, LINK_TIMEOUT);
        fake_net_advance(net, 30 * FAKE_SEC);
        fake_heard(w);
        ck_assert_uint_eq(net->router->presence.epoch, 7);
}
END_TEST

/* The answer is in order with the events: what it says is how things were before the first of them. */
START_TEST(answer_and_events_are_in_order) {
        fake_stop_taking(w);
        fake_data(a, w->id, 1, "x");
        fake_net_run(net);
        fake_watch(w, a->id, true);
        fake_net_run(net);
        fake_data(a, w->id, 2, "last words");
        fake_close(a, LINK_EOF);
        fake_net_run(net);
        fake_take(w, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(w), "data 1002>1001 #1 x; watch @2 alive; data 1002>1001 #2 last words; left 1002 died @3");
}
END_TEST

START_TEST(oneself) {
        watch(w, w->id, "watch @2 alive");
        watch(w, 0, "watch @2 unknown");
        FakeLink *again = fake_open(net);

        fake_resume(again, w, "w");
        ck_assert_str_eq(fake_heard(again), "welcome 1001 w; back 1001 @2");
        fake_close(again, LINK_EOF);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->sessions.n_members, 1);
}
END_TEST

START_TEST(at_most_so_many) {
        RouterConfig config = fake_config();
        FakeNet *other;
        FakeLink *watcher;

        config.max_clients = 2 * PRESENCE_WATCHES_MAX;
        other = fake_net_new(&config);
        watcher = fake_client(other, "w");
        for (size_t i = 0; i < PRESENCE_WATCHES_MAX + 1; i++)
                fake_hello(fake_open(other), "");
        fake_net_run(other);
        for (uint64_t i = 1; i < PRESENCE_WATCHES_MAX; i++)
                fake_watch(watcher, watcher->id + i, true);
        fake_heard(watcher);
        ck_assert_uint_eq(fake_session(watcher)->n_watches, PRESENCE_WATCHES_MAX - 1);
        watch(watcher, watcher->id + PRESENCE_WATCHES_MAX, "watch @4098 alive");
        watch(watcher, watcher->id + PRESENCE_WATCHES_MAX + 1, "failed 4 28"); /* ENOSPC */
        watch(watcher, 77, "failed 4 28");
        watch(watcher, watcher->id + 5, "watch @4098 alive"); /* one that it has */
        watch(watcher, 0, "watch @4098 unknown");
        fake_watch(watcher, watcher->id + 5, false);
        fake_heard(watcher);
        watch(watcher, 77, "watch @4098 away");
        fake_net_free(other);
}
END_TEST

/* Before it comes back, a client of the time before a restart counts as away. */
START_TEST(former_client_comes_back) {
        FakeLink *e = fake_client(net, "e"), *b = fake_open(net);

        watch(w, 77, "watch @3 away");
        watch(e, 77, "watch @3 away");
        watch(e, 0, "watch @3 unknown");
        watch(a, 0, "watch @3 unknown");
        b->id = 77;
        fake_token(77, (WireText) { .data = "b", .size = 1 }, "", b->token);
        fake_resume(b, b, "b");
        ck_assert_str_eq(fake_heard(b), "welcome 77 b");
        ck_assert_str_eq(fake_heard(w), "back 77 @4");
        ck_assert_str_eq(fake_heard(a), "joined 77 @4");
        ck_assert_str_eq(fake_heard(e), "joined 77 @4; back 77 @4"); /* as both */
        fake_close(b, LINK_EOF);
        ck_assert_str_eq(fake_heard(w), "left 77 died @5");
        ck_assert_str_eq(fake_heard(e), "left 77 died @5");
        watch(w, 77, "watch @5 gone");
}
END_TEST

/* … and as left when it can no longer come, for those who watch it; the others never knew it. */
START_TEST(former_client_does_not_come_back) {
        watch(w, 77, "watch @2 away");
        watch(a, 0, "watch @2 unknown");
        fake_net_advance(net, 9 * FAKE_SEC);
        watch(w, 78, "watch @2 away"); /* for the rest of the time */
        fake_heard(a);
        fake_net_advance(net, 21 * FAKE_SEC - 1);
        ck_assert_ptr_null(strstr(fake_heard(w), "left"));
        fake_net_advance(net, 1);
        const char *heard = fake_heard(w);
        ck_assert_ptr_nonnull(strstr(heard, "left 77 link lost @2"));
        ck_assert_ptr_nonnull(strstr(heard, "left 78 link lost @2"));
        ck_assert_ptr_null(strstr(fake_heard(a), "left"));
        ck_assert_uint_eq(net->router->sessions.by_id.n, 2);
        watch(w, 79, "watch @2 gone");
        ck_assert_uint_eq(net->router->sessions.by_id.n, 2);
}
END_TEST

/* What is sent to it meanwhile comes back as for anyone who is away, and then as for anyone who has left. */
START_TEST(messages_to_a_former_client) {
        watch(w, 77, "watch @2 away");
        fake_data(w, 77, 1, "x");
        ck_assert_str_eq(fake_heard(w), "bounce 77 #1 2");
        for (int i = 1; i <= 2; i++) {
                fake_net_advance(net, 15 * FAKE_SEC - (i == 2));
                fake_pong(w, (uint32_t) i);
                fake_pong(a, (uint32_t) i);
                fake_heard(w);
        }
        fake_data(w, 77, 2, "x");
        ck_assert_str_eq(fake_heard(w), "bounce 77 #2 2");
        fake_net_advance(net, 1);
        fake_data(w, 77, 3, "x");
        ck_assert_str_eq(fake_heard(w), "left 77 link lost @2; bounce 77 #3 1");
}
END_TEST

/* Its watcher goes first. */
START_TEST(a_ghost_without_watcher) {
        watch(w, 77, "watch @2 away");
        fake_close(w, LINK_EOF);
        fake_net_run(net);
        watch(a, 77, "watch @3 away");
        fake_watch(a, 77, false);
        ck_assert_str_eq(fake_heard(a), "watch @3 away");
        fake_net_advance(net, 30 * FAKE_SEC);
        ck_assert_uint_eq(net->router->sessions.by_id.n, 1);
}
END_TEST

/* However the old link ended, and also when it has not: a sender must hear that what was under way may be lost. Before it hears
 * of the resume it has had what came back, and behind that comes what the client sends. */
START_TEST(back_after_each_resume) {
        FakeLink *old = a;

        watch(w, a->id, "watch @2 alive");
        for (int how = -1; how <= LINK_TIMEOUT; how++) {
                FakeLink *again = fake_open(net);
                const char *heard;

                if (how == LINK_EOF)
                        continue; /* that is its end */
                if (how >= 0)
                        fake_close(old, (LinkEnd) how);
                fake_net_run(net);
                fake_data(w, a->id, 7, "x");
                fake_net_run(net);
                fake_resume(again, old, "a");
                fake_data(again, w->id, 1, "here I am");
                heard = fake_heard(w);
                if (how >= 0) {
                        static const char before[] = "away 1002 link lost @2; bounce 1002 #7 2; ";

                        ck_assert_mem_eq(heard, before, strlen(before));
                        heard += strlen(before);
                }
                ck_assert_str_eq(heard, "back 1002 @2; data 1002>1001 #1 here I am");
                fake_heard(again); /* WELCOME, with its token */
                old = again;
        }
}
END_TEST

/* The same when the sender has not read for a while: what passes what is queued comes earlier, never later. */
START_TEST(back_is_behind_what_came_back) {
        FakeLink *again = fake_open(net);

        watch(w, a->id, "watch @2 alive");
        fake_stop_taking(w);
        fake_data(a, w->id, 1, "x");
        fake_net_run(net);
        fake_close(a, LINK_RESET);
        fake_net_run(net);
        fake_data(w, a->id, 7, "y");
        fake_net_run(net);
        fake_resume(again, a, "a");
        fake_net_run(net);
        fake_take(w, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(w), "bounce 1002 #7 2; data 1002>1001 #1 x; away 1002 link lost @2; back 1002 @2");
}
END_TEST

/* So much is queued for the watcher that it misses events. */
static void make_miss(FakeLink *from) {
        net->config.outbox_high = 4 * PRESENCE_QUEUE_MAX;
        router_set_config(net->router, &net->config);
        fake_stop_taking(w);
        while (w->link->outbox.n_kept <= FAKE_HIGH + PRESENCE_QUEUE_MAX) {
                fake_fill(from, w->id, 60000);
                fake_net_run(net);
        }
        net->config.outbox_high = FAKE_HIGH;
        router_set_config(net->router, &net->config);
}

/* What is heard behind the backlog */
static const char *heard_behind(void) {
        const char *heard, *behind;

        fake_take(w, FAKE_UNLIMITED);
        heard = fake_heard(w);
        while ((behind = strstr(heard, "data ")))
                heard = strchr(behind, ']') + 1;
        return strncmp(heard, "; ", 2) == 0 ? heard + 2 : heard;
}

/* Who has missed events hears how things stand: of each one that it watches. */
START_TEST(catching_up) {
        FakeLink *b = fake_client(net, "b"), *c = fake_client(net, "c"), *d = fake_client(net, "d"), *e = fake_client(net, "e");
        FakeLink *again;

        watch(w, a->id, "watch @6 alive"); /* nothing happens to it */
        watch(w, b->id, "watch @6 alive"); /* away */
        watch(w, c->id, "watch @6 alive"); /* leaves */
        watch(w, d->id, "watch @6 alive"); /* away and back */
        watch(w, e->id, "watch @6 alive"); /* leaves, and is no longer watched */
        make_miss(a);
        fake_close(b, LINK_TIMEOUT);
        fake_simple(c, WIRE_GOODBYE, 0, 0);
        fake_close(d, LINK_RESET);
        fake_close(e, LINK_EOF);
        fake_net_run(net);
        again = fake_open(net);
        fake_resume(again, d, "d");
        fake_net_run(net);
        ck_assert(fake_session(w)->missed_presence);
        fake_watch(w, e->id, false);
        fake_net_run(net);
        ck_assert_str_eq(heard_behind(), "watch @8 gone; back 1005 @8; left 1004 leaving @8; away 1003 link lost @8; "
                                         "back 1002 @8");
        ck_assert(!fake_session(w)->missed_presence);
        ck_assert_uint_eq(fake_session(w)->n_watches, 3);
        fake_close(again, LINK_EOF);
        ck_assert_str_eq(fake_heard(w), "left 1005 died @9");
}
END_TEST

/* Who watches everyone is told of the gap in the epoch. */
START_TEST(catching_up_with_everyone) {
        watch(w, 0, "watch @2 unknown");
        make_miss(a);
        fake_client(net, "b");
        fake_client(net, "c");
        ck_assert_str_eq(heard_behind(), "alive 1001 @4");
        fake_client(net, "d");
        ck_assert_str_eq(fake_heard(w), "joined 1005 @5");
}
END_TEST

/* Busy is part of how things stand. */
START_TEST(catching_up_with_a_busy_one) {
        FakeLink *b = fake_client(net, "b");

        watch(w, b->id, "watch @3 alive");
        make_miss(a);
        fake_net_advance(net, 20 * FAKE_SEC);
        fake_pong(a, 1);
        fake_net_run(net);
        ck_assert_int_eq(fake_session(b)->state, WIRE_STATE_BUSY);
        ck_assert_ptr_nonnull(strstr(heard_behind(), "back 1003 @3; busy 1003 @3"));
}
END_TEST

/* While the watcher itself is away, it misses all; it hears the present when it resumes. */
START_TEST(catching_up_after_being_away) {
        FakeLink *b = fake_client(net, "b"), *again = fake_open(net);

        watch(w, a->id, "watch @3 alive");
        watch(w, b->id, "watch @3 alive");
        fake_close(w, LINK_TIMEOUT);
        fake_net_run(net);
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        fake_resume(again, w, "w");
        ck_assert_str_eq(fake_heard(again), "welcome 1001 w; left 1003 died @4; back 1002 @4");

        /* Without events there is nothing to hear. */
        fake_close(again, LINK_RESET);
        fake_net_run(net);
        again = fake_open(net);
        fake_resume(again, w, "w");
        ck_assert_str_eq(fake_heard(again), "welcome 1001 w");
}
END_TEST

/* Too much for a moment, in one turn that writes all of it: it is told when that is done. */
START_TEST(catching_up_within_a_turn) {
        FakeLink *senders[10], *late;

        for (size_t i = 0; i < 10; i++)
                senders[i] = fake_client(net, "");
        late = fake_client(net, "late");
        watch(w, late->id, "watch @13 alive");
        for (size_t i = 0; i < 20; i++)
                fake_fill(senders[i % 10], w->id, 60 * 1000);
        fake_close(late, LINK_EOF);
        fake_net_turn(net);
        ck_assert_str_eq(heard_behind(), "left 1013 died @14");
        ck_assert_uint_eq(net->router->queued_bytes, 0);
}
END_TEST

/* More in one turn than there is room for in the turn's scratch: each is told all the same. */
START_TEST(many_events_at_once) {
        FakeLink *l = NULL;
        size_t n = 0;

        net->config.max_clients = 10000;
        router_set_config(net->router, &net->config);
        watch(w, 0, "watch @2 unknown");
        for (size_t i = 0; i < 5000; i++)
                fake_hello(l = fake_open(net), "");
        fake_data(l, w->id, 0, "x");
        fake_net_turn(net);
        for (const char *p = fake_heard(w); (p = strstr(p, "joined ")); p++)
                n++;
        ck_assert_uint_eq(n, 5000);
        ck_assert_str_eq(fake_heard(l), "welcome 6002 client-6002");
}
END_TEST

TEST_MAIN_FIXTURE("presence", setup, teardown, one_client, unwatch, everyone, reasons, answer_and_events_are_in_order, oneself,
                  at_most_so_many, former_client_comes_back, former_client_does_not_come_back, messages_to_a_former_client,
                  a_ghost_without_watcher, back_after_each_resume, back_is_behind_what_came_back, catching_up,
                  catching_up_with_everyone, catching_up_with_a_busy_one, catching_up_after_being_away, catching_up_within_a_turn,
                  many_events_at_once)
