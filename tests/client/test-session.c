/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Connecting, being refused, being sent away, and coming back: against a service that says just that. */

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"
#include "tests/unit/temp-directory.h"

static Fake fake;
static FakeFrame frame;
static DirectClient *client;

typedef struct Seen {
        DirectEvent event;
        char text[64];
        char name[64];
} Seen;

static Seen seen[64];
static size_t n_seen;

static void on_event(DirectClient *c, const DirectEvent *event, void *userdata) {
        ck_assert_uint_lt(n_seen, N_ELEMENTS(seen));
        seen[n_seen].event = *event;
        snprintf(seen[n_seen].text, sizeof(seen[0].text), "%s", event->text);
        snprintf(seen[n_seen].name, sizeof(seen[0].name), "%s", event->name);
        n_seen++;
}

static void setup(void) {
        fake_init(&fake);
        n_seen = 0;
        unsetenv("DIRECTSERVER_NAME");
        ck_assert_int_eq(direct_client_new(&client), 0);
        ck_assert_int_eq(direct_set_event_handler(client, on_event, NULL), 0);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
}

/* What is for networks only is left out. */
START_TEST(test_loopback) {
        char congestion[16] = "";
        socklen_t size = sizeof(congestion) - 1;

        ck_assert_int_eq(direct_connect_start(client, fake.address), 0);
        ck_assert_int_eq(getsockopt(client->link.fd, IPPROTO_TCP, TCP_CONGESTION, congestion, &size), 0);
        ck_assert_str_eq(congestion, "reno");
}
END_TEST

/* Runs until there are so many events. */
static void run_until_seen(size_t n) {
        while (n_seen < n) {
                struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };

                if (direct_process(client) == 0 && n_seen < n)
                        ck_assert_msg(poll(&pollfd, 1, 20000) > 0, "event %zu does not come", n);
        }
}

START_TEST(test_hello) {
        WireHello hello;

        ck_assert_int_eq(direct_set_name(client, "me"), 0);
        ck_assert_int_eq(direct_set_name(client, "not a name"), -EINVAL);
        ck_assert_int_eq(direct_set_program(client, "test \x1b[0m"), -EINVAL);
        ck_assert_int_eq(direct_set_program(client, "test"), 0);
        ck_assert_int_eq(direct_connect_start(client, fake.address), 0);
        ck_assert_int_eq(direct_set_name(client, "too-late"), -EISCONN);
        ck_assert_int_eq(direct_connect_start(client, fake.address), -EISCONN);
        ck_assert_int_eq(direct_send(client, 2, 0, NULL, 0), -ENOTCONN);
        fake_accept(&fake);
        fake_expect(&fake, client, WIRE_HELLO, &frame);
        ck_assert_int_eq(wire_hello_parse(frame.payload, frame.header.length, &hello), 0);
        ck_assert_uint_eq(hello.magic, WIRE_MAGIC);
        ck_assert_uint_eq(hello.resume_id, 0);
        ck_assert_uint_eq(hello.name.size, 2);
        ck_assert_mem_eq(hello.program.data, "test", 4);
        fake_send_welcome(&fake, 77, "me");
        run_until_seen(1);
        ck_assert_int_eq(seen[0].event.type, DIRECT_EVENT_CONNECTED);
        ck_assert_int_eq(seen[0].event.resumed, 0);
        ck_assert_uint_eq(seen[0].event.epoch, 10);
        ck_assert_uint_eq(direct_get_id(client), 77);
        ck_assert_int_eq(direct_disconnect(client), 0);
        fake_expect(&fake, client, WIRE_GOODBYE, &frame);
        ck_assert_uint_eq(frame.header.kind, WIRE_REASON_LEAVING);
        ck_assert_int_eq(direct_disconnect(client), -ENOTCONN);
}
END_TEST

START_TEST(test_refused) {
        static const struct {
                uint16_t code;
                int error;
        } refusals[] = {
                { WIRE_REFUSED_VERSION, -EPROTONOSUPPORT }, { WIRE_REFUSED_NAME_TAKEN, -EADDRINUSE },
                { WIRE_REFUSED_NAME_INVALID, -EINVAL },     { WIRE_REFUSED_NOT_AUTHORISED, -EPERM },
                { WIRE_REFUSED_PROTOCOL, -EPROTO },         { WIRE_REFUSED_FULL, -EUSERS },
                { WIRE_REFUSED_RESUME, -EPROTO },           { 99, -EPROTO },
        };

        for (size_t i = 0; i < N_ELEMENTS(refusals); i++) {
                ck_assert_int_eq(direct_connect_start(client, fake.address), 0);
                fake_accept(&fake);
                fake_expect(&fake, client, WIRE_HELLO, &frame);
                fake_send_refused(&fake, refusals[i].code, "because");
                run_until_seen(i + 1);
                ck_assert_int_eq(seen[i].event.type, DIRECT_EVENT_FAILED);
                ck_assert_int_eq(seen[i].event.error, refusals[i].error);
                ck_assert_str_eq(seen[i].text, "because");
                ck_assert_str_eq(direct_get_error(client), "because");
        }
}
END_TEST

/* Whatever comes before WELCOME and is neither that nor a refusal. */
START_TEST(test_not_a_service) {
        static const char greeting[] = "SSH-2.0-OpenSSH_9.2 and more than forty bytes to look at\r\n";

        ck_assert_int_eq(direct_connect_start(client, fake.address), 0);
        fake_accept(&fake);
        fake_expect(&fake, client, WIRE_HELLO, &frame);
        fake_send_bytes(&fake, greeting, sizeof(greeting));
        run_until_seen(1);
        ck_assert_int_eq(seen[0].event.type, DIRECT_EVENT_FAILED);
        ck_assert_int_eq(seen[0].event.error, -EPROTO);

        ck_assert_int_eq(direct_connect_start(client, fake.address), 0);
        fake_accept(&fake);
        fake_expect(&fake, client, WIRE_HELLO, &frame);
        fake_close(&fake);
        run_until_seen(2);
        ck_assert_int_eq(seen[1].event.error, -ECONNRESET);
}
END_TEST

START_TEST(test_kicked) {
        fake_connect(&fake, client);
        fake_send_goodbye(&fake, WIRE_REASON_KICKED, 0, "you know why");
        fake_close(&fake);
        run_until_seen(2);
        ck_assert_int_eq(seen[1].event.type, DIRECT_EVENT_KICKED);
        ck_assert_str_eq(seen[1].text, "you know why");
        fake_settle(client);
        ck_assert_uint_eq(n_seen, 2);
        ck_assert_int_eq(direct_is_connected(client), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, NULL, 0), -ENOTCONN);
}
END_TEST

/* The service ends the link while the client is in the middle of writing: the reason is not lost. */
START_TEST(test_kicked_while_writing) {
        static char data[WIRE_PAYLOAD_MAX];

        fake_connect(&fake, client);
        fake_send_goodbye(&fake, WIRE_REASON_KICKED, 0, "too much");
        fake_reset(&fake);
        for (int i = 0; i < 8; i++)
                (void) direct_send(client, 2, 0, data, sizeof(data));
        run_until_seen(3);
        ck_assert_int_eq(seen[1].event.type, DIRECT_EVENT_UNDELIVERED);
        ck_assert_int_eq(seen[1].event.error, -ECONNRESET);
        ck_assert_int_eq(seen[2].event.type, DIRECT_EVENT_KICKED);
}
END_TEST

/* The same for a service that stops with bytes of the client unread: over TCP its kernel sends a reset, and throws away what has
 * not left yet, so it is little. A write finds that out first, and something lies before the last word. */
static void stop_while_writing(void) {
        static char data[WIRE_PAYLOAD_MAX];

        fake_connect(&fake, client);
        ck_assert_int_eq(direct_watch(client, 5, 1), 0);
        fake_settle(client);
        for (int i = 0; i < 4; i++)
                fake_send_data(&fake, 3, WIRE_FIRST | WIRE_LAST, 0, 0, data, 1000);
        fake_send_goodbye(&fake, WIRE_REASON_STOPPING, 300, "good night");
        fake_close(&fake);
        for (int i = 0; i < 8; i++)
                (void) direct_send(client, 2, 0, data, sizeof(data));
        ck_assert_int_eq(direct_is_connected(client), 0); /* before there was a read by itself */
        run_until_seen(2);
        ck_assert_int_eq(seen[1].event.type, DIRECT_EVENT_DISCONNECTED);
        ck_assert_int_eq(seen[1].event.reason, DIRECT_REASON_STOPPING);
        ck_assert_str_eq(seen[1].text, "good night");
}

START_TEST(test_stop_while_writing) {
        stop_while_writing();
}
END_TEST

START_TEST(test_stop_while_writing_local) {
        temp_directory_make();
        fake_deinit(&fake);
        fake_init_local(&fake, temp_path("socket"));
        stop_while_writing();
        temp_directory_remove();
}
END_TEST

/* Accepts the client's next attempt and looks at what it offers. */
static void expect_hello(WireHello *ret) {
        fake_expect_hello(&fake, client, &frame);
        ck_assert_int_eq(wire_hello_parse(frame.payload, frame.header.length, ret), 0);
}

START_TEST(test_resume) {
        WireHello hello;

        fake_connect(&fake, client);
        ck_assert_int_eq(direct_watch(client, 5, 1), 0);
        fake_expect(&fake, client, WIRE_ASK, &frame);
        fake_close(&fake);
        run_until_seen(2);
        ck_assert_int_eq(seen[1].event.type, DIRECT_EVENT_DISCONNECTED);
        ck_assert_int_eq(seen[1].event.reason, DIRECT_REASON_LINK_LOST);
        expect_hello(&hello);
        ck_assert_uint_eq(hello.resume_id, 1);
        ck_assert_mem_eq(hello.resume_token, "\1\2\3\0", 4);
        ck_assert_mem_eq(hello.name.data, "me", 2);
        fake_send_welcome(&fake, 1, "me");
        run_until_seen(3);
        ck_assert_int_eq(seen[2].event.type, DIRECT_EVENT_CONNECTED);
        ck_assert_int_eq(seen[2].event.resumed, 1);
        /* The watch is asked for again, and the answer says what was missed */
        fake_expect(&fake, client, WIRE_ASK, &frame);
        ck_assert_uint_eq(frame.header.kind, WIRE_ASK_WATCH);
        ck_assert_uint_eq(wire_load_u64(frame.payload), 5);
        fake_answer(&fake, &frame, 0, "\0\0\0\0\0\0\0\0\4", 9);
        run_until_seen(4);
        ck_assert_int_eq(seen[3].event.type, DIRECT_EVENT_LEFT);
        ck_assert_uint_eq(seen[3].event.id, 5);
}
END_TEST

/* Who has nothing else to say to a WELCOME says so. */
START_TEST(test_resume_confirmed) {
        WireHello hello;

        fake_connect(&fake, client);
        fake_close(&fake);
        expect_hello(&hello);
        fake_send_welcome(&fake, 1, "me");
        fake_expect(&fake, client, WIRE_PONG, &frame);
}
END_TEST

START_TEST(test_resume_refused) {
        WireHello hello;

        fake_connect(&fake, client);
        fake_reset(&fake);
        expect_hello(&hello);
        ck_assert_uint_eq(hello.resume_id, 1);
        fake_send_refused(&fake, WIRE_REFUSED_RESUME, "who are you?");
        expect_hello(&hello); /* at once, and afresh */
        ck_assert_uint_eq(hello.resume_id, 0);
        ck_assert_mem_eq(hello.resume_token, (uint8_t[WIRE_TOKEN_SIZE]) {}, WIRE_TOKEN_SIZE);
        ck_assert_mem_eq(hello.name.data, "me", 2);
        fake_send_refused(&fake, WIRE_REFUSED_NAME_TAKEN, "later"); /* not final: this is a reconnection */
        expect_hello(&hello);
        fake_send_welcome(&fake, 9, "me");
        run_until_seen(3);
        ck_assert_int_eq(seen[2].event.type, DIRECT_EVENT_CONNECTED);
        ck_assert_int_eq(seen[2].event.resumed, 0);
        ck_assert_uint_eq(direct_get_id(client), 9);
}
END_TEST

/* What is final is so for a client that was accepted before, too. */
START_TEST(test_resume_refused_for_good) {
        static const struct {
                uint16_t code;
                int error;
        } refusals[] = {
                { WIRE_REFUSED_VERSION, -EPROTONOSUPPORT },
                { WIRE_REFUSED_NOT_AUTHORISED, -EPERM },
                { WIRE_REFUSED_PROTOCOL, -EPROTO },
                { 99, -EPROTO },
        };
        WireHello hello;

        for (size_t i = 0; i < N_ELEMENTS(refusals); i++) {
                n_seen = 0;
                fake_connect(&fake, client);
                fake_close(&fake);
                expect_hello(&hello);
                fake_send_refused(&fake, refusals[i].code, "because");
                run_until_seen(3);
                ck_assert_int_eq(seen[2].event.type, DIRECT_EVENT_FAILED);
                ck_assert_int_eq(seen[2].event.error, refusals[i].error);
                ck_assert_int_eq(direct_send(client, 2, 0, NULL, 0), -ENOTCONN);
        }
}
END_TEST

START_TEST(test_goodbye_delay) {
        WireHello hello;
        uint64_t start;

        fake_connect(&fake, client);
        start = usec_now();
        fake_send_goodbye(&fake, WIRE_REASON_RESTARTING, 300, "");
        fake_close(&fake);
        run_until_seen(2);
        ck_assert_int_eq(seen[1].event.reason, DIRECT_REASON_RESTARTING);
        expect_hello(&hello);
        ck_assert_uint_ge(usec_now() - start, 300000);
}
END_TEST

START_TEST(test_replaced) {
        fake_connect(&fake, client);
        fake_send_goodbye(&fake, WIRE_REASON_REPLACED, 0, "");
        run_until_seen(3);
        ck_assert_int_eq(seen[1].event.type, DIRECT_EVENT_DISCONNECTED);
        ck_assert_int_eq(seen[1].event.reason, DIRECT_REASON_REPLACED);
        ck_assert_int_eq(seen[2].event.type, DIRECT_EVENT_FAILED);
        fake_settle(client);
        ck_assert_uint_eq(n_seen, 3);
}
END_TEST

START_TEST(test_no_reconnect) {
        struct pollfd pollfd = { .fd = fake.listen_fd, .events = POLLIN };
        DirectMessage *message;

        ck_assert_int_eq(direct_set_reconnect(client, 0), 0);
        fake_connect(&fake, client);
        fake_close(&fake);
        run_until_seen(2);
        fake_settle(client);
        ck_assert_int_eq(poll(&pollfd, 1, 0), 0);
        ck_assert_int_eq(direct_receive(client, 0, &message), -ENOTCONN);
        fake_connect(&fake, client); /* by hand */
}
END_TEST

START_TEST(test_ping) {
        fake_connect(&fake, client);
        fake_send(&fake, &(WireHeader) { .type = WIRE_PING, .tag = 12 }, "abc", 3);
        fake_expect(&fake, client, WIRE_PONG, &frame);
        ck_assert_uint_eq(frame.header.tag, 12);
        ck_assert_uint_eq(frame.header.length, 3);
        ck_assert_mem_eq(frame.payload, "abc", 3);
}
END_TEST

static size_t count_descriptors(void) {
        DIR *directory = opendir("/proc/self/fd");
        size_t n = 0;

        while (readdir(directory))
                n++;
        closedir(directory);
        return n;
}

START_TEST(test_descriptors) {
        size_t n = count_descriptors();

        for (int i = 0; i < 50; i++) {
                ck_assert_int_eq(direct_set_reconnect(client, 0), 0);
                fake_connect(&fake, client);
                if (i % 2)
                        fake_reset(&fake);
                fake_settle(client);
                client = direct_client_free(client);
                fake_close(&fake);
                ck_assert_int_eq(direct_client_new(&client), 0);
        }
        ck_assert_uint_eq(count_descriptors(), n);
}
END_TEST

TEST_MAIN_FIXTURE("client-session", setup, teardown, test_loopback, test_hello, test_refused, test_not_a_service,
                  test_kicked, test_kicked_while_writing, test_stop_while_writing, test_stop_while_writing_local, test_resume,
                  test_resume_confirmed, test_resume_refused, test_resume_refused_for_good, test_goodbye_delay, test_replaced,
                  test_no_reconnect, test_ping, test_descriptors)
