/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service that breaks the protocol loses its client; other clients that send nonsense through a good service do not. */

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"

static Fake fake;
static FakeFrame frame;
static DirectClient *client;
static DirectEvent last_event;

static void on_event(DirectClient *c, const DirectEvent *event, void *userdata) {
        last_event = *event;
}

static void setup(void) {
        fake_init(&fake);
        ck_assert_int_eq(direct_client_new(&client), 0);
        direct_set_event_handler(client, on_event, NULL);
        direct_set_reconnect(client, 0);
        fake_connect(&fake, client);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
}

#define PRESENCE_HEAD "\1\0\0\0\0\0\0\0\1\0\0\0"

static const struct {
        WireHeader header;
        const char *payload;
        size_t size;
} bad_frames[] = {
        { { .type = 0 }, "", 0 },
        { { .type = WIRE_HELLO }, "", 0 },
        { { .type = WIRE_WELCOME }, "", 0 },
        { { .type = WIRE_REFUSED }, "\0\0", 2 },
        { { .type = WIRE_ASK, .kind = 1 }, "", 0 },
        { { .type = 0x2f }, "", 0 },
        { { .type = 0xff }, "", 0 },
        { { .type = WIRE_PING }, "123456789 123456789 123456789 123456789 123456789 123456789 12345", 65 },
        { { .type = WIRE_GOODBYE }, "\0\0\0\0", 4 },
        { { .type = WIRE_GOODBYE }, "\0\0\0\0\5\0abc", 9 },
        { { .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST }, "", 0 },
        { { .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST, .source = WIRE_TARGET_GROUP }, "", 0 },
        { { .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST | WIRE_RESERVED, .source = 2 }, "", 0 },
        { { .type = WIRE_PRESENCE }, "", 0 },
        { { .type = WIRE_PRESENCE }, PRESENCE_HEAD "\0\0\0\0\0\0\0\0\0", 21 },
        { { .type = WIRE_PRESENCE }, PRESENCE_HEAD "\5\0\0\0\0\0\0\0\4abc", 24 },
        { { .type = WIRE_PRESENCE }, PRESENCE_HEAD "\5\0\0\0\0\0\0\0\3a\x1b[", 24 },
};

START_TEST(test_bad_frame) {
        for (size_t i = 0; i < N_ELEMENTS(bad_frames); i++) {
                fake_send(&fake, &bad_frames[i].header, bad_frames[i].payload, bad_frames[i].size);
                fake_expect(&fake, client, WIRE_GOODBYE, &frame);
                ck_assert_uint_eq(frame.header.kind, WIRE_REASON_PROTOCOL);
                fake_settle(client);
                ck_assert_msg(last_event.type == DIRECT_EVENT_DISCONNECTED, "frame %zu", i);
                ck_assert_int_eq(last_event.reason, DIRECT_REASON_PROTOCOL);
                fake_connect(&fake, client);
        }
}
END_TEST

START_TEST(test_bad_length) {
        uint8_t header[WIRE_HEADER_SIZE];

        wire_header_store(header, &(WireHeader) { .length = WIRE_PAYLOAD_MAX + 1, .type = WIRE_PING });
        fake_send_bytes(&fake, header, 4); /* enough to see it */
        fake_expect(&fake, client, WIRE_GOODBYE, &frame);
        ck_assert_uint_eq(frame.header.kind, WIRE_REASON_PROTOCOL);
}
END_TEST

/* An answer of the right tag that can't be read */
START_TEST(test_bad_answer) {
        static const struct {
                uint16_t kind;
                uint8_t flags;
                const char *payload;
                size_t size;
        } answers[] = {
                { WIRE_ASK_ALIVE, 0, "\0\0\0\0\0\0\0\0\0", 9 },                   /* to another question */
                { WIRE_ASK_LIST, 0, "", 0 },                                      /* nothing */
                { WIRE_ASK_LIST, 0, "\0\0\0\0\0\0\0\0\xff\xff\xff\xff", 12 },     /* more announced than there is */
                { WIRE_ASK_LIST, 0, "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1\0", 22 }, /* id 0 */
                { WIRE_ASK_LIST, WIRE_ANSWER_FAILED, "\5\0\3\0", 4 },             /* a text that is not there */
        };

        for (size_t i = 0; i < N_ELEMENTS(answers); i++) {
                DirectPeer *peers;
                size_t n;

                fake_send(&fake, &(WireHeader) { .type = WIRE_ANSWER, .flags = answers[i].flags, .kind = answers[i].kind,
                                                 .tag = client->questions.tag + 1 }, answers[i].payload, answers[i].size);
                ck_assert_int_eq(direct_list(client, DIRECT_FOREVER, &peers, &n), -ECONNRESET);
                fake_settle(client);
                ck_assert_int_eq(last_event.reason, DIRECT_REASON_PROTOCOL);
                fake_connect(&fake, client);
        }
}
END_TEST

/* Nothing of that is worth a link. */
START_TEST(test_tolerated) {
        static const struct {
                WireHeader header;
                const char *payload;
                size_t size;
        } frames[] = {
                { { .type = WIRE_PONG }, "x", 1 },
                { { .type = WIRE_ACK, .source = 2 }, "", 0 },
                { { .type = WIRE_RESEND, .source = 2 }, "", 0 },
                { { .type = WIRE_MARK }, "", 0 },
                { { .type = WIRE_LOST, .source = 2 }, "", 0 },
                { { .type = WIRE_ANSWER, .kind = WIRE_ASK_LIST, .tag = 999999 }, "", 0 },
                { { .type = WIRE_ANSWER, .kind = 77 }, "", 0 },
                { { .type = WIRE_BOUNCE, .kind = 77, .target = 9, .stream = 5, .tag = 3 }, "", 0 },
                { { .type = WIRE_DATA, .source = 2 }, "", 0 }, /* a middle without a beginning */
                { { .type = WIRE_DATA, .source = 2, .flags = WIRE_LAST, .stream = 3 }, "abc", 3 },
                { { .type = WIRE_DATA, .source = 2, .flags = WIRE_FIRST, .stream = 4 }, "abc", 3 }, /* too short for its total */
                { { .type = WIRE_DATA, .source = 2, .flags = WIRE_FIRST, .stream = 5 },
                  "\2\0\0\0\0\0\0\0abc",
                  11 }, /* longer than its total */
                { { .type = WIRE_DATA, .source = 2, .flags = WIRE_FIRST, .stream = 6 }, "\xff\0\0\0\0\0\0\0", 8 },
                { { .type = WIRE_DATA, .source = 2, .flags = WIRE_LAST, .stream = 6 }, "ab", 2 }, /* shorter */
                { { .type = WIRE_DATA, .source = 2, .flags = WIRE_FIRST | WIRE_LAST | WIRE_REPLY, .tag = 5 },
                  "",
                  0 }, /* to no request */
        };
        DirectMessage *message;

        for (size_t i = 0; i < N_ELEMENTS(frames); i++)
                fake_send(&fake, &frames[i].header, frames[i].payload, frames[i].size);
        fake_send_data(&fake, 2, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE, 0, 0, "good", 4);
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        ck_assert_mem_eq(direct_message_get_data(message), "good", 4);
        direct_message_free(message);
        ck_assert_int_eq(direct_is_connected(client), 1);
        ck_assert_uint_eq(client->assembly.by_stream.n_nodes, 0);
        ck_assert_uint_eq(client->assembly.n_held, 0);
}
END_TEST

/* A service that asks and does not listen: what we owe it stays bounded. */
START_TEST(test_ping_flood) {
        uint8_t ping[WIRE_HEADER_SIZE + WIRE_PING_MAX] = {};
        struct pollfd pollfd = { .fd = fake.fd, .events = POLLOUT };
        unsigned quiet = 0;

        wire_header_store(ping, &(WireHeader) { .length = WIRE_PING_MAX, .type = WIRE_PING });
        while (quiet < 3) {
                if (poll(&pollfd, 1, 20) > 0) {
                        for (int i = 0; i < 10; i++)
                                fake_send_bytes(&fake, ping, sizeof(ping));
                        quiet = 0;
                } else
                        quiet++;
                ck_assert_int_ge(direct_process(client), 0);
                ck_assert_uint_le(client->sender.control.n_bytes, SENDER_CONTROL_MAX + 2 * sizeof(ping));
                if (client->sender.control.n_bytes > SENDER_CONTROL_MAX)
                        break;
        }
        ck_assert_int_eq(direct_is_connected(client), 1);
}
END_TEST

START_TEST(test_presence_flood) {
        struct pollfd pollfd = { .fd = fake.fd, .events = POLLOUT };
        DirectMessage *message;
        int r = -ETIMEDOUT;

        ck_assert_int_eq(direct_watch(client, 0, 1), 0);
        while (r == -ETIMEDOUT) {
                while (poll(&pollfd, 1, 0) > 0 && client->inbox.weight < INBOX_WEIGHT_MAX * 2)
                        for (int i = 0; i < 10; i++)
                                fake_send_presence(&fake, WIRE_EVENT_JOINED, 0, 4, "peer");
                direct_set_max_message(client, ASSEMBLY_MAX_MESSAGE_MIN);
                r = direct_receive(client, 1000, &message); /* never lets the handler see an event */
        }
        ck_assert_int_eq(r, -ENOBUFS);
        ck_assert_uint_lt(client->inbox.weight, 2 * INBOX_WEIGHT_MAX);
        while (direct_process(client) > 0)
                ;
        r = direct_receive(client, 1000, &message);
        ck_assert(r == -ETIMEDOUT || r == -ENOBUFS);
}
END_TEST

TEST_MAIN_FIXTURE("client-hostile", setup, teardown, test_bad_frame, test_bad_length, test_bad_answer, test_tolerated,
                  test_ping_flood, test_presence_flood)
