/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The one descriptor, what handlers may do, what is told when, and that nothing spins. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"

static Fake fake;
static FakeFrame frame;
static DirectClient *client;

static void setup(void) {
        fake_init(&fake);
        ck_assert_int_eq(direct_client_new(&client), 0);
        fake_connect(&fake, client);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
}

static bool is_readable(void) {
        struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };

        return poll(&pollfd, 1, 0) > 0;
}

static void wait_readable(void) {
        struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };

        ck_assert_int_eq(poll(&pollfd, 1, 20000), 1);
}

typedef struct Told {
        unsigned n;
        int result;
        int action_result;
} Told;

static void on_sent(DirectClient *c, int result, void *userdata) {
        Told *told = userdata;

        told->n++;
        told->result = result;
}

static void on_called(DirectClient *c, int result, DirectMessage *reply, void *userdata) {
        on_sent(c, result, userdata);
        direct_message_free(reply);
}

START_TEST(test_readable) {
        DirectMessage *message;
        uint32_t stream;

        ck_assert(!is_readable());
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert_int_eq(direct_wait(client, 0), 0);

        /* Something to write, more than goes out at once */
        ck_assert_int_eq(direct_send(client, 2, 0, "x", 1), 0);
        ck_assert(!is_readable());
        ck_assert_int_eq(direct_send(client, 2, 0, "y", 1), 0);
        ck_assert(is_readable());
        ck_assert_int_eq(direct_wait(client, DIRECT_FOREVER), 1);
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert(!is_readable());
        fake_expect_data(&fake, client, &frame);
        fake_expect_data(&fake, client, &frame);

        fake_settle(client);

        /* A question that a stream gives rise to before it has anything to say itself */
        ck_assert_int_eq(direct_stream_begin(client, 3, 0, DIRECT_SIZE_UNKNOWN, &stream), 0);
        ck_assert(fake_take(&fake, &frame));
        ck_assert_uint_eq(frame.header.kind, WIRE_ASK_WATCH);
        ck_assert(!is_readable());
        ck_assert_int_eq(direct_stream_begin(client, 4, 0, DIRECT_SIZE_UNKNOWN, &stream), 0);
        ck_assert(is_readable());
        ck_assert_int_eq(direct_process(client), 0);
        fake_expect_watch(&fake, client, 4, &frame);
        ck_assert(!is_readable());

        /* Something to read, that waits for direct_receive() afterwards */
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, "y", 1);
        wait_readable();
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert(!is_readable());
        ck_assert_int_eq(direct_receive(client, 0, &message), 0);
        direct_message_free(message);
}
END_TEST

/* What came in while a blocking function ran makes the descriptor readable, until direct_process() was called. */
START_TEST(test_readable_after_blocking) {
        DirectMessage *message, *reply;
        unsigned n = 0;

        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, "y", 1);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST | WIRE_REPLY, 0, client->questions.tag + 1, "r", 1);
        ck_assert_int_eq(direct_call(client, 2, 0, NULL, 0, DIRECT_FOREVER, &reply), 0);
        ck_assert_mem_eq(direct_message_get_data(reply), "r", 1);
        direct_message_free(reply);
        ck_assert(is_readable());
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert(!is_readable());
        while (direct_receive(client, 0, &message) == 0) {
                direct_message_free(message);
                n++;
        }
        ck_assert_uint_eq(n, 1);
}
END_TEST

static void on_message_count(DirectClient *c, DirectMessage *message, void *userdata) {
        Told *told = userdata;

        told->n++;
        direct_message_free(message);
}

/* The same for a handler that is set later than the message came. */
START_TEST(test_readable_with_handler) {
        Told told = {};

        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, "y", 1);
        wait_readable();
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert(!is_readable());
        direct_set_message_handler(client, on_message_count, &told);
        ck_assert(is_readable());
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert_uint_eq(told.n, 1);
        ck_assert(!is_readable());
}
END_TEST

/* Many small messages cost one write: they arrive in one piece. */
START_TEST(test_batch) {
        for (int i = 0; i < 100; i++)
                ck_assert_int_eq(direct_send(client, 2, 0, &i, sizeof(i)), 0);
        /* The first at once, the others with the next turn */
        do
                ck_assert(fake_take(&fake, &frame));
        while (frame.header.type == WIRE_ASK);
        ck_assert_uint_eq(frame.header.sequence, 1);
        ck_assert(!fake_take(&fake, &frame));
        ck_assert_uint_eq(direct_get_queued(client), 100 * (WIRE_HEADER_SIZE + sizeof(int)));
        ck_assert_int_eq(direct_process(client), 0);
        for (int i = 1; i < 100; i++) {
                fake_expect_data(&fake, client, &frame);
                ck_assert_mem_eq(frame.payload, &i, sizeof(i));
                ck_assert_uint_eq(frame.header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE);
                ck_assert_uint_eq(frame.header.sequence, i + 1u);
        }
        ck_assert_uint_eq(direct_get_queued(client), 100 * (WIRE_HEADER_SIZE + sizeof(int)));
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_uint_eq(direct_get_queued(client), 0);
}
END_TEST

static void on_message_block(DirectClient *c, DirectMessage *message, void *userdata) {
        Told *told = userdata;
        DirectMessage *reply;
        DirectAlive alive;
        uint64_t id;

        told->n++;
        ck_assert_int_eq(direct_call(c, 2, 0, NULL, 0, DIRECT_FOREVER, &reply), -EDEADLK);
        ck_assert_int_eq(direct_alive(c, "a", DIRECT_FOREVER, &alive), -EDEADLK);
        ck_assert_int_eq(direct_resolve(c, "a", DIRECT_FOREVER, &id), -EDEADLK);
        ck_assert_int_eq(direct_flush(c, DIRECT_FOREVER), -EDEADLK);
        ck_assert_int_eq(direct_wait(c, DIRECT_FOREVER), -EDEADLK);
        ck_assert_int_eq(direct_receive(c, 1, &reply), -EDEADLK);
        ck_assert_int_eq(direct_connect(c, NULL), -EDEADLK);
        ck_assert_int_eq(direct_process(c), -EDEADLK);
        ck_assert_int_eq(direct_send(c, 2, 0, "back", 4), 0);
        direct_message_free(message);
}

START_TEST(test_blocking_in_handler) {
        Told told = {};

        direct_set_message_handler(client, on_message_block, &told);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, NULL, 0);
        fake_expect_data(&fake, client, &frame);
        ck_assert_uint_eq(frame.header.length, 4);
        ck_assert_uint_eq(told.n, 1);
}
END_TEST

static void on_message_free(DirectClient *c, DirectMessage *message, void *userdata) {
        Told *told = userdata;

        told->n++;
        direct_message_free(message);
        ck_assert_ptr_null(direct_client_free(c));
        ck_assert_int_eq(direct_send(c, 2, 0, NULL, 0), -ENOTCONN);
}

START_TEST(test_free_in_handler) {
        Told message = {}, sent = {}, called = {};
        int r;

        direct_set_message_handler(client, on_message_free, &message);
        ck_assert_int_eq(direct_call_start(client, 2, 0, NULL, 0, DIRECT_FOREVER, on_called, &called), 0);
        ck_assert_int_eq(direct_process(client), 0);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, NULL, 0);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, NULL, 0);
        fake_send_data(&fake, 2, WIRE_FIRST, 1, 0, "\x10\0\0\0\0\0\0\0more", 12);
        do {
                wait_readable();
                r = direct_process(client);
        } while (r == 0);
        ck_assert_int_eq(r, -ECANCELED);
        ck_assert_uint_eq(message.n, 1);
        ck_assert_uint_eq(called.n, 1);
        ck_assert_int_eq(called.result, -ECANCELED);
        ck_assert_uint_eq(sent.n, 0);
        ck_assert_int_eq(direct_client_new(&client), 0); /* for the teardown */
}
END_TEST

static void on_message_disconnect(DirectClient *c, DirectMessage *message, void *userdata) {
        direct_message_free(message);
        ((Told *) userdata)->n++;
        ck_assert_int_eq(direct_disconnect(c), ((Told *) userdata)->n == 1 ? 0 : -ENOTCONN);
}

START_TEST(test_disconnect_in_handler) {
        Told message = {}, sent = {};
        uint32_t stream;

        direct_set_message_handler(client, on_message_disconnect, &message);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, NULL, 0);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, NULL, 0);
        ck_assert_int_eq(direct_stream_begin(client, 2, 0, DIRECT_SIZE_UNKNOWN, &stream), 0);
        fake_settle(client);
        ck_assert_uint_eq(message.n, 2); /* it was here already */
        fake_expect_watch(&fake, client, 2, &frame);
        fake_expect(&fake, client, WIRE_GOODBYE, &frame);
        ck_assert_int_eq(direct_send_async(client, 2, 0, NULL, 0, on_sent, &sent), -ENOTCONN);
        ck_assert_uint_eq(sent.n, 0);
}
END_TEST

START_TEST(test_sent) {
        enum { SIZE = 300000 };
        static char data[SIZE];
        Told small = {}, large = {}, stuck = {}, unreliable = {};

        ck_assert_int_eq(direct_send_async(client, 2, 0, "x", 1, on_sent, &small), 0);
        ck_assert_int_eq(direct_send_async(client, 2, 0, data, SIZE, on_sent, &large), 0);
        ck_assert_uint_eq(small.n, 0);
        fake_expect_data(&fake, client, &frame);
        fake_settle(client);
        ck_assert_uint_eq(small.n, 0); /* sent is not taken */
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_uint_eq(small.n, 1);
        ck_assert_int_eq(small.result, 0);
        for (size_t n = 0; n < (SIZE + 8 + WIRE_PAYLOAD_MAX - 1) / WIRE_PAYLOAD_MAX; n++) {
                fake_expect_data(&fake, client, &frame);
                ck_assert_uint_eq(large.n, 0);
                fake_ack(&fake, &frame);
        }
        fake_settle(client);
        ck_assert_uint_eq(large.n, 1);
        ck_assert_int_eq(large.result, 0);

        ck_assert_int_eq(direct_send_with(client, 2, 0, "x", 1,
                                          &(DirectSendOptions) { .flags = DIRECT_SEND_UNRELIABLE, .handler = on_sent,
                                                                 .userdata = &unreliable },
                                          sizeof(DirectSendOptions)), 0);
        fake_expect_data(&fake, client, &frame);
        ck_assert_uint_eq(frame.header.flags, WIRE_FIRST | WIRE_LAST);
        fake_settle(client);
        ck_assert_uint_eq(unreliable.n, 1);
        ck_assert_int_eq(unreliable.result, 0);

        ck_assert_int_eq(direct_send_async(client, 2, 0, "x", 1, on_sent, &stuck), 0);
        ck_assert_int_eq(direct_disconnect(client), 0);
        ck_assert_uint_eq(stuck.n, 0); /* not from within */
        ck_assert(is_readable());
        direct_process(client);
        ck_assert_uint_eq(stuck.n, 1);
        ck_assert_int_eq(stuck.result, -ECANCELED);
}
END_TEST

/* All goes on while the link is down. It ends with the session. */
START_TEST(test_link_lost) {
        enum { SIZE = 8 * 1024 * 1024 };
        Told large = {}, called = {}, after = {}, down = {}, unreliable = {};
        const DirectSendOptions once = { .flags = DIRECT_SEND_UNRELIABLE, .handler = on_sent, .userdata = &unreliable };
        DirectMessage *reply;
        char *data;

        data = calloc(1, SIZE);
        ck_assert_int_eq(direct_set_send_buffer(client, 4 * SIZE), 0);
        ck_assert_int_eq(direct_call_start(client, 2, 0, NULL, 0, DIRECT_FOREVER, on_called, &called), 0);
        ck_assert_int_eq(direct_send_async(client, 2, 0, data, SIZE, on_sent, &large), 0);
        ck_assert_int_eq(direct_send_async(client, 2, 0, data, SIZE, on_sent, &after), 0);
        ck_assert_int_eq(direct_send_with(client, 2, 0, NULL, 0, &once, sizeof(once)), 0);
        free(data);
        fake_reset(&fake);
        ck_assert_int_eq(direct_call(client, 2, 0, NULL, 0, 1000, &reply), -ETIMEDOUT); /* waits for better times */
        ck_assert_uint_eq(unreliable.n, 0); /* a blocking function calls no handler */
        while (direct_is_connected(client) || unreliable.n == 0) {
                wait_readable();
                direct_process(client);
        }
        ck_assert_int_eq(unreliable.result, -ECONNRESET);
        ck_assert_int_eq(direct_send_with(client, 2, 0, NULL, 0, &once, sizeof(once)), -ENOTCONN);
        ck_assert_int_eq(direct_send_async(client, 2, 0, "x", 1, on_sent, &down), 0);
        ck_assert_uint_eq(large.n + called.n + after.n + down.n, 0);

        fake_expect_hello(&fake, client, &frame);
        fake_send_refused(&fake, WIRE_REFUSED_RESUME, "");
        fake_expect_hello(&fake, client, &frame);
        fake_send_welcome(&fake, 9, "me");
        fake_settle(client);
        ck_assert_int_eq(large.result, -ECONNRESET);
        ck_assert_int_eq(called.result, -ECONNRESET);
        ck_assert_int_eq(after.result, -ECONNRESET);
        ck_assert_int_eq(down.result, -ECONNRESET);
        ck_assert_uint_eq(large.n, 1);
        ck_assert_uint_eq(called.n, 1);
        ck_assert_uint_eq(after.n, 1);
        ck_assert_uint_eq(down.n, 1);
        ck_assert_uint_eq(unreliable.n, 1);
        ck_assert_uint_eq(direct_get_queued(client), 0);
}
END_TEST

/* A program that takes no messages: reading stops at the bound, nothing spins, and all is there when it goes on. */
START_TEST(test_full_inbox) {
        enum { SIZE = 60000 };
        static char data[SIZE];
        DirectMessage *message;
        size_t n_sent = 0, n_received = 0;
        struct pollfd pollfd;

        for (;;) {
                uint8_t header[WIRE_HEADER_SIZE];

                wire_header_store(header,
                                  &(WireHeader) {
                                          .length = SIZE, .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST, .source = 2 });
                pollfd = (struct pollfd) { .fd = fake.fd, .events = POLLOUT };
                while (direct_process(client) > 0)
                        ;
                if (poll(&pollfd, 1, 100) == 0)
                        break;
                ck_assert_uint_lt(client->inbox.weight, INBOX_WEIGHT_MAX + 2 * WIRE_FRAME_MAX);
                /* Into whatever room there is, but frames have to be whole: the rest of one may block until the client has read
                 * more */
                if (client->inbox.full)
                        break;
                fake_send_bytes(&fake, header, sizeof(header));
                fake_send_bytes(&fake, data, SIZE);
                n_sent++;
        }
        ck_assert(client->inbox.full);
        ck_assert_int_eq(direct_process(client), 0);
        ck_assert(!is_readable());
        for (int i = 0; i < 3; i++) {
                fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, data, 1000);
                n_sent++;
        }
        ck_assert(!is_readable());
        while (n_received < n_sent) {
                int r = direct_receive(client, 20000000, &message);

                ck_assert_int_eq(r, 0);
                direct_message_free(message);
                n_received++;
        }
        ck_assert_int_eq(direct_receive(client, 0, &message), -EAGAIN);
}
END_TEST

/* While a call waits, so much is kept and no more. */
START_TEST(test_call_overrun) {
        enum { SIZE = 60000 };
        static char data[SIZE];
        DirectMessage *reply;
        int r = 0;

        ck_assert_int_eq(direct_set_max_message(client, 65536), 0);
        while (r != -ENOBUFS) {
                fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 0, data, SIZE);
                r = direct_call(client, 2, 0, NULL, 0, 1000, &reply);
                ck_assert(r == -ETIMEDOUT || r == -ENOBUFS);
                ck_assert_uint_lt(client->inbox.weight, INBOX_WEIGHT_MAX + 65536 + 2 * WIRE_FRAME_MAX);
        }
}
END_TEST

START_TEST(test_timeouts) {
        DirectMessage *message;
        Told called = {};
        uint64_t id;

        ck_assert_int_eq(direct_receive(client, 0, &message), -EAGAIN);
        ck_assert_int_eq(direct_receive(client, 1000, &message), -ETIMEDOUT);
        ck_assert_int_eq(direct_call(client, 2, 0, NULL, 0, 1000, &message), -ETIMEDOUT);
        ck_assert_int_eq(direct_resolve(client, "a", 0, &id), -ETIMEDOUT);
        ck_assert_int_eq(direct_call_start(client, 2, 0, NULL, 0, 1000, on_called, &called), 0);
        while (called.n == 0) {
                wait_readable();
                ck_assert_int_ge(direct_process(client), 0);
        }
        ck_assert_int_eq(called.result, -ETIMEDOUT);
        ck_assert_uint_eq(client->questions.n_calls, 0);
        /* A reply that comes too late is nobody's */
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST | WIRE_REPLY, 0, client->questions.tag, NULL, 0);
        fake_settle(client);
        ck_assert_int_eq(direct_receive(client, 0, &message), -EAGAIN);
}
END_TEST

static void on_event(DirectClient *c, const DirectEvent *event, void *userdata) {
        if (event->type == DIRECT_EVENT_WRITABLE)
                ((Told *) userdata)->n++;
}

/* What is not acknowledged takes room, wherever it is. */
START_TEST(test_send_buffer) {
        static char data[10000];
        Told writable = {};

        ck_assert_int_eq(direct_set_event_handler(client, on_event, &writable), 0);
        ck_assert_int_eq(direct_set_send_buffer(client, 30000), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), -EAGAIN);
        fake_expect_data(&fake, client, &frame);
        fake_settle(client);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), -EAGAIN);
        ck_assert_int_eq(direct_set_send_timeout(client, 1000), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), -ETIMEDOUT);
        ck_assert_int_eq(direct_flush(client, 1000), -ETIMEDOUT);
        ck_assert_int_eq(direct_set_send_timeout(client, 0), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), -EAGAIN);
        ck_assert_uint_eq(writable.n, 0);
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_uint_eq(writable.n, 1);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), 0);

        /* One is always taken */
        ck_assert_int_eq(direct_set_send_buffer(client, 0), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, NULL, 0), -EAGAIN);
        fake_expect_data(&fake, client, &frame);
        fake_expect_data(&fake, client, &frame);
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_int_eq(direct_send(client, 2, 0, data, sizeof(data)), 0);
}
END_TEST

/* Each message has its outcome, and the service has taken what was sent besides. */
START_TEST(test_flush) {
        int fd;

        ck_assert_int_eq(direct_flush(client, 0), 0); /* nothing was queued */
        ck_assert_int_eq(direct_send(client, 2, 0, "x", 1), 0);
        ck_assert_int_eq(direct_flush(client, 1000), -ETIMEDOUT);
        fake_expect_data(&fake, client, &frame);
        ck_assert_int_eq(direct_flush(client, 1000), -ETIMEDOUT);
        ck_assert(!fake_take(&fake, &frame));
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_int_eq(direct_flush(client, 1000), -ETIMEDOUT);
        fake_expect(&fake, client, WIRE_PING, &frame);
        ck_assert_int_eq(direct_flush(client, 0), -ETIMEDOUT); /* the question is out already */
        ck_assert(!fake_take(&fake, &frame));
        fake_send(&fake, &(WireHeader) { .type = WIRE_PONG, .tag = frame.header.tag - 1 }, NULL, 0);
        ck_assert_int_eq(direct_flush(client, 1000), -ETIMEDOUT);
        fake_send(&fake, &(WireHeader) { .type = WIRE_PONG, .tag = frame.header.tag }, NULL, 0);
        ck_assert_int_eq(direct_flush(client, DIRECT_FOREVER), 0);
        ck_assert_int_eq(direct_flush(client, 0), 0);

        /* A broadcast is nobody's to acknowledge, a file's as little as any other */
        fd = memfd_create("test", MFD_CLOEXEC);
        ck_assert_int_eq(ftruncate(fd, 10000), 0);
        ck_assert_int_eq(direct_send_fd(client, UINT64_MAX, 0, fd, DIRECT_SIZE_UNKNOWN, NULL, NULL), 0);
        close(fd);
        ck_assert_int_eq(direct_flush(client, 1000), -ETIMEDOUT);
        fake_expect(&fake, client, WIRE_DATA, &frame);
        fake_expect(&fake, client, WIRE_PING, &frame);
        fake_send(&fake, &(WireHeader) { .type = WIRE_PONG, .tag = frame.header.tag }, NULL, 0);
        ck_assert_int_eq(direct_flush(client, DIRECT_FOREVER), 0);
}
END_TEST

TEST_MAIN_FIXTURE("client-loop", setup, teardown, test_readable, test_readable_after_blocking, test_readable_with_handler,
                  test_batch, test_blocking_in_handler, test_free_in_handler, test_disconnect_in_handler, test_sent,
                  test_link_lost, test_full_inbox, test_call_overrun, test_timeouts, test_send_buffer, test_flush)
