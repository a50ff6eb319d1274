/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* How sessions begin, lose their link, come back, and end; and their ids */

#include <errno.h>
#include <stdio.h>

#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;

static void setup(void) {
        net = fake_net_new(NULL);
}

static void teardown(void) {
        net = fake_net_free(net);
}

/* A client of the time before, as it would come back */
static FakeLink *resume_former(uint64_t id, const char *name) {
        FakeLink *l = fake_open(net);

        l->id = id;
        fake_token(id, (WireText) { .data = name, .size = strlen(name) }, "", l->token);
        fake_resume(l, l, name);
        return l;
}

START_TEST(in_order_of_ids) {
        FakeLink *l[20];

        /* Former ones come in between. */
        for (size_t i = 0; i < 20; i++)
                if (i % 2 == 0)
                        l[i] = fake_client(net, "");
                else {
                        char name[] = { 'f', (char) ('a' + i), 0 };

                        l[i] = resume_former(900 - i * 3 % 17, name);
                }
        fake_net_run(net); /* and compares */
        ck_assert_uint_eq(net->router->sessions.n_members, 20);
        for (size_t i = 0; i < 20; i += 3)
                fake_close(l[i], LINK_EOF);
        fake_net_run(net);
        ck_assert_uint_eq(net->router->sessions.n_members, 13);
        ck_assert_uint_eq(sessions_after(&net->router->sessions, 0), 0);
        ck_assert_uint_eq(sessions_after(&net->router->sessions, UINT64_MAX), 13);
}
END_TEST

START_TEST(how_a_link_ends) {
        FakeLink *a = fake_client(net, "a"), *b = fake_client(net, "b"), *c = fake_client(net, "c"), *d = fake_client(net, "d");

        fake_events(net);
        fake_simple(a, WIRE_GOODBYE, 0, 0);
        fake_data(a, b->id, 1, "behind GOODBYE");
        ck_assert_str_eq(fake_heard(b), "");
        ck_assert(a->shut);
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        fake_close(c, LINK_RESET);
        fake_net_run(net);
        fake_close(d, LINK_TIMEOUT);
        fake_net_run(net);
        ck_assert_str_eq(fake_events(net), "left a leaving; left b died; state c away; state d away");
        ck_assert_uint_eq(net->router->sessions.n_away, 2);
        fake_net_advance(net, ROUTER_RESET_GRACE_USEC - 1);
        ck_assert_str_eq(fake_events(net), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_events(net), "left c link lost");
        fake_net_advance(net, 30 * FAKE_SEC - ROUTER_RESET_GRACE_USEC - 1);
        ck_assert_str_eq(fake_events(net), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_events(net), "left d link lost");
}
END_TEST

START_TEST(resume) {
        FakeLink *a = fake_client(net, "a"), *b = fake_open(net), *c;
        Session *s = fake_session(a);

        net->hands_over = false; /* this is about one object */
        fake_net_advance(net, FAKE_SEC);
        fake_close(a, LINK_RESET);
        fake_net_advance(net, ROUTER_RESET_GRACE_USEC - 1);
        fake_resume(b, a, "a");
        ck_assert_str_eq(fake_heard(b), "welcome 1001 a");
        ck_assert_str_eq(fake_events(net), "joined a; state a away; state a alive");
        ck_assert_ptr_eq(fake_session(b), s);
        fake_net_advance(net, 9 * FAKE_SEC); /* the grace has ended with the resuming */
        ck_assert_str_eq(fake_events(net), "");

        /* While its link is still up: the newest wins. */
        c = fake_open(net);
        fake_resume(c, b, "a");
        ck_assert_str_eq(fake_heard(c), "welcome 1001 a");
        ck_assert_str_eq(fake_heard(b), "goodbye replaced");
        fake_data(b, 1001, 1, "too late");
        ck_assert_str_eq(fake_heard(c), "");
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        ck_assert_str_eq(fake_events(net), "state a alive");
        ck_assert_ptr_eq(fake_session(c)->link, c->link);
}
END_TEST

START_TEST(resume_is_refused) {
        FakeLink *a = fake_client(net, "a"), *l;
        WireHello hello = fake_hello_init("a");

        fake_close(a, LINK_TIMEOUT);
        fake_net_run(net);
        hello.resume_id = a->id;
        for (size_t i = 0; i < WIRE_TOKEN_SIZE * 8; i++) {
                memcpy(hello.resume_token, a->token, WIRE_TOKEN_SIZE);
                hello.resume_token[i / 8] ^= (uint8_t) (1 << i % 8);
                l = fake_open(net);
                fake_hello_full(l, &hello);
                ck_assert_str_eq(fake_heard(l), "refused resume refused");
        }
        /* Another's name, another's id, no name, another principal */
        l = fake_open(net);
        fake_resume(l, a, "b");
        ck_assert_str_eq(fake_heard(l), "refused resume refused");
        l = fake_open(net);
        fake_resume(l, a, "");
        ck_assert_str_eq(fake_heard(l), "refused resume refused");
        memcpy(hello.resume_token, a->token, WIRE_TOKEN_SIZE);
        hello.resume_id++;
        l = fake_open(net);
        fake_hello_full(l, &hello);
        ck_assert_str_eq(fake_heard(l), "refused resume refused");
        l = fake_open(net);
        strcpy(l->principal, "uid:1");
        fake_resume(l, a, "a");
        ck_assert_str_eq(fake_heard(l), "refused resume refused");
        l = fake_open(net);
        fake_resume(l, a, "a");
        ck_assert_str_eq(fake_heard(l), "welcome 1001 a");

        /* Ended in any way, it is over. */
        fake_close(l, LINK_EOF);
        fake_net_run(net);
        l = fake_open(net);
        fake_resume(l, a, "a");
        ck_assert_str_eq(fake_heard(l), "refused resume refused");
}
END_TEST

/* The clients of the service before this one may come back while the grace lasts. */
START_TEST(former_clients) {
        FakeLink *a = resume_former(77, "a"), *b, *c;

        ck_assert_str_eq(fake_heard(a), "welcome 77 a");
        ck_assert_str_eq(fake_session(a)->program, "test");
        ck_assert_str_eq(fake_events(net), "joined a");
        b = resume_former(78, "a");
        ck_assert_str_eq(fake_heard(b), "refused resume refused"); /* the name has been taken */

        /* Each only once */
        ck_assert_int_eq(router_kick(net->router, 77, ""), 0);
        ck_assert_str_eq(fake_heard(a), "goodbye kicked");
        a = resume_former(77, "a");
        ck_assert_str_eq(fake_heard(a), "refused resume refused");

        net->config.max_clients = 1;
        router_set_config(net->router, &net->config);
        b = resume_former(78, "b");
        ck_assert_str_eq(fake_heard(b), "welcome 78 b");
        c = resume_former(79, "c");
        ck_assert_str_eq(fake_heard(c), "refused full");
        fake_close(b, LINK_EOF);
        fake_net_advance(net, 30 * FAKE_SEC - 1);
        c = resume_former(80, "c");
        ck_assert_str_eq(fake_heard(c), "welcome 80 c");
        fake_close(c, LINK_EOF);
        fake_net_advance(net, 1);
        c = resume_former(81, "c");
        ck_assert_str_eq(fake_heard(c), "refused resume refused");
}
END_TEST

/* One that somebody has waited for has its program as well. */
START_TEST(a_former_client_that_is_watched) {
        FakeLink *w = fake_client(net, "w"), *a;

        fake_watch(w, 77, true);
        ck_assert_str_eq(fake_heard(w), "watch @1 away");
        ck_assert_int_eq(router_kick(net->router, 77, ""), -ENXIO); /* it is no member */
        a = resume_former(77, "a");
        ck_assert_str_eq(fake_heard(a), "welcome 77 a");
        ck_assert_str_eq(fake_session(a)->program, "test");
}
END_TEST

/* Whoever was kicked after the grace stays out, also when the grace is made longer. */
START_TEST(a_longer_grace_brings_nobody_back) {
        FakeLink *a = resume_former(77, "a");

        fake_net_advance(net, 31 * FAKE_SEC);
        ck_assert_int_eq(router_kick(net->router, 77, ""), 0);
        net->config.grace_usec = 3600 * (uint64_t) FAKE_SEC;
        router_set_config(net->router, &net->config);
        a = resume_former(77, "a");
        ck_assert_str_eq(fake_heard(a), "refused resume refused");
}
END_TEST

START_TEST(kick) {
        FakeLink *a = fake_client(net, "a"), *b = fake_client(net, "b"), *l = fake_open(net);
        WireHeader header;
        WireGoodbye goodbye;
        const uint8_t *payload;

        ck_assert_int_eq(router_kick(net->router, 0, ""), -ENXIO);
        ck_assert_int_eq(router_kick(net->router, 4711, ""), -ENXIO);
        ck_assert_int_eq(router_kick(net->router, a->id, "too loud"), 0);
        ck_assert_str_eq(fake_heard(a), "goodbye kicked");
        payload = fake_last_frame(a, &header);
        ck_assert_int_eq(wire_goodbye_parse(payload, header.length, &goodbye), 0);
        ck_assert_uint_eq(goodbye.retry_after_ms, 0);
        ck_assert_uint_eq(goodbye.reason.size, 8);
        ck_assert_mem_eq(goodbye.reason.data, "too loud", 8);
        ck_assert(a->shut);
        ck_assert_int_eq(router_kick(net->router, a->id, ""), -ENXIO);
        fake_resume(l, a, "a");
        ck_assert_str_eq(fake_heard(l), "refused resume refused");

        /* An away one too */
        fake_close(b, LINK_TIMEOUT);
        fake_net_run(net);
        ck_assert_int_eq(router_kick(net->router, b->id, ""), 0);
        fake_net_run(net);
        ck_assert_str_eq(fake_events(net), "joined a; joined b; left a kicked; refused resume refused; state b away; "
                                           "left b kicked");
}
END_TEST

/* A kicked client that does not read is gone within a second. */
START_TEST(kick_in_the_middle_of_a_write) {
        FakeLink *a = fake_client(net, "a"), *b = fake_client(net, "b");
        size_t before = b->n_out;

        fake_stop_taking(b);
        fake_fill(a, b->id, 1000);
        fake_net_turn(net);
        fake_fill(a, b->id, 1000);
        fake_net_turn(net);
        fake_take(b, 500);
        fake_net_run(net);
        ck_assert_int_eq(router_kick(net->router, b->id, ""), 0);
        fake_net_run(net);
        ck_assert_uint_eq(b->n_out - before, 500);
        ck_assert(!b->shut);
        fake_take(b, 600); /* the frame that had begun, and GOODBYE */
        ck_assert_str_eq(fake_heard(b), "data 1001>1002 [1000]; goodbye kicked");
        ck_assert(b->shut);

        b = fake_client(net, "b");
        fake_stop_taking(b);
        ck_assert_int_eq(router_kick(net->router, b->id, ""), 0);
        fake_net_advance(net, LINK_LINGER_USEC);
        ck_assert_ptr_null(b->link);
}
END_TEST

/* Everybody is told, with a delay of its own; what was queued still goes out. */
START_TEST(stop) {
        enum { N = 50 };
        FakeLink *l[N], *late = fake_open(net);
        uint32_t delays[N], least = UINT32_MAX, most = 0;

        for (size_t i = 0; i < N; i++)
                l[i] = fake_client(net, "");
        fake_close(l[1], LINK_TIMEOUT); /* an away one is not told */
        fake_stop_taking(l[2]);
        fake_data(l[0], l[2]->id, 1, "x");
        fake_net_run(net);
        router_stop(net->router);
        fake_take(l[2], FAKE_UNLIMITED);
        fake_net_run(net);
        for (size_t i = 0; i < N; i++) {
                WireHeader header;
                WireGoodbye goodbye;
                const uint8_t *payload = fake_last_frame(l[i], &header);

                if (i == 1)
                        continue;
                ck_assert_uint_eq(header.type, WIRE_GOODBYE);
                ck_assert_uint_eq(header.kind, WIRE_REASON_STOPPING);
                ck_assert_int_eq(wire_goodbye_parse(payload, header.length, &goodbye), 0);
                delays[i] = goodbye.retry_after_ms;
                ck_assert_uint_ge(delays[i], 100);
                ck_assert_uint_lt(delays[i], 500);
                least = delays[i] < least ? delays[i] : least;
                most = delays[i] > most ? delays[i] : most;
                ck_assert(l[i]->shut);
        }
        ck_assert_uint_gt(most - least, 200);
        ck_assert_str_eq(fake_heard(l[2]), "data 1001>1003 #1 x; goodbye stopping");
        fake_hello(late, "late");
        ck_assert_str_eq(fake_heard(late), "refused full");
        fake_net_advance(net, LINK_LINGER_USEC);
        ck_assert_uint_eq(net->router->n_links, 0);
}
END_TEST

/* … and so many that five in a millisecond take more than the shortest spread, and more than the longest. */
START_TEST(stop_spreads_the_return) {
        static const struct { size_t n; uint32_t spread; } cases[] = { { 4000, 800 }, { 12000, 1500 } };

        for (size_t c = 0; c < 2; c++) {
                RouterConfig config = fake_config();
                FakeNet *other;
                uint32_t most = 0;

                config.max_clients = 100000;
                other = fake_net_new(&config);
                for (size_t i = 0; i < cases[c].n; i++)
                        fake_hello(fake_open(other), "");
                fake_net_run(other);
                router_stop(other->router);
                fake_net_run(other);
                for (FakeLink *l = other->links; l; l = l->next) {
                        WireHeader header;
                        uint32_t delay = wire_load_u32(fake_last_frame(l, &header));

                        ck_assert_uint_ge(delay, 100);
                        ck_assert_uint_lt(delay, 100 + cases[c].spread);
                        most = delay > most ? delay : most;
                }
                ck_assert_uint_gt(most, cases[c].spread * 9 / 10);
                fake_net_free(other);
        }
}
END_TEST

START_TEST(ids_run_low_and_out) {
        Router *r = net->router;
        FakeLink *l;

        net->hands_over = false;
        r->next_id = r->end_id - ROUTER_IDS_LOW - 1;
        fake_client(net, "");
        ck_assert_str_eq((fake_events(net), fake_events(net)), "");
        fake_client(net, "a");
        ck_assert_str_eq(fake_events(net), "ids low; joined a");
        r->next_id = r->end_id - 1;
        l = fake_client(net, "b");
        ck_assert_uint_eq(l->id, FAKE_FIRST_ID + 65535);
        l = fake_open(net);
        fake_hello(l, "c");
        ck_assert_str_eq(fake_heard(l), "refused full");

        /* The next range need not follow on this one. */
        router_add_ids(r, 200000, 2);
        l = fake_client(net, "c");
        ck_assert_uint_eq(l->id, 200000);
        router_add_ids(r, 300000, 5000);
        fake_client(net, "d");
        fake_events(net);
        l = fake_client(net, "e");
        ck_assert_uint_eq(l->id, 300000);
        ck_assert_str_eq(fake_events(net), "joined e");
}
END_TEST

/* "77 1001-1003": who may resume in the service after this one, of those who are expected to have had an id */
static const char *resumable(void) {
        static char text[512];
        size_t n = 0;

        text[0] = '\0';
        for (size_t i = 0; i < net->resumable.n; i++) {
                IdRange ids = net->resumable.ranges[i];

                if (ids.end > net->router->next_id)
                        ids.end = net->router->next_id;
                if (ids.first >= ids.end)
                        continue;
                n += (size_t) sprintf(text + n, n > 0 ? " %u" : "%u", (unsigned) ids.first);
                if (ids.end - ids.first > 1)
                        n += (size_t) sprintf(text + n, "-%u", (unsigned) ids.end - 1);
        }
        return text;
}

/* However a session ends, it does so for all services to come. That the order is right, fake-net.c checks. */
START_TEST(an_end_is_final) {
        FakeLink *l[8];

        for (size_t i = 0; i < 8; i++)
                l[i] = fake_client(net, i == 0 ? "a" : ""); /* 1001 to 1008 */
        ck_assert_str_eq(resumable(), "1-1008");
        fake_simple(l[1], WIRE_GOODBYE, 0, 0);
        fake_close(l[2], LINK_EOF);
        fake_close(l[3], LINK_RESET);
        fake_close(l[4], LINK_TIMEOUT);
        fake_simple(l[5], WIRE_WELCOME, 0, 0);
        fake_net_run(net);
        ck_assert_str_eq(resumable(), "1-1001 1004-1005 1007-1008");
        fake_net_advance(net, 2 * FAKE_SEC);
        ck_assert_str_eq(resumable(), "1-1001 1005 1007-1008");
        ck_assert_int_eq(router_kick(net->router, l[6]->id, ""), 0);
        ck_assert(net->router->is_unsettled); /* also where there is no turn of the data plane first */
        router_settle(net->router);
        ck_assert(!net->router->is_unsettled);
        ck_assert_str_eq(resumable(), "1-1001 1005 1008");

        /* A name that is taken over */
        fake_close(l[0], LINK_RESET);
        fake_net_run(net);
        fake_client(net, "a"); /* 1009 */
        ck_assert_str_eq(resumable(), "1-1000 1005 1008-1009");
}
END_TEST

/* Those of the time before who are not seen again, whether somebody waits for them or not, and those who are, and end. */
START_TEST(not_coming_back_is_final) {
        FakeLink *w = fake_client(net, "w");
        FakeLink *a = resume_former(77, "a"), *b = resume_former(78, "b"), *c = resume_former(500, "c");

        fake_watch(w, 100, true);
        ck_assert_str_eq(fake_heard(w), "watch @1 away");
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        ck_assert_str_eq(resumable(), "1-77 79-1001");
        fake_net_advance(net, 30 * FAKE_SEC - 1);
        ck_assert_str_eq(resumable(), "1-77 79-1001");
        fake_net_advance(net, 1);
        ck_assert_str_eq(resumable(), "77 500 1001");
        ck_assert_str_eq(fake_heard(w), "ping 1; left 100 link lost @5");
        fake_close(a, LINK_EOF);
        fake_close(c, LINK_TIMEOUT);
        fake_net_run(net);
        ck_assert_str_eq(resumable(), "500 1001");
}
END_TEST

TEST_MAIN_FIXTURE("session", setup, teardown, in_order_of_ids, how_a_link_ends, resume, resume_is_refused, former_clients,
                  a_former_client_that_is_watched, a_longer_grace_brings_nobody_back, an_end_is_final, not_coming_back_is_final,
                  kick, kick_in_the_middle_of_a_write, stop, stop_spreads_the_return, ids_run_low_and_out)
