/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions, load figures, and what a change of the configuration does */

#include <errno.h>
#include <stdio.h>

#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;
static FakeLink *a, *b; /* 1001, 1002 */

static void setup(void) {
        net = fake_net_new(NULL);
        a = fake_client(net, "a");
        b = fake_client(net, "b");
        fake_events(net);
}

static void teardown(void) {
        net = fake_net_free(net);
}

static const char *ask_u64(WireQuestion kind, uint64_t value) {
        fake_ask_u64(a, kind, value, 1);
        return fake_heard(a);
}

static const char *ask_name(WireQuestion kind, const char *name) {
        fake_ask_name(a, kind, name, 1);
        return fake_heard(a);
}

START_TEST(alive) {
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, b->id), "alive 1002 alive 0 0 0 b");
        ck_assert_str_eq(ask_name(WIRE_ASK_ALIVE, "b"), "alive 1002 alive 0 0 0 b");
        ck_assert_str_eq(ask_name(WIRE_ASK_ALIVE, "nobody"), "alive 0 unknown 0 0 0 nobody");
        ck_assert_str_eq(ask_name(WIRE_ASK_ALIVE, "not a name"), "alive 0 unknown 0 0 0 not a name");
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, 77), "alive 77 away 0 0 0 ");
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, 4711), "alive 4711 unknown 0 0 0 ");
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, UINT64_MAX), "alive -1 unknown 0 0 0 ");
        b->kernel_silence_ms = 12;
        b->kernel_rtt_usec = 34;
        fake_net_advance(net, 5678 * 1000);
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, b->id), "alive 1002 alive 5678 12 34 b");

        /* Where the kernel knows none, the round trip of the last ping */
        b->kernel_rtt_usec = 0;
        fake_net_advance(net, 5 * FAKE_SEC);
        fake_pong(b, 1);
        fake_net_run(net);
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, b->id), "alive 1002 alive 0 12 678000 b");
        fake_close(b, LINK_TIMEOUT);
        fake_net_run(net);
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, b->id), "alive 1002 away 0 0 0 b");
        fake_net_advance(net, 30 * FAKE_SEC);
        fake_heard(a);
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, b->id), "alive 1002 gone 0 0 0 ");
        ck_assert_str_eq(ask_u64(WIRE_ASK_ALIVE, 77), "alive 77 gone 0 0 0 ");
}
END_TEST

START_TEST(resolve) {
        ck_assert_str_eq(ask_name(WIRE_ASK_RESOLVE, "b"), "resolve 1002 alive");
        ck_assert_str_eq(ask_name(WIRE_ASK_RESOLVE, "B"), "resolve 0 unknown");
        ck_assert_str_eq(ask_name(WIRE_ASK_RESOLVE, ""), "resolve 0 unknown");
        fake_close(b, LINK_TIMEOUT);
        fake_net_run(net);
        ck_assert_str_eq(ask_name(WIRE_ASK_RESOLVE, "b"), "resolve 1002 away");
}
END_TEST

START_TEST(list) {
        fake_watch(a, 77, true); /* a ghost is not in it */
        fake_close(b, LINK_TIMEOUT);
        fake_heard(a);
        ck_assert_str_eq(ask_u64(WIRE_ASK_LIST, 0), "list @2 1001/1 1002/3");
        ck_assert_str_eq(ask_u64(WIRE_ASK_LIST, 1001), "list @2 1002/3");
        ck_assert_str_eq(ask_u64(WIRE_ASK_LIST, 1002), "list @2");
        ck_assert_str_eq(ask_u64(WIRE_ASK_LIST, UINT64_MAX), "list @2");
}
END_TEST

/* More than one answer holds: in pieces, each as large as it can be. */
START_TEST(a_long_list) {
        RouterConfig config = fake_config();
        FakeNet *other;
        FakeLink *asker;
        uint64_t after = 0;
        size_t n = 0, n_answers = 0;

        config.max_clients = 10000;
        other = fake_net_new(&config);
        asker = fake_client(other, "asker");
        for (size_t i = 0; i < 9999; i++)
                fake_hello(fake_open(other), "");
        fake_net_run(other);
        for (uint32_t count = 1; count > 0; n_answers++) {
                const uint8_t *payload;
                WireHeader header;
                WireReader r;

                fake_ask_u64(asker, WIRE_ASK_LIST, after, 1);
                fake_net_run(other);
                payload = fake_last_frame(asker, &header);
                r = wire_reader(payload, header.length);
                ck_assert_uint_eq(wire_read_u64(&r), 10000);
                count = wire_read_u32(&r);
                for (uint32_t i = 0; i < count; i++) {
                        uint64_t id = wire_read_u64(&r);

                        ck_assert_uint_gt(id, after);
                        after = id;
                        wire_read_u8(&r);
                        wire_read_text8(&r);
                }
                ck_assert(!r.failed && r.p == r.end);
                n += count;
        }
        ck_assert_uint_eq(n, 10000);
        ck_assert_uint_eq(n_answers, 5); /* 22 bytes each, 2978 in one, and the empty one */
        fake_net_free(other);
}
END_TEST

/* A question that is cut short, or that is not known, gets a failed ANSWER with its tag; nobody is closed for it. */
START_TEST(bad_questions) {
        static const uint8_t payload[16] = { [8] = 2 };
        static const struct { uint16_t kind; uint32_t length; int error; } cases[] = {
                { 0, 0, EOPNOTSUPP }, { 6, 8, EOPNOTSUPP }, { 65535, 0, EOPNOTSUPP },
                { WIRE_ASK_ALIVE, 0, EINVAL }, { WIRE_ASK_ALIVE, 7, EINVAL }, { WIRE_ASK_ALIVE, 8, EINVAL },
                { WIRE_ASK_RESOLVE, 0, EINVAL }, { WIRE_ASK_LIST, 7, EINVAL },
                { WIRE_ASK_WATCH, 8, EINVAL }, { WIRE_ASK_WATCH, 9, EINVAL },
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                const char *heard;
                char expected[64];
                WireHeader header;

                header = (WireHeader) { .type = WIRE_ASK, .kind = cases[i].kind, .tag = 99, .length = cases[i].length };
                fake_send(a, header, payload);
                heard = fake_heard(a);
                snprintf(expected, sizeof(expected), "failed %u %d", cases[i].kind, cases[i].error);
                ck_assert_str_eq(heard, expected);
                fake_last_frame(a, &header);
                ck_assert_uint_eq(header.tag, 99);
        }
}
END_TEST

START_TEST(load) {
        LoadFigures figures;
        const uint8_t *payload;
        WireHeader header;
        WireReader r;

        fake_net_advance(net, FAKE_SEC);
        fake_data(a, b->id, 1, "x");
        fake_data(a, WIRE_TARGET_BROADCAST, 1, "x");
        fake_data(a, 4711, 1, "x");
        fake_close(fake_client(net, "c"), LINK_TIMEOUT);
        fake_stop_taking(b);
        fake_fill(a, b->id, FAKE_HIGH + 1);
        fake_net_run(net);
        fake_fill(a, b->id, 100);
        fake_net_run(net);
        router_get_load(net->router, &figures);
        ck_assert_uint_eq(figures.uptime_usec, FAKE_SEC);
        ck_assert_uint_eq(figures.clients, 3);
        ck_assert_uint_eq(figures.clients_away, 1);
        ck_assert_uint_eq(figures.clients_paused, 1);
        ck_assert_uint_eq(figures.queued_bytes, FAKE_HIGH + 1 + 100);
        ck_assert_uint_eq(figures.messages_in, 5);
        ck_assert_uint_eq(figures.messages_out, 4);
        ck_assert_uint_eq(figures.bytes_out, a->n_out + b->n_out + net->links->next->next->n_out);
        ck_assert_uint_eq(figures.messages_in_rate[0], 5);
        ck_assert_uint_eq(figures.bounces, 1);
        ck_assert_uint_eq(figures.protocol_errors, 0);
        ck_assert_uint_gt(figures.routing_p50_ns, 0);
        ck_assert_uint_eq(figures.memory_bytes, 1);
        ck_assert_uint_eq(figures.cpu_usec, 2);

        /* The answer has the same, in order. */
        fake_take(b, FAKE_UNLIMITED);
        fake_heard(a);
        ck_assert_str_eq(ask_u64(WIRE_ASK_LOAD, 0), "answer 5");
        payload = fake_last_frame(a, &header);
        r = wire_reader(payload, header.length);
        ck_assert_uint_eq(header.length, LOAD_N_FIELDS * 8);
        ck_assert_uint_eq(wire_read_u64(&r), FAKE_SEC);
        ck_assert_uint_eq(wire_read_u64(&r), 3);
        ck_assert_uint_eq(wire_read_u64(&r), 1);
        ck_assert_uint_eq(wire_read_u64(&r), 0);
        ck_assert_uint_eq(wire_read_u64(&r), 5);

        /* When nothing has happened for a minute, the sampling stops; it begins again with the next message. */
        fake_close(a, LINK_EOF);
        fake_close(b, LINK_EOF);
        fake_net_advance(net, 100 * FAKE_SEC);
        ck_assert_uint_eq(router_get_deadline(net->router), TIMERS_NEVER);
        router_get_load(net->router, &figures);
        ck_assert_uint_eq(figures.messages_in_rate[2], 0);
        a = fake_client(net, "a");
        fake_net_advance(net, FAKE_SEC); /* its WELCOME has gone out */
        fake_data(a, a->id, 1, "x");
        fake_net_run(net);
        fake_net_advance(net, LINK_PENDING_USEC);
        ck_assert_uint_eq(router_get_deadline(net->router), net->now - LINK_PENDING_USEC + FAKE_SEC);
}
END_TEST

/* Limits that shrink below what is there disconnect nobody. */
START_TEST(smaller_limits) {
        fake_stop_taking(b);
        fake_fill(a, b->id, FAKE_HIGH);
        fake_net_run(net);
        net->config.max_clients = 1;
        net->config.outbox_high = 200;
        net->config.outbox_low = 100;
        router_set_config(net->router, &net->config);
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        ck_assert(!LIST_EMPTY(&a->link->pauses));
        fake_take(b, FAKE_HIGH - 100);
        fake_net_run(net);
        ck_assert(!LIST_EMPTY(&a->link->pauses));
        fake_take(b, 40);
        fake_net_run(net);
        ck_assert(LIST_EMPTY(&a->link->pauses));
        ck_assert_uint_eq(net->router->sessions.n_members, 2);
}
END_TEST

/* … and nobody waits for one that was over the new mark only until the end of the turn. */
START_TEST(a_smaller_mark_that_is_left_at_once) {
        fake_stop_taking(b);
        fake_fill(a, b->id, FAKE_HIGH);
        fake_net_run(net);
        net->config.outbox_high = 200;
        net->config.outbox_low = 100;
        router_set_config(net->router, &net->config);
        fake_fill(a, b->id, 40);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert(LIST_EMPTY(&a->link->pauses));
}
END_TEST

/* While very much is queued in all, each read is small. */
START_TEST(scarce_memory) {
        net->config.outbox_high = 1024 * 1024 * 1024;
        router_set_config(net->router, &net->config);
        fake_stop_taking(b);
        for (size_t i = 0; i < 1025; i++) {
                fake_fill(a, b->id, 65536);
                fake_net_run(net);
        }
        ck_assert_uint_gt(net->router->queued_bytes, 64 * 1024 * 1024);
        ck_assert_uint_eq(link_get_read_size(a->link), 4096);
        fake_take(b, FAKE_UNLIMITED);
        fake_net_run(net);
        ck_assert_uint_eq(link_get_read_size(a->link), LINK_READ_SIZE_USUAL);
}
END_TEST

/* Who sends more than one read takes is read from in larger pieces, until it is less. */
START_TEST(stream) {
        net->hands_over = false; /* a stream is found out anew after it */
        fake_fill(a, b->id, LINK_READ_SIZE_USUAL / 2);
        fake_net_run(net);
        ck_assert_uint_eq(link_get_read_size(a->link), LINK_READ_SIZE_USUAL);
        fake_fill(a, b->id, LINK_READ_SIZE_USUAL / 2);
        fake_fill(a, b->id, LINK_READ_SIZE_USUAL / 2);
        fake_net_run(net);
        ck_assert_uint_eq(link_get_read_size(a->link), LINK_READ_SIZE_MAX);
        ck_assert_uint_eq(link_get_read_size(b->link), LINK_READ_SIZE_USUAL);
        fake_fill(a, b->id, 40);
        fake_net_run(net);
        ck_assert_uint_eq(link_get_read_size(a->link), LINK_READ_SIZE_USUAL);
}
END_TEST

TEST_MAIN_FIXTURE("router", setup, teardown, alive, resolve, list, a_long_list, bad_questions, load, smaller_limits,
                  a_smaller_mark_that_is_left_at_once, scarce_memory, stream)
