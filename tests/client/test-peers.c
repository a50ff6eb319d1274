/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions, names, calls and presence: what the client asks, and what it makes of the answers. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"

static Fake fake;
static FakeFrame frame;
static DirectClient *client;
static FakeEvents seen;

static void setup(void) {
        fake_init(&fake);
        seen = (FakeEvents) {};
        ck_assert_int_eq(direct_client_new(&client), 0);
        fake_connect(&fake, client);
        direct_set_event_handler(client, fake_on_event, &seen);
}

static void teardown(void) {
        client = direct_client_free(client);
        fake_deinit(&fake);
}

static void expect_ask(uint16_t kind) {
        fake_expect(&fake, client, WIRE_ASK, &frame);
        ck_assert_uint_eq(frame.header.kind, kind);
        ck_assert_uint_eq(frame.header.target, WIRE_TARGET_SERVICE);
}

static void expect_watch(uint64_t id, bool on) {
        expect_ask(WIRE_ASK_WATCH);
        ck_assert_uint_eq(frame.header.length, 9);
        ck_assert_uint_eq(wire_load_u64(frame.payload), id);
        ck_assert_uint_eq(frame.payload[8], on);
}

static void answer_watch(uint8_t state) {
        fake_answer_watch(&fake, &frame, state);
}

static void answer_resolve(uint64_t id) {
        uint8_t payload[9] = {};

        wire_store_u64(payload, id);
        payload[8] = id != 0 ? WIRE_STATE_ALIVE : WIRE_STATE_UNKNOWN;
        fake_answer(&fake, &frame, 0, payload, sizeof(payload));
}

/* What was received comes back. */
static void bounce(uint16_t reason, const FakeFrame *sent) {
        WireHeader header = sent->header;

        header.type = WIRE_BOUNCE;
        header.kind = reason;
        header.flags = 0;
        header.source = 1;
        fake_send(&fake, &header, NULL, 0);
}

typedef struct Told {
        unsigned n;
        int result;
        size_t n_peers;
        DirectAlive alive;
        char text[64];
} Told;

static void on_called(DirectClient *c, int result, DirectMessage *reply, void *userdata) {
        Told *told = userdata;

        told->n++;
        told->result = result;
        snprintf(told->text, sizeof(told->text), "%s", direct_get_error(c));
        direct_message_free(reply);
}

static void on_sent(DirectClient *c, int result, void *userdata) {
        on_called(c, result, NULL, userdata);
}

static void on_resolved(DirectClient *c, int result, uint64_t id, void *userdata) {
        on_called(c, result, NULL, userdata);
}

static void on_alive(DirectClient *c, int result, const DirectAlive *alive, void *userdata) {
        on_called(c, result, NULL, userdata);
        if (alive)
                ((Told *) userdata)->alive = *alive;
}

static void on_list(DirectClient *c, int result, const DirectPeer *peers, size_t n_peers, void *userdata) {
        on_called(c, result, NULL, userdata);
        ((Told *) userdata)->n_peers = n_peers;
        for (size_t i = 0; i < n_peers; i++)
                ck_assert_uint_eq(peers[i].id, i + 1);
}

static void put_peers(WireWriter *w, uint64_t first, uint32_t n) {
        wire_write_u64(w, 10);
        wire_write_u32(w, n);
        for (uint32_t i = 0; i < n; i++) {
                wire_write_u64(w, first + i);
                wire_write_u8(w, WIRE_STATE_ALIVE);
                wire_write_text8(w, "peer", 4);
        }
}

START_TEST(test_list) {
        uint8_t payload[1024];
        Told told = {};

        ck_assert_int_eq(direct_list_start(client, DIRECT_FOREVER, on_list, &told), 0);
        for (uint64_t after = 0; after <= 30; after += 10) {
                WireWriter w = wire_writer(payload, sizeof(payload));

                expect_ask(WIRE_ASK_LIST);
                ck_assert_uint_eq(wire_load_u64(frame.payload), after);
                put_peers(&w, after + 1, after < 30 ? 10 : 0);
                fake_answer(&fake, &frame, 0, payload, wire_writer_size(&w));
        }
        fake_settle(client);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_int_eq(told.result, 0);
        ck_assert_uint_eq(told.n_peers, 30);
}
END_TEST

START_TEST(test_answers) {
        Told told = {}, failed = {};
        uint8_t payload[256];
        int n;

        ck_assert_int_eq(direct_alive_start(client, "other", DIRECT_FOREVER, on_alive, &told), 0);
        expect_ask(WIRE_ASK_ALIVE);
        ck_assert_mem_eq(frame.payload, "\0\0\0\0\0\0\0\0\5other", 14);
        n = wire_alive_store(&(WireAlive) { 4, WIRE_STATE_BUSY, 1500, 20, 333, { "other", 5 } }, payload, sizeof(payload));
        fake_answer(&fake, &frame, 0, payload, (size_t) n);
        fake_settle(client);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_uint_eq(told.alive.id, 4);
        ck_assert_int_eq(told.alive.state, DIRECT_STATE_BUSY);
        ck_assert_uint_eq(told.alive.silence_usec, 1500000);
        ck_assert_uint_eq(told.alive.kernel_silence_usec, 20000);
        ck_assert_uint_eq(told.alive.rtt_usec, 333);
        ck_assert_str_eq(told.alive.name, "other");

        ck_assert_int_eq(direct_resolve_start(client, "other", DIRECT_FOREVER, on_resolved, &failed), 0);
        expect_ask(WIRE_ASK_RESOLVE);
        n = wire_failure_store(&(WireFailure) { EACCES, { "not for you", 11 } }, payload, sizeof(payload));
        fake_answer(&fake, &frame, WIRE_ANSWER_FAILED, payload, (size_t) n);
        fake_settle(client);
        ck_assert_int_eq(failed.result, -EACCES);
        ck_assert_str_eq(failed.text, "not for you");
}
END_TEST

/* A service of another version knows fewer fields, or more. */
START_TEST(test_load) {
        uint8_t payload[100 * 8];
        DirectLoad load;
        uint32_t tag;

        for (size_t i = 0; i < sizeof(payload) / 8; i++)
                wire_store_u64(payload + i * 8, i + 1);
        for (size_t n = 0; n <= sizeof(payload); n += 160) {
                tag = client->questions.tag + 1; /* what the question is going to have */
                fake_send(&fake, &(WireHeader) { .type = WIRE_ANSWER, .kind = WIRE_ASK_LOAD, .tag = tag }, payload, n);
                ck_assert_int_eq(direct_load(client, DIRECT_FOREVER, &load, sizeof(load)), 0);
                ck_assert_uint_eq(load.uptime_usec, n > 0 ? 1 : 0);
                ck_assert_uint_eq(load.protocol_errors, n >= sizeof(load) ? sizeof(load) / 8 : 0);
        }
}
END_TEST

START_TEST(test_names) {
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "1", 1), 0);
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "2", 1), 0);
        ck_assert_uint_eq(direct_get_queued(client), 2);
        expect_ask(WIRE_ASK_RESOLVE);
        ck_assert_mem_eq(frame.payload, "\4peer", 5);
        answer_resolve(4);
        expect_watch(4, true);
        answer_watch(WIRE_STATE_ALIVE);
        for (int i = 0; i < 2; i++) {
                fake_expect(&fake, client, WIRE_DATA, &frame);
                ck_assert_uint_eq(frame.header.target, 4);
                ck_assert_uint_eq(frame.payload[0], '1' + i);
        }
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "3", 1), 0);
        fake_expect(&fake, client, WIRE_DATA, &frame); /* no question */
        ck_assert_uint_eq(frame.header.sequence, 3);
        fake_ack(&fake, &frame);

        /* The client leaves: its name is not its name any more */
        fake_send_presence(&fake, WIRE_EVENT_LEFT, WIRE_REASON_DIED, 4, "peer");
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 0); /* the program did not ask to be told */
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "4", 1), 0);
        expect_ask(WIRE_ASK_RESOLVE);
        answer_resolve(0);
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.events[0].type, DIRECT_EVENT_UNDELIVERED);
        ck_assert_int_eq(seen.events[0].error, -ENXIO);
        ck_assert_uint_eq(direct_get_queued(client), 0);
}
END_TEST

START_TEST(test_names_bounce) {
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "1", 1), 0);
        expect_ask(WIRE_ASK_RESOLVE);
        answer_resolve(4);
        expect_watch(4, true);
        fake_expect(&fake, client, WIRE_DATA, &frame);
        bounce(WIRE_BOUNCE_NO_CLIENT, &frame);
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.events[0].type, DIRECT_EVENT_UNDELIVERED);
        ck_assert_int_eq(seen.events[0].error, -ENXIO);
        ck_assert_uint_eq(seen.events[0].id, 4);
        ck_assert_uint_eq(seen.events[0].count, 1);
        ck_assert_uint_eq(direct_get_queued(client), 0);
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "2", 1), 0);
        expect_ask(WIRE_ASK_RESOLVE);
}
END_TEST

/* The question is asked again, and what waits for its answer waits on. */
START_TEST(test_names_link_lost) {
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "1", 1), 0);
        expect_ask(WIRE_ASK_RESOLVE);
        fake_close(&fake);
        fake_settle(client);
        ck_assert_int_eq(direct_send_name(client, "peer", 0, "2", 1), 0);
        ck_assert_uint_eq(direct_get_queued(client), 2);
        fake_expect_hello(&fake, client, &frame);
        fake_send_welcome(&fake, 1, "me");
        expect_ask(WIRE_ASK_RESOLVE);
        answer_resolve(4);
        for (int i = 0; i < 2; i++) {
                fake_expect_data(&fake, client, &frame);
                ck_assert_uint_eq(frame.payload[0], '1' + i);
        }
}
END_TEST

/* A call watches its target; the watch outlives it. */
static uint32_t start_call(uint64_t target, Told *told, bool is_first) {
        ck_assert_int_eq(direct_call_start(client, target, 3, "?", 1, DIRECT_FOREVER, on_called, told), 0);
        if (is_first) {
                expect_watch(target, true);
                answer_watch(WIRE_STATE_ALIVE);
        }
        fake_expect(&fake, client, WIRE_DATA, &frame);
        ck_assert_uint_eq(frame.header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE | WIRE_REQUEST);
        ck_assert_uint_ne(frame.header.tag, 0);
        return frame.header.tag;
}

START_TEST(test_calls) {
        Told first = {}, second = {}, third = {}, fourth = {}, stranger = {};
        uint32_t tag;

        tag = start_call(4, &first, true);
        fake_send_data(&fake, 4, WIRE_FIRST | WIRE_LAST | WIRE_REPLY, 0, tag, "!", 1);
        fake_settle(client);
        ck_assert_uint_eq(first.n, 1);
        ck_assert_int_eq(first.result, 0);

        /* Away: the request waits, and goes out again */
        tag = start_call(4, &second, false);
        bounce(WIRE_BOUNCE_AWAY, &frame);
        fake_settle(client);
        ck_assert(!fake_take(&fake, &frame));
        fake_send_presence(&fake, WIRE_EVENT_BACK, 0, 4, "peer");
        for (uint64_t sequence = 1; sequence <= 2; sequence++) { /* the first was not acknowledged either */
                fake_expect(&fake, client, WIRE_DATA, &frame);
                ck_assert_uint_eq(frame.header.sequence, sequence);
        }
        ck_assert_uint_eq(frame.header.tag, tag);
        fake_ack(&fake, &frame);
        fake_send_data(&fake, 4, WIRE_FIRST | WIRE_LAST | WIRE_REPLY, 0, tag, "!", 1);
        fake_settle(client);
        ck_assert_uint_eq(second.n, 1);
        ck_assert_int_eq(second.result, 0);

        tag = start_call(4, &stranger, false);
        fake_send_data(&fake, 5, WIRE_FIRST | WIRE_LAST | WIRE_REPLY, 0, tag, "!", 1); /* of somebody else */
        fake_settle(client);
        ck_assert_uint_eq(stranger.n, 0);

        start_call(4, &third, false);
        fake_send_presence(&fake, WIRE_EVENT_LEFT, WIRE_REASON_DIED, 4, "peer");
        fake_settle(client);
        ck_assert_int_eq(third.result, -EPIPE);
        ck_assert_int_eq(stranger.result, -EPIPE);

        tag = start_call(6, &fourth, true);
        fake_send_data(&fake, 6, WIRE_FIRST | WIRE_LAST | WIRE_REPLY | WIRE_FAILED, 0, tag, "\1\0\2\0no", 6);
        fake_settle(client);
        ck_assert_int_eq(fourth.result, -EREMOTEIO);
        ck_assert_str_eq(fourth.text, "no");
        ck_assert_uint_eq(seen.n, 0);
}
END_TEST

START_TEST(test_call_of_nobody) {
        Told told = {};

        ck_assert_int_eq(direct_call_start(client, 4, 3, "?", 1, DIRECT_FOREVER, on_called, &told), 0);
        expect_watch(4, true);
        answer_watch(WIRE_STATE_GONE);
        fake_expect(&fake, client, WIRE_DATA, &frame);
        bounce(WIRE_BOUNCE_NO_CLIENT, &frame);
        fake_settle(client);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_int_eq(told.result, -ENXIO);
        ck_assert_uint_eq(seen.n, 0);
}
END_TEST

START_TEST(test_reply) {
        DirectMessage *request;

        fake_send_data(&fake, 9, WIRE_FIRST | WIRE_LAST | WIRE_REQUEST, 0, 44, "?", 1);
        fake_send_data(&fake, 9, WIRE_FIRST | WIRE_LAST, 0, 44, "?", 1);
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &request), 0);
        ck_assert_int_eq(direct_message_is_request(request), 1);
        ck_assert_int_eq(direct_reply_error(client, request, 0, NULL), -EINVAL);
        ck_assert_int_eq(direct_reply(client, request, "!", 1), 0);
        ck_assert_int_eq(direct_reply(client, request, "!", 1), -EALREADY);
        direct_message_free(request);
        fake_expect_data(&fake, client, &frame);
        ck_assert_uint_eq(frame.header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE | WIRE_REPLY);
        ck_assert_uint_eq(frame.header.tag, 44);
        ck_assert_uint_eq(frame.header.target, 9);
        ck_assert_uint_eq(frame.header.kind, 5);
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &request), 0);
        ck_assert_int_eq(direct_reply(client, request, "!", 1), -EINVAL);
        direct_message_free(request);
}
END_TEST

START_TEST(test_presence) {
        static const struct {
                uint8_t wire;
                int type;
        } kinds[] = {
                { WIRE_EVENT_JOINED, DIRECT_EVENT_JOINED }, { WIRE_EVENT_AWAY, DIRECT_EVENT_AWAY },
                { WIRE_EVENT_BACK, DIRECT_EVENT_BACK },     { WIRE_EVENT_BUSY, DIRECT_EVENT_BUSY },
                { WIRE_EVENT_ALIVE, DIRECT_EVENT_ALIVE },   { WIRE_EVENT_LEFT, DIRECT_EVENT_LEFT },
        };

        ck_assert_int_eq(direct_watch(client, 0, 1), 0);
        expect_watch(0, true);
        answer_watch(WIRE_STATE_UNKNOWN);
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
                fake_send_presence(&fake, kinds[i].wire, WIRE_REASON_DIED, 4, "peer");
        fake_send_presence(&fake, 77, 0, 4, "peer"); /* of a later version */
        fake_settle(client);
        ck_assert_uint_eq(seen.n, N_ELEMENTS(kinds));
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++) {
                ck_assert_int_eq(seen.events[i].type, kinds[i].type);
                ck_assert_uint_eq(seen.events[i].id, 4);
                ck_assert_uint_eq(seen.events[i].epoch, 11);
                ck_assert_int_eq(seen.events[i].reason, DIRECT_REASON_DIED);
        }
        ck_assert_int_eq(direct_watch(client, 0, 0), 0);
        expect_watch(0, false);
        fake_send_presence(&fake, WIRE_EVENT_JOINED, 0, 5, "late");
        fake_settle(client);
        ck_assert_uint_eq(seen.n, N_ELEMENTS(kinds));
}
END_TEST

/* The state that the answer to a WATCH tells makes up for events that were missed. */
START_TEST(test_watch_states) {
        static const uint8_t states[] = { WIRE_STATE_AWAY, WIRE_STATE_ALIVE, WIRE_STATE_BUSY, WIRE_STATE_BUSY, WIRE_STATE_ALIVE };
        static const int types[] = { DIRECT_EVENT_AWAY, DIRECT_EVENT_BACK, DIRECT_EVENT_BUSY, DIRECT_EVENT_ALIVE };

        ck_assert_int_eq(direct_watch(client, 7, 1), 0);
        for (size_t i = 0; i < N_ELEMENTS(states); i++) {
                expect_watch(7, true);
                answer_watch(states[i]);
                fake_settle(client);
                watches_renew(&client->watches);
                client_settle(client);
        }
        ck_assert_uint_eq(seen.n, N_ELEMENTS(types));
        for (size_t i = 0; i < N_ELEMENTS(types); i++)
                ck_assert_int_eq(seen.events[i].type, types[i]);
}
END_TEST

/* A large message that can't be forwarded stops, whatever of it is on its way back, and is told once. */
START_TEST(test_bounced_stream) {
        enum { SIZE = 64 * 1024 * 1024 };
        Told told = {};
        char *data;

        data = calloc(1, SIZE);
        ck_assert_int_eq(direct_set_send_buffer(client, 3 * (uint64_t) SIZE), 0);
        ck_assert_int_eq(direct_send_async(client, 4, 0, data, SIZE, on_sent, &told), 0);
        ck_assert_int_eq(direct_send(client, 5, 0, data, SIZE), 0);
        free(data);
        for (unsigned n = 0; n < 2; n += frame.header.flags & WIRE_FIRST ? 1 : 0) {
                fake_expect_data(&fake, client, &frame);
                bounce(WIRE_BOUNCE_NO_CLIENT, &frame);
                if (frame.header.flags & WIRE_FIRST)
                        bounce(WIRE_BOUNCE_NO_CLIENT, &frame);
        }
        while (direct_get_queued(client) > 0) {
                (void) fake_take(&fake, &frame); /* what was out already, if there is any */
                ck_assert_int_ge(direct_process(client), 0);
        }
        fake_settle(client);
        ck_assert_uint_eq(told.n, 1);
        ck_assert_int_eq(told.result, -ENXIO);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.events[0].type, DIRECT_EVENT_UNDELIVERED);
        ck_assert_uint_eq(seen.events[0].id, 5);
}
END_TEST

/* Refused, and overloaded; and what was sent without acknowledgement. */
START_TEST(test_bounces) {
        const DirectSendOptions once = { .flags = DIRECT_SEND_UNRELIABLE };
        static const uint8_t large[200000];
        Told refused = {}, overloaded = {}, called = {};

        ck_assert_int_eq(direct_send_async(client, 4, 0, "1", 1, on_sent, &refused), 0);
        ck_assert_int_eq(direct_call_start(client, 4, 0, NULL, 0, DIRECT_FOREVER, on_called, &called), 0);
        ck_assert_int_eq(direct_process(client), 0);
        fake_expect_data(&fake, client, &frame);
        bounce(WIRE_BOUNCE_POLICY, &frame);
        fake_settle(client);
        ck_assert_int_eq(refused.result, -EACCES);
        ck_assert_int_eq(called.result, -EACCES);
        fake_expect(&fake, client, WIRE_DATA, &frame); /* the request was out already */
        ck_assert_int_eq(direct_send(client, 4, 0, "1", 1), -EACCES);
        ck_assert_uint_eq(direct_get_queued(client), 0);

        refused = (Told) {};
        ck_assert_int_eq(direct_send_async(client, 6, 0, large, sizeof(large), on_sent, &refused), 0);
        fake_expect_data(&fake, client, &frame);
        ck_assert_uint_ne(frame.header.stream, 0);
        bounce(WIRE_BOUNCE_POLICY, &frame);
        while (refused.n == 0) {
                (void) fake_take(&fake, &frame); /* the rest of it */
                ck_assert_int_ge(direct_process(client), 0);
        }
        ck_assert_int_eq(refused.result, -EACCES);
        fake_settle(client);
        while (fake_take(&fake, &frame))
                ;

        ck_assert_int_eq(direct_send_async(client, 5, 0, "2", 1, on_sent, &overloaded), 0);
        fake_expect_data(&fake, client, &frame);
        bounce(WIRE_BOUNCE_OVERLOADED, &frame);
        fake_expect_data(&fake, client, &frame); /* after a pause, and a question whether it is there */
        ck_assert_uint_eq(frame.header.sequence, 1);
        ck_assert_uint_eq(frame.payload[0], '2');
        fake_ack(&fake, &frame);
        fake_settle(client);
        ck_assert_uint_eq(overloaded.n, 1);
        ck_assert_int_eq(overloaded.result, 0);
        ck_assert_uint_eq(seen.n, 0);

        ck_assert_int_eq(direct_send_with(client, 5, 0, "3", 1, &once, sizeof(once)), 0);
        fake_expect_data(&fake, client, &frame);
        bounce(WIRE_BOUNCE_AWAY, &frame);
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 1);
        ck_assert_int_eq(seen.events[0].error, -EHOSTDOWN);
        ck_assert_int_eq(direct_send_with(client, 5, 0, "4", 1, &once, sizeof(once)), 0);
        fake_expect_data(&fake, client, &frame);
        bounce(WIRE_BOUNCE_POLICY, &frame);
        fake_settle(client);
        ck_assert_uint_eq(seen.n, 2);
        ck_assert_int_eq(seen.events[1].error, -EACCES);
}
END_TEST

/* A source that leaves in the middle of a message: what was handed out in parts ends with a failed one. */
START_TEST(test_source_leaves) {
        static const uint8_t unknown[] = "\xff\xff\xff\xff\xff\xff\xff\xffpart", known[] = "\x10\0\0\0\0\0\0\0part";
        DirectMessage *message;

        fake_send_data(&fake, 4, WIRE_FIRST, 1, 0, unknown, 12);
        fake_send_data(&fake, 4, WIRE_FIRST, 2, 0, known, 12);
        expect_watch(4, true); /* once for both */
        answer_watch(WIRE_STATE_ALIVE);
        fake_send_presence(&fake, WIRE_EVENT_LEFT, WIRE_REASON_DIED, 4, "peer");
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        ck_assert_uint_eq(direct_message_get_size(message), 4);
        ck_assert_uint_eq(direct_message_get_stream(message), 1);
        ck_assert_uint_eq(direct_message_get_total(message), DIRECT_SIZE_UNKNOWN);
        ck_assert(!direct_message_is_last(message));
        direct_message_free(message);
        ck_assert_int_eq(direct_receive(client, DIRECT_FOREVER, &message), 0);
        ck_assert(direct_message_is_last(message));
        ck_assert(direct_message_is_failed(message));
        ck_assert_uint_eq(direct_message_get_offset(message), 4);
        direct_message_free(message);
        ck_assert_int_eq(direct_receive(client, 0, &message), -EAGAIN);
}
END_TEST

TEST_MAIN_FIXTURE("client-peers", setup, teardown, test_list, test_answers, test_load, test_names, test_names_bounce,
                  test_names_link_lost, test_calls, test_call_of_nobody, test_reply, test_presence, test_watch_states,
                  test_bounced_stream, test_bounces, test_source_leaves)
