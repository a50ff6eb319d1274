/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Delivery as a program sees it: once and in order, whatever becomes of links; and broadcasts that were missed. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"

static Fake fake;
static FakeFrame frame;
static DirectClient *client;
static FakeEvents seen;

static void setup(void) {
        fake_init(&fake);
        seen = (FakeEvents) { .without_links = true };
        ck_assert_int_eq(direct_client_new(&client), 0);
        fake_connect(&fake, client);
        direct_set_event_handler(client, fake_on_event, &seen);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
}

static void resume(void) {
        fake_reset(&fake);
        fake_expect_hello(&fake, client, &frame);
        fake_send_welcome(&fake, 1, "me");
}

/* Nothing has come, nor does anything. */
static void expect_none(void) {
        fake_settle(client);
        ck_assert(!fake_take(&fake, &frame));
}

typedef struct Told {
        unsigned n;
        int result;
} Told;

static void on_sent(DirectClient *c, int result, void *userdata) {
        *(Told *) userdata = (Told) { ((Told *) userdata)->n + 1, result };
}

/* ---- Sending ---- */

START_TEST(test_again) {
        Told told[4] = {};

        for (int i = 0; i < 3; i++)
                ck_assert_int_eq(direct_send_async(client, 2, 0, &i, 1, on_sent, &told[i]), 0);
        fake_expect_data(&fake, client, &frame);
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_uint_eq(told[0].n, 1);
        resume();
        ck_assert_int_eq(direct_send_async(client, 2, 0, "\3", 1, on_sent, &told[3]), 0);
        fake_expect_watch(&fake, client, 2, &frame);
        ck_assert_uint_eq(told[1].n + told[2].n + told[3].n, 0);
        expect_none(); /* until it is known to be there */
        fake_answer_watch(&fake, &frame, WIRE_STATE_ALIVE);
        for (uint8_t i = 1; i < 4; i++) {
                fake_expect(&fake, client, WIRE_DATA, &frame);
                ck_assert_uint_eq(frame.header.sequence, i + 1u);
                ck_assert_uint_eq(frame.payload[0], i);
        }
        fake_ack(&fake, &frame);
        fake_settle(client);
        for (int i = 0; i < 4; i++) {
                ck_assert_uint_eq(told[i].n, 1);
                ck_assert_int_eq(told[i].result, 0);
        }
        ck_assert_uint_eq(direct_get_queued(client), 0);
        ck_assert_uint_eq(seen.n, 0);
}
END_TEST

/* After a lost link the target turns out to be away, and then to be gone. */
START_TEST(test_away_and_gone) {
        Told told = {};

        ck_assert_int_eq(direct_send(client, 2, 0, "1", 1), 0);
        ck_assert_int_eq(direct_send_async(client, 2, 0, "2", 1, on_sent, &told), 0);
        fake_expect_data(&fake, client, &frame);
        resume();
        fake_expect_watch(&fake, client, 2, &frame);
        fake_answer_watch(&fake, &frame, WIRE_STATE_AWAY);
        expect_none();
        fake_send_presence(&fake, WIRE_EVENT_LEFT, WIRE_REASON_DIED, 2, "peer");
        fake_settle(client);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_int_eq(told.result, -ENXIO);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.events[0].type, DIRECT_EVENT_UNDELIVERED);
        ck_assert_int_eq(seen.events[0].error, -ENXIO);
        ck_assert_uint_eq(seen.events[0].id, 2);
        ck_assert_uint_eq(seen.events[0].count, 1);
        ck_assert_uint_eq(direct_get_queued(client), 0);
}
END_TEST

static void on_resolved(DirectClient *c, int result, uint64_t id, void *userdata) {
        on_sent(c, result, userdata);
}

/* Questions go on, too, and can be asked meanwhile. */
START_TEST(test_questions) {
        Told before = {}, meanwhile = {};
        uint8_t payload[9] = { 7 };

        payload[8] = WIRE_STATE_ALIVE;
        ck_assert_int_eq(direct_resolve_start(client, "a", DIRECT_FOREVER, on_resolved, &before), 0);
        fake_expect(&fake, client, WIRE_ASK, &frame);
        fake_reset(&fake);
        fake_settle(client);
        ck_assert_int_eq(direct_is_connected(client), 0);
        ck_assert_int_eq(direct_resolve_start(client, "b", DIRECT_FOREVER, on_resolved, &meanwhile), 0);
        fake_expect_hello(&fake, client, &frame);
        fake_send_welcome(&fake, 1, "me");
        for (int i = 0; i < 2; i++) {
                fake_expect(&fake, client, WIRE_ASK, &frame);
                ck_assert_uint_eq(frame.header.kind, WIRE_ASK_RESOLVE);
                fake_answer(&fake, &frame, 0, payload, sizeof(payload));
        }
        fake_settle(client);
        ck_assert_uint_eq(before.n, 1);
        ck_assert_int_eq(before.result, 0);
        ck_assert_uint_eq(meanwhile.n, 1);
        ck_assert_int_eq(meanwhile.result, 0);
}
END_TEST

/* One that takes nothing holds up what is for it, and nothing else. */
START_TEST(test_credit) {
        enum { SIZE = 60000, N = (1 << 20) / (SIZE + WIRE_HEADER_SIZE) };
        static uint8_t data[SIZE];
        unsigned n[4] = {};

        for (unsigned i = 0; i < N + 3; i++)
                ck_assert_int_eq(direct_send(client, 2, 0, data, SIZE), 0);
        ck_assert_int_eq(direct_send(client, 3, 0, data, SIZE), 0);
        while (n[2] + n[3] < N + 1) {
                fake_expect_data(&fake, client, &frame);
                n[frame.header.target]++;
        }
        ck_assert_uint_eq(n[2], N);
        ck_assert_uint_eq(n[3], 1);
        expect_none();
        frame.header.target = 2;
        frame.header.sequence = N;
        fake_ack(&fake, &frame);
        for (unsigned i = 1; i <= 3; i++) {
                fake_expect_data(&fake, client, &frame);
                ck_assert_uint_eq(frame.header.sequence, N + i);
        }
}
END_TEST

START_TEST(test_time_to_live) {
        DirectSendOptions options = { .time_to_live_usec = 1000 };
        Told told = {};

        options.flags = DIRECT_SEND_UNRELIABLE;
        ck_assert_int_eq(direct_send_with(client, 2, 0, NULL, 0, &options, sizeof(options)), -EINVAL);
        options.flags = 2;
        ck_assert_int_eq(direct_send_with(client, 2, 0, NULL, 0, &options, sizeof(options)), -EINVAL);
        options.flags = 0;

        ck_assert_int_eq(direct_send(client, 2, 0, "1", 1), 0);
        fake_expect_data(&fake, client, &frame);
        fake_send_presence(&fake, WIRE_EVENT_AWAY, WIRE_REASON_LINK_LOST, 2, "peer");
        fake_settle(client);
        ck_assert_int_eq(direct_send_with(client, 2, 0, "2", 1, &options, sizeof(options)), 0);
        options.handler = on_sent;
        options.userdata = &told;
        ck_assert_int_eq(direct_send_with(client, 2, 0, "3", 1, &options, sizeof(options)), 0);
        ck_assert_int_eq(direct_send(client, 2, 0, "4", 1), 0);
        while (told.n == 0 || seen.n == 0) {
                struct pollfd pollfd = { .fd = direct_get_fd(client), .events = POLLIN };

                ck_assert_int_eq(poll(&pollfd, 1, 20000), 1);
                ck_assert_int_ge(direct_process(client), 0);
        }
        ck_assert_int_eq(told.result, -ETIME);
        ck_assert_int_eq(seen.events[0].type, DIRECT_EVENT_UNDELIVERED);
        ck_assert_int_eq(seen.events[0].error, -ETIME);
        ck_assert_uint_eq(seen.events[0].id, 2);
        ck_assert_uint_eq(seen.events[0].count, 1);
        fake_send_presence(&fake, WIRE_EVENT_BACK, 0, 2, "peer");
        for (unsigned i = 1; i <= 2; i++) {
                fake_expect(&fake, client, WIRE_DATA, &frame);
                ck_assert_uint_eq(frame.header.sequence, i);
                ck_assert_uint_eq(frame.payload[0], i == 1 ? '1' : '4');
        }
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_uint_eq(direct_get_queued(client), 0);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_uint_eq(seen.n, 1);
}
END_TEST

/* The session turns out to have ended while a name is asked for: a message to that name is refused, or its handler is told. */
START_TEST(test_ended_while_asking) {
        Told told = {};
        int r;

        fake_send_goodbye(&fake, WIRE_REASON_KICKED, 0, "enough");
        ck_assert_int_eq(poll(&(struct pollfd) { .fd = client->link.fd, .events = POLLIN }, 1, 10000), 1);
        ck_assert_int_eq(shutdown(client->link.fd, SHUT_WR), 0); /* so that writing fails */
        client->sender.n_fresh = 1024 * 1024; /* as after much that a socket was too full for: there is reason to write at once */
        r = direct_send_name_async(client, "somebody", 0, "x", 1, on_sent, &told);
        fake_settle(client);
        ck_assert_int_eq(r, 0);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_int_eq(told.result, -ECONNRESET);
        ck_assert_uint_eq(direct_get_queued(client), 0);
}
END_TEST

/* ---- Receiving ---- */

/* A whole message of `source`, whose only byte is its number. */
static void send_number(uint64_t source, uint64_t sequence) {
        fake_send_reliable(&fake, source, WIRE_FIRST | WIRE_LAST, 0, sequence, &(uint8_t) { (uint8_t) sequence }, 1);
}

static void receive_number(uint64_t number) {
        DirectMessage *message;

        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        ck_assert_uint_eq(*(const uint8_t *) direct_message_get_data(message), number);
        direct_message_free(message);
}

static void receive_none(void) {
        DirectMessage *message;

        fake_settle(client);
        ck_assert_int_eq(direct_receive(client, 0, &message), -EAGAIN);
}

/* Returns the credit that it brings. */
static uint64_t expect_ack(uint64_t target, uint32_t stream, uint64_t sequence) {
        fake_expect(&fake, client, WIRE_ACK, &frame);
        ck_assert_uint_eq(frame.header.target, target);
        ck_assert_uint_eq(frame.header.stream, stream);
        ck_assert_uint_eq(frame.header.sequence, sequence);
        ck_assert_uint_eq(frame.header.length, 8);
        return wire_load_u64(frame.payload);
}

START_TEST(test_duplicates) {
        static const uint64_t sequences[] = { 1, 2, 2, 1, 4, 3, 2 };

        for (size_t i = 0; i < N_ELEMENTS(sequences); i++)
                send_number(2, sequences[i]);
        for (uint64_t i = 1; i <= 3; i++)
                receive_number(i);
        receive_none();
        fake_expect_watch(&fake, client, 2, &frame);
        do
                fake_expect(&fake, client, WIRE_ACK, &frame);
        while (frame.header.sequence < 3);
        expect_none();
        send_number(2, 3); /* the acknowledgement was lost, it seems */
        expect_ack(2, 0, 3);
        receive_none();
        send_number(2, 4);
        receive_number(4);
        expect_ack(2, 0, 4);
}
END_TEST

/* What the program has not taken is not acknowledged, and takes from the sender's credit. */
START_TEST(test_taken) {
        static const uint8_t data[50000];
        uint64_t credit, before;
        DirectMessage *message;

        for (uint64_t i = 1; i <= 3; i++)
                fake_send_reliable(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, i, data, sizeof(data));
        fake_expect_watch(&fake, client, 2, &frame);
        expect_none();
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        before = expect_ack(2, 0, 1);
        ck_assert_uint_ge(before, 1 << 20); /* it never shrinks */
        direct_message_free(message);
        expect_none();
        for (uint64_t i = 2; i <= 3; i++) {
                ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
                direct_message_free(message);
                credit = expect_ack(2, 0, i);
                ck_assert_uint_ge(credit, before);
                before = credit;
        }
}
END_TEST

/* The link is lost between arrival and taking: what is here is not lost, and not there twice. */
START_TEST(test_link_lost) {
        send_number(2, 1);
        send_number(2, 2);
        fake_expect_watch(&fake, client, 2, &frame);
        receive_number(1);
        expect_ack(2, 0, 1);
        resume();
        fake_expect_watch(&fake, client, 2, &frame);
        fake_answer_watch(&fake, &frame, WIRE_STATE_ALIVE);
        send_number(2, 2);
        send_number(2, 3);
        receive_number(2);
        receive_number(3);
        receive_none();
        do
                fake_expect(&fake, client, WIRE_ACK, &frame);
        while (frame.header.sequence < 3);
}
END_TEST

/* Parts of a large message over two links; and once more what belongs to one that has ended. */
START_TEST(test_stream) {
        DirectMessage *message;

        fake_send_reliable(&fake, 2, WIRE_FIRST, 4, 1, "\6\0\0\0\0\0\0\0abc", 11);
        fake_expect_watch(&fake, client, 2, &frame);
        expect_ack(2, 4, 1);
        resume();
        fake_expect_watch(&fake, client, 2, &frame);
        fake_answer_watch(&fake, &frame, WIRE_STATE_ALIVE);
        fake_send_reliable(&fake, 2, WIRE_FIRST, 4, 1, "\6\0\0\0\0\0\0\0abc", 11);
        fake_send_reliable(&fake, 2, WIRE_LAST, 4, 2, "def", 3);
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        ck_assert_uint_eq(direct_message_get_size(message), 6);
        ck_assert_mem_eq(direct_message_get_data(message), "abcdef", 6);
        direct_message_free(message);
        do
                fake_expect(&fake, client, WIRE_ACK, &frame);
        while (frame.header.sequence < 2);
        fake_send_reliable(&fake, 2, WIRE_LAST, 4, 2, "def", 3);
        expect_ack(2, 4, 2);
        receive_none();
}
END_TEST

/* What the client has sent by now, without being called again */
static void expect_sent(WireType type) {
        do
                while (!fake_take(&fake, &frame))
                        ck_assert_int_eq(poll(&(struct pollfd) { .fd = fake.fd, .events = POLLIN }, 1, 10000), 1);
        while (frame.header.type != type);
}

/* Who computes for an hour with what it was given lets nobody wait for the acknowledgement meanwhile. */
START_TEST(test_told_at_once) {
        DirectMessage *message;

        fake_send_reliable(&fake, 2, WIRE_FIRST | WIRE_LAST, 0, 1, "x", 1);
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        direct_message_free(message);
        expect_sent(WIRE_ACK);
        ck_assert_uint_eq(frame.header.sequence, 1);
}
END_TEST

/* … nor for the ones before, if it does that with each, however many lie in memory. */
START_TEST(test_told_by_who_is_slow) {
        for (uint64_t i = 1; i <= 4; i++)
                send_number(2, i);
        for (uint64_t i = 1; i <= 3; i++) {
                receive_number(i);
                expect_sent(WIRE_ACK);
                ck_assert_uint_eq(frame.header.sequence, i);
                usleep(20 * 1000); /* its work takes longer than a tick of any kernel */
        }
}
END_TEST

static void bounce_overloaded(void) {
        WireHeader header = frame.header;

        header.type = WIRE_BOUNCE;
        header.kind = WIRE_BOUNCE_OVERLOADED;
        header.length = 0;
        fake_send(&fake, &header, NULL, 0);
}

/* Who does not read its acknowledgements gets them later, and nobody is told of that. */
START_TEST(test_acknowledgement_comes_back) {
        send_number(2, 1);
        receive_number(1);
        fake_expect_watch(&fake, client, 2, &frame);
        expect_ack(2, 0, 1);
        bounce_overloaded();
        send_number(2, 2);
        receive_number(2);
        expect_ack(2, 0, 2); /* the one for both */
        /* Of a stream that has ended nothing but the number is known */
        fake_send_reliable(&fake, 2, WIRE_FIRST | WIRE_LAST, 1, 1, "x", 1);
        receive_number('x');
        expect_ack(2, 1, 1);
        bounce_overloaded();
        expect_ack(2, 1, 1);
        bounce_overloaded();
        resume();
        fake_expect_watch(&fake, client, 2, &frame);
        expect_ack(2, 1, 1);
        expect_none();
        ck_assert_uint_eq(seen.n, 0);
}
END_TEST

/* ---- Broadcasts ---- */

static void send_range(uint8_t type, uint64_t source, uint64_t first, uint64_t last) {
        uint8_t payload[16];

        wire_store_u64(payload, first);
        wire_store_u64(payload + 8, last);
        fake_send(&fake, &(WireHeader) { .type = type, .source = source, .target = 1 }, payload, sizeof(payload));
}

START_TEST(test_broadcasts_kept) {
        enum { SIZE = 60000, N = 100 };
        static uint8_t data[SIZE];
        uint64_t lost;

        for (uint64_t i = 1; i <= N; i++) {
                ck_assert_int_eq(direct_broadcast(client, 0, data, SIZE), 0);
                fake_expect(&fake, client, WIRE_DATA, &frame);
                ck_assert_uint_eq(frame.header.target, WIRE_TARGET_BROADCAST);
                ck_assert_uint_eq(frame.header.sequence, i);
                ck_assert_uint_eq(frame.header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE);
        }
        ck_assert_uint_eq(direct_get_queued(client), 0);
        send_range(WIRE_RESEND, 7, N - 1, 0);
        for (uint64_t i = N - 1; i <= N; i++) {
                fake_expect(&fake, client, WIRE_DATA, &frame);
                ck_assert_uint_eq(frame.header.target, 7);
                ck_assert_uint_eq(frame.header.sequence, i);
                ck_assert_uint_eq(frame.header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE | WIRE_BROADCAST);
        }
        fake_expect(&fake, client, WIRE_MARK, &frame);
        ck_assert_uint_eq(frame.header.target, 7);
        ck_assert_uint_eq(frame.header.sequence, N);

        /* From the beginning: the oldest are no longer kept */
        send_range(WIRE_RESEND, 7, 1, 0);
        fake_expect(&fake, client, WIRE_LOST, &frame);
        ck_assert_uint_eq(frame.header.target, 7);
        ck_assert_uint_eq(wire_load_u64(frame.payload), 1);
        lost = wire_load_u64(frame.payload + 8);
        ck_assert_uint_gt(lost, 0);
        ck_assert_uint_lt(lost, N / 2);
        for (uint64_t i = lost + 1;; i++) {
                FakeFrame next;

                fake_settle(client);
                ck_assert(fake_take(&fake, &next));
                if (next.header.type == WIRE_MARK)
                        break;
                ck_assert_uint_eq(next.header.sequence, i);
        }

        /* A new link: others may have missed some that went with the old one */
        resume();
        fake_expect(&fake, client, WIRE_MARK, &frame);
        ck_assert_uint_eq(frame.header.target, WIRE_TARGET_BROADCAST);
        ck_assert_uint_eq(frame.header.sequence, N);
}
END_TEST

static void send_broadcast(uint64_t source, uint64_t sequence, bool again) {
        fake_send(&fake,
                  &(WireHeader) { .type = WIRE_DATA,
                                  .flags = (uint8_t) (WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE | (again ? WIRE_BROADCAST : 0)),
                                  .source = source,
                                  .target = again ? 1 : WIRE_TARGET_BROADCAST,
                                  .sequence = sequence },
                  &(uint8_t) { (uint8_t) sequence }, 1);
}

static void send_mark(uint64_t source, uint64_t sequence, uint8_t flags) {
        fake_send(&fake,
                  &(WireHeader) { .type = WIRE_MARK, .flags = flags, .source = source, .target = 1, .sequence = sequence }, NULL,
                  0);
}

static void expect_resend(uint64_t target, uint64_t first) {
        fake_expect(&fake, client, WIRE_RESEND, &frame);
        ck_assert_uint_eq(frame.header.target, target);
        ck_assert_uint_eq(frame.header.length, 16);
        ck_assert_uint_eq(wire_load_u64(frame.payload), first);
        ck_assert_uint_eq(wire_load_u64(frame.payload + 8), 0);
}

START_TEST(test_broadcasts_missed) {
        send_broadcast(5, 1, false);
        receive_number(1);
        fake_expect_watch(&fake, client, 5, &frame);
        send_broadcast(5, 3, false);
        send_broadcast(5, 4, false);
        expect_resend(5, 2);
        receive_none();
        expect_none(); /* once */
        for (uint64_t i = 2; i <= 4; i++)
                send_broadcast(5, i, true);
        send_mark(5, 4, 0);
        for (uint64_t i = 2; i <= 4; i++)
                receive_number(i);
        send_broadcast(5, 4, false); /* once more */
        receive_none();
        expect_none();

        /* Skipped by the service, and not to be had any more */
        send_mark(5, 6, 0);
        expect_resend(5, 5);
        send_range(WIRE_LOST, 5, 5, 5);
        send_broadcast(5, 6, true);
        receive_number(6);
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.events[0].type, DIRECT_EVENT_LOST);
        ck_assert_uint_eq(seen.events[0].id, 5);
        ck_assert_uint_eq(seen.events[0].count, 1);
        send_range(WIRE_LOST, 5, 1, 100); /* of what was never missed */
        expect_none();

        /* Our link is lost while some are being waited for */
        send_mark(5, 8, 0);
        expect_resend(5, 7);
        resume();
        do
                fake_expect(&fake, client, frame.header.type == WIRE_HELLO ? WIRE_ASK : WIRE_RESEND, &frame);
        while (frame.header.type != WIRE_RESEND);
        ck_assert_uint_eq(wire_load_u64(frame.payload), 7);

        /* Their sender is gone */
        fake_send_presence(&fake, WIRE_EVENT_LEFT, WIRE_REASON_DIED, 5, "peer");
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 2);
        ck_assert_int_eq(seen.events[1].type, DIRECT_EVENT_LOST);
        ck_assert_uint_eq(seen.events[1].count, 2);
}
END_TEST

/* What was broadcast before we came is not missed. */
START_TEST(test_broadcasts_baseline) {
        send_mark(6, 10, WIRE_MARK_BASELINE);
        fake_expect_watch(&fake, client, 6, &frame);
        expect_none();
        send_broadcast(6, 10, false);
        send_broadcast(6, 11, false);
        receive_number(11);
        receive_none();
        expect_none();
        ck_assert_uint_eq(seen.n, 0);
}
END_TEST

/* A small file is kept as any broadcast is, but whoever sent it is told when it is gone. */
START_TEST(test_broadcast_file) {
        Told told = {};
        int fd = memfd_create("file", MFD_CLOEXEC);

        ck_assert_int_eq(write(fd, "x", 1), 1);
        ck_assert_int_eq(direct_send_fd(client, WIRE_TARGET_BROADCAST, 0, fd, DIRECT_SIZE_UNKNOWN, on_sent, &told), 0);
        close(fd);
        fake_expect(&fake, client, WIRE_DATA, &frame);
        fake_settle(client);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_int_eq(told.result, 0);
}
END_TEST

TEST_MAIN_FIXTURE("client-flows", setup, teardown, test_again, test_away_and_gone, test_questions, test_ended_while_asking,
                  test_credit, test_time_to_live, test_duplicates, test_taken, test_told_at_once, test_told_by_who_is_slow,
                  test_acknowledgement_comes_back, test_link_lost, test_stream, test_broadcasts_kept, test_broadcasts_missed,
                  test_broadcast_file, test_broadcasts_baseline)
