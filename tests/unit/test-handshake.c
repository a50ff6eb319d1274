/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>
#include <sys/resource.h>

#include "tests/unit/fake-net.h"
#include "tests/unit/run-tests.h"

static FakeNet *net;

static void setup(void) {
        net = fake_net_new(NULL);
}

static void teardown(void) {
        net = fake_net_free(net);
}

/* A first frame, and what it is answered */
static void try_hello(const WireHello *hello, const char *heard) {
        FakeLink *l = fake_open(net);

        fake_hello_full(l, hello);
        ck_assert_str_eq(fake_heard(l), heard);
        ck_assert_msg(l->shut == (strncmp(heard, "refused", 7) == 0), "FIN follows a refusal, and nothing else");
}

static void try_bytes(const void *data, size_t size, const char *heard) {
        FakeLink *l = fake_open(net);

        fake_send_bytes(l, data, size);
        ck_assert_str_eq(fake_heard(l), heard);
}

START_TEST(a_welcome) {
        FakeLink *a = fake_client(net, "a"), *b;
        WireHeader header;
        WireWelcome welcome;
        const uint8_t *payload = fake_last_frame(a, &header);

        ck_assert_int_eq(wire_welcome_parse(payload, header.length, &welcome), 0);
        ck_assert_uint_eq(header.source, 0);
        ck_assert_uint_eq(header.target, FAKE_FIRST_ID);
        ck_assert_uint_eq(welcome.version, 1);
        ck_assert_uint_eq(welcome.id, FAKE_FIRST_ID);
        ck_assert_uint_eq(welcome.max_payload, 65536);
        ck_assert_uint_eq(welcome.initial_credit, 65536);
        ck_assert_uint_eq(welcome.ping_interval_ms, 10000);
        ck_assert_uint_eq(welcome.grace_ms, 30000);
        ck_assert_uint_eq(welcome.epoch, 1); /* its own joining included */
        ck_assert_uint_eq(welcome.name.size, 1);
        ck_assert_mem_eq(welcome.instance, "0123456789abcde", 16);

        b = fake_client(net, "");
        ck_assert_str_eq(fake_session(b)->name, "client-1002");
        ck_assert_str_eq(fake_session(b)->program, "test");
        ck_assert_str_eq(fake_events(net), "joined a; joined client-1002");
}
END_TEST

/* So many come at once that frames can't be borrowed any more: what may pass others does not pass the WELCOME. */
START_TEST(nothing_passes_a_welcome) {
        enum { N = 2500 };
        static FakeLink *l[N];

        net->config.max_clients = N;
        router_set_config(net->router, &net->config);
        for (size_t i = 0; i < N; i++) {
                l[i] = fake_open(net);
                fake_hello(l[i], "");
                fake_send(l[i], (WireHeader) { .type = WIRE_PING, .tag = 7 }, NULL);
        }
        fake_net_turn(net);
        for (size_t i = 0; i < N; i++) {
                char expected[64];
                const char *heard = fake_heard(l[i]);

                snprintf(expected, sizeof(expected), "welcome %d client-%d; pong 7", (int) l[i]->id, (int) l[i]->id);
                ck_assert_str_eq(heard, expected);
        }
}
END_TEST

/* The name that the service would give may be somebody's own choice. */
START_TEST(given_names_are_unique) {
        FakeLink *c;

        fake_client(net, "client-1003");
        fake_client(net, "client-1003-1");
        c = fake_client(net, "");
        ck_assert_str_eq(fake_session(c)->name, "client-1003-2");
}
END_TEST

START_TEST(versions) {
        WireHello hello = fake_hello_init("a");

        hello.version_min = 2;
        hello.version_max = 9;
        try_hello(&hello, "refused version");
        ck_assert_str_eq(fake_events(net), "refused version");
        hello.version_min = hello.version_max = 0;
        try_hello(&hello, "refused version");
        hello.version_max = 9;
        try_hello(&hello, "welcome 1001 a");
}
END_TEST

START_TEST(names) {
        char name[WIRE_NAME_MAX + 2];
        WireHello hello;

        memset(name, 'x', sizeof(name));
        name[WIRE_NAME_MAX + 1] = '\0';
        hello = fake_hello_init(name);
        try_hello(&hello, "refused name invalid");
        name[WIRE_NAME_MAX] = '\0';
        hello = fake_hello_init(name);
        try_hello(&hello, "welcome 1001 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
        static const char *const bad[] = { "a b", "a/b", "ä", "a\n", "\x7f", "*" };

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
                hello = fake_hello_init(bad[i]);
                try_hello(&hello, "refused name invalid");
        }
        hello = fake_hello_init("a");
        hello.name.size = 2; /* with its NUL */
        try_hello(&hello, "refused name invalid");
        hello = fake_hello_init("Az09._-");
        try_hello(&hello, "welcome 1002 Az09._-");
}
END_TEST

START_TEST(malformed) {
        WireHello hello = fake_hello_init("a");
        uint8_t frame[2048] = {};
        int n = wire_hello_store(&hello, frame + WIRE_HEADER_SIZE, sizeof(frame) - WIRE_HEADER_SIZE);
        size_t size = WIRE_HEADER_SIZE + (size_t) n;

        /* Every way of being cut short */
        for (uint32_t length = 0; length < (uint32_t) n; length++) {
                wire_header_store(frame, &(WireHeader) { .type = WIRE_HELLO, .length = length });
                try_bytes(frame, size, "refused protocol error");
        }
        wire_header_store(frame, &(WireHeader) { .type = WIRE_HELLO, .flags = 1, .length = (uint32_t) n });
        try_bytes(frame, size, "refused protocol error");

        /* Bytes behind the last known field are for a later version: ignored. */
        wire_header_store(frame, &(WireHeader) { .type = WIRE_HELLO, .length = WIRE_HELLO_FRAME_MAX - WIRE_HEADER_SIZE });
        try_bytes(frame, WIRE_HELLO_FRAME_MAX, "welcome 1001 a");
        wire_header_store(frame, &(WireHeader) { .type = WIRE_HELLO, .length = WIRE_HELLO_FRAME_MAX - WIRE_HEADER_SIZE + 1 });
        try_bytes(frame, 4, "refused protocol error"); /* said before the rest is there */

        hello = fake_hello_init("b");
        hello.magic++;
        try_hello(&hello, "refused protocol error");
        hello = fake_hello_init("b");
        hello.program.data = "\033[2J";
        try_hello(&hello, "refused protocol error");

        /* Anything but a HELLO */
        for (unsigned type = 0; type < 256; type++) {
                if (type == WIRE_HELLO)
                        continue;
                wire_header_store(frame, &(WireHeader) { .type = (uint8_t) type });
                try_bytes(frame, 5, "refused protocol error");
        }
        try_bytes("GET / HTTP/1.1\r\n\r\n", 18, "refused protocol error");
        ck_assert_uint_eq(net->router->load.protocol_errors, (unsigned) n + 5 + 255);
}
END_TEST

START_TEST(byte_by_byte) {
        FakeLink *a = fake_open(net), *b = fake_client(net, "b");
        uint8_t *bytes;
        size_t n;

        fake_hello(a, "a");
        fake_data(a, b->id, 0, "hello");
        n = a->n_in;
        bytes = malloc(n);
        memcpy(bytes, a->in, n);
        a->n_in = 0;
        for (size_t i = 0; i < n; i++) {
                fake_send_bytes(a, bytes + i, 1);
                fake_net_turn(net);
        }
        free(bytes);
        ck_assert_str_eq(fake_heard(b), "data 1002>1001 hello");
}
END_TEST

START_TEST(no_hello_in_time) {
        FakeLink *a = fake_open(net), *b = fake_open(net);

        fake_send_bytes(b, "\x40\0\0", 3);
        fake_net_advance(net, 5 * FAKE_SEC - 1);
        ck_assert_ptr_nonnull(a->link);
        fake_net_advance(net, 1);
        ck_assert_ptr_null(a->link);
        ck_assert_ptr_null(b->link);
        ck_assert_uint_eq(a->n_out, 0);
}
END_TEST

START_TEST(full) {
        FakeLink *a, *b;

        net->config.max_clients = 2;
        router_set_config(net->router, &net->config);
        a = fake_client(net, "a");
        fake_client(net, "b");
        try_hello(&(WireHello) { .magic = WIRE_MAGIC, .version_min = 1, .version_max = 1 }, "refused full");
        ck_assert_str_eq(fake_events(net), "joined a; joined b; refused full");

        /* An away session counts, but can be taken over, by name or by resuming. */
        fake_close(a, LINK_RESET);
        fake_net_run(net);
        b = fake_open(net);
        fake_hello(b, "c");
        ck_assert_str_eq(fake_heard(b), "refused full");
        b = fake_open(net);
        fake_hello(b, "a");
        ck_assert_str_eq(fake_heard(b), "welcome 1003 a");
}
END_TEST

START_TEST(a_stopping_service_takes_nobody) {
        WireHello hello = fake_hello_init("a");

        router_stop(net->router);
        try_hello(&hello, "refused full");
}
END_TEST

/* The name of a link that is up: it is probed, answers, and keeps it. */
START_TEST(probe_is_answered) {
        FakeLink *a = fake_client(net, "a"), *b = fake_open(net), *c = fake_open(net);

        fake_hello(b, "a");
        fake_hello(c, "a");
        ck_assert_str_eq(fake_heard(b), "");
        ck_assert_str_eq(fake_heard(a), "ping 1"); /* one for both */
        fake_pong(a, 2); /* not the one */
        ck_assert_str_eq(fake_heard(b), "");
        fake_pong(a, 1);
        ck_assert_str_eq(fake_heard(b), "refused name taken");
        ck_assert_str_eq(fake_heard(c), "refused name taken");
        ck_assert_str_eq(fake_events(net), "joined a; refused name taken; refused name taken");
        ck_assert_ptr_nonnull(a->link);
}
END_TEST

/* It does not answer, but its link does not fail either: it is busy, and keeps its name. */
START_TEST(probe_is_not_answered) {
        FakeLink *a = fake_client(net, "a"), *b = fake_open(net), *c = fake_open(net);

        fake_hello(b, "a");
        fake_net_advance(net, FAKE_SEC / 2);
        fake_hello(c, "a");
        fake_net_advance(net, FAKE_SEC / 2 - 1);
        ck_assert_str_eq(fake_heard(b), "");
        fake_net_advance(net, 1);
        ck_assert_str_eq(fake_heard(b), "refused name taken");
        ck_assert_str_eq(fake_heard(c), "");
        fake_net_advance(net, FAKE_SEC / 2);
        ck_assert_str_eq(fake_heard(c), "refused name taken");
        ck_assert_str_eq(fake_heard(a), "ping 1");

        /* The late answer concerns nobody. */
        fake_pong(a, 1);
        ck_assert_str_eq(fake_heard(a), "");
}
END_TEST

/* Its link fails within the second, in any way: the first that has waited gets the name, the others are refused. */
START_TEST(probe_fails) {
        for (int how = LINK_EOF; how <= LINK_TIMEOUT; how++) {
                FakeLink *a = fake_client(net, "a"), *b = fake_open(net), *c = fake_open(net);
                uint64_t id = a->id;

                fake_events(net);
                fake_hello(b, "a");
                fake_net_run(net);
                fake_hello(c, "a");
                fake_net_advance(net, FAKE_SEC / 2);
                fake_close(a, (LinkEnd) how);
                ck_assert_int_eq(strncmp(fake_heard(b), "welcome ", 8), 0);
                ck_assert_str_eq(fake_heard(c), "refused name taken");
                ck_assert_uint_gt(b->id, id);
                ck_assert_ptr_null(sessions_find(&net->router->sessions, id));
                ck_assert_str_eq(fake_events(net), how == LINK_EOF ? "left a died; joined a; refused name taken" :
                                                   "state a away; left a replaced; joined a; refused name taken");
                fake_close(b, LINK_EOF);
                fake_close(c, LINK_EOF);
                fake_net_run(net);
        }
}
END_TEST

/* What came behind the HELLO of one who waits is not lost, and not read before its time. */
START_TEST(held_back) {
        FakeLink *a = fake_client(net, "a"), *b = fake_client(net, "b"), *c = fake_open(net);

        fake_hello(c, "a");
        fake_data(c, b->id, 1, "one");
        fake_send_bytes(c, "\5\0\0\0\x10", 5);
        fake_net_run(net);
        fake_send_bytes(c, "\3", 1); /* FIRST, LAST; not read yet */
        ck_assert_str_eq(fake_heard(b), "");
        fake_close(a, LINK_EOF);
        ck_assert_str_eq(fake_heard(c), "welcome 1003 a");
        ck_assert_str_eq(fake_heard(b), "data 1003>1002 #1 one");
        ck_assert_uint_eq(c->n_in, 0);
        ck_assert_uint_eq(c->link->framer.n_tail, 6);
}
END_TEST

/* A GOODBYE behind the HELLO frees the name again, for the next. However many do so: the stack must not grow with them. */
START_TEST(held_back_goodbyes) {
        enum { N = 10000 };
        FakeLink *a = fake_client(net, "a"), **waiting = malloc(N * sizeof(*waiting));
        struct rlimit stack = { .rlim_cur = 512 * 1024, .rlim_max = RLIM_INFINITY };

        setrlimit(RLIMIT_STACK, &stack);
        for (size_t i = 0; i < N; i++) {
                waiting[i] = fake_open(net);
                fake_hello(waiting[i], "a");
                if (i < N - 1)
                        fake_simple(waiting[i], WIRE_GOODBYE, 0, 0);
        }
        fake_net_run(net);
        fake_close(a, LINK_EOF);
        fake_net_run(net);
        ck_assert_str_eq(fake_heard(waiting[0]), ""); /* it was too late to hear its WELCOME */
        ck_assert_int_eq(strncmp(fake_heard(waiting[N - 1]), "welcome ", 8), 0);
        ck_assert_uint_eq(net->router->sessions.n_members, 1);
        free(waiting);
}
END_TEST

/* Who waits may go again, however it does. */
START_TEST(waiting_ends) {
        for (int how = LINK_EOF; how <= LINK_TIMEOUT; how++) {
                FakeLink *a = fake_client(net, "a"), *b = fake_open(net);

                fake_hello(b, "a");
                fake_net_run(net);
                fake_close(b, (LinkEnd) how);
                fake_net_run(net);
                ck_assert_ptr_null(b->link);
                fake_close(a, LINK_EOF);
                fake_net_run(net);
                ck_assert_uint_eq(net->router->sessions.n_members, 0);
        }
        FakeLink *b = (fake_client(net, "a"), fake_open(net));

        fake_hello(b, "a");
        fake_net_run(net); /* and teardown() finds it waiting */
        ck_assert_int_eq(b->link->state, LINK_WAITING);
}
END_TEST

/* Who gives up waiting for the WELCOME of a resume has not died; who has said anything since has. */
START_TEST(a_resume_that_was_given_up) {
        FakeLink *a = fake_client(net, "a"), *b = fake_open(net), *c = fake_open(net);
        WireHello hello = fake_hello_init("a");

        fake_close(a, LINK_TIMEOUT);
        fake_net_run(net);
        hello.resume_id = a->id;
        memcpy(hello.resume_token, a->token, sizeof(hello.resume_token));
        fake_hello_full(b, &hello);
        fake_close(b, LINK_EOF);
        fake_net_run(net);
        ck_assert_ptr_nonnull(sessions_find(&net->router->sessions, a->id));
        ck_assert_int_eq(sessions_find(&net->router->sessions, a->id)->state, WIRE_STATE_AWAY);
        fake_resume(c, a, "a");
        fake_close(c, LINK_EOF);
        fake_net_run(net);
        ck_assert_ptr_null(sessions_find(&net->router->sessions, a->id));
}
END_TEST

/* A newcomer takes the name of an away session, which is then gone. */
START_TEST(the_name_of_an_away_session) {
        FakeLink *a = fake_client(net, "a"), *b = fake_open(net);

        fake_close(a, LINK_RESET);
        fake_net_run(net);
        fake_hello(b, "a");
        ck_assert_str_eq(fake_heard(b), "welcome 1002 a");
        ck_assert_str_eq(fake_events(net), "joined a; state a away; left a replaced; joined a");
}
END_TEST

/* … but not when the newcomer is refused. */
START_TEST(a_refused_newcomer_takes_no_name) {
        RouterConfig config = fake_config();
        FakeLink *a = fake_client(net, "a"), *b = fake_open(net);

        config.max_clients = 1;
        router_set_config(net->router, &config);
        fake_close(a, LINK_TIMEOUT);
        net->router->next_id = net->router->end_id;
        fake_hello(b, "a");
        ck_assert_str_eq(fake_heard(b), "refused full");
        ck_assert_ptr_nonnull(fake_session(a));
}
END_TEST

START_TEST(bytes_behind_the_end_are_thrown_away) {
        FakeLink *l = fake_open(net);
        static uint8_t garbage[64 * 1024];

        fake_send_bytes(l, "XXXXX", 5);
        ck_assert_str_eq(fake_heard(l), "refused protocol error");
        for (size_t i = 0; i < LINK_LINGER_BYTES / sizeof(garbage); i++) {
                fake_send_bytes(l, garbage, sizeof(garbage));
                fake_net_run(net);
        }
        ck_assert_ptr_nonnull(l->link);
        fake_send_bytes(l, garbage, 1);
        fake_net_run(net);
        ck_assert_ptr_null(l->link);

        l = fake_open(net);
        fake_send_bytes(l, "XXXXX", 5);
        fake_net_advance(net, LINK_LINGER_USEC - 1);
        ck_assert_ptr_nonnull(l->link);
        fake_net_advance(net, 1);
        ck_assert_ptr_null(l->link);
}
END_TEST

TEST_MAIN_FIXTURE("handshake", setup, teardown, a_welcome, nothing_passes_a_welcome, given_names_are_unique, versions, names,
                  malformed, byte_by_byte, no_hello_in_time, full, a_stopping_service_takes_nobody, probe_is_answered,
                  probe_is_not_answered, probe_fails, held_back, held_back_goodbyes, waiting_ends, a_resume_that_was_given_up,
                  the_name_of_an_away_session, a_refused_newcomer_takes_no_name, bytes_behind_the_end_are_thrown_away)
