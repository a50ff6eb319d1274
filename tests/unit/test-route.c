/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <stdio.h>

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

/* Everything of a frame arrives as it was sent, but for the source. */
START_TEST(frames_are_forwarded_as_they_are) {
        static const uint32_t lengths[] = { 0, 1, 40, WIRE_PAYLOAD_MAX - 1, WIRE_PAYLOAD_MAX };
        static const uint8_t types[] = { WIRE_DATA, WIRE_ACK, WIRE_RESEND, WIRE_MARK, WIRE_LOST };
        static uint8_t payload[WIRE_PAYLOAD_MAX];

        for (size_t i = 0; i < sizeof(payload); i++)
                payload[i] = (uint8_t) (i * 7 + i / 256);
        for (size_t i = 0; i < sizeof(types) * 5; i++) {
                WireHeader sent = {
                        .length = lengths[i % 5],
                        .type = types[i / 5],
                        .flags = types[i / 5] == WIRE_DATA ? 127 : 0,
                        .kind = 0x1234,
                        .source = 1003,
                        .target = b->id,
                        .sequence = UINT64_C(0x123456789abcdef0),
                        .stream = 0xfedcba98,
                        .tag = 0x87654321,
                }, got;
                const uint8_t *received;

                fake_send(a, sent, payload);
                fake_net_run(net);
                received = fake_last_frame(b, &got);
                sent.source = a->id;
                ck_assert_mem_eq(&got, &sent, sizeof(got));
                ck_assert_mem_eq(received, payload, sent.length);
        }
}
END_TEST

START_TEST(runs_of_mixed_targets) {
        fake_data(a, b->id, 1, "1");
        fake_data(a, b->id, 2, "2");
        fake_data(a, c->id, 3, "3");
        fake_simple(a, WIRE_ACK, b->id, 4);
        fake_data(a, b->id, 5, "5");
        fake_send(a, (WireHeader) { .type = WIRE_PING, .tag = 9 }, NULL);
        fake_data(a, WIRE_TARGET_BROADCAST, 6, "6");
        fake_data(a, b->id, 7, "7");
        fake_data(a, a->id, 8, "self");
        fake_net_turn(net); /* all in one */
        ck_assert_str_eq(fake_heard(b), "data 1001>1002 #1 1; data 1001>1002 #2 2; ack 1001>1002 #4; data 1001>1002 #5 5; "
                                        "data 1001>-1 #6 6; data 1001>1002 #7 7");
        ck_assert_str_eq(fake_heard(c), "data 1001>1003 #3 3; data 1001>-1 #6 6");
        ck_assert_str_eq(fake_heard(a), "pong 9; data 1001>1001 #8 self");
        ck_assert_uint_eq(fake_session(a)->messages_in, 7);
        ck_assert_uint_eq(fake_session(a)->messages_out, 1);
        ck_assert_uint_eq(fake_session(b)->messages_out, 5);
        ck_assert_uint_eq(fake_session(c)->messages_out, 2);
        ck_assert_uint_eq(fake_session(a)->bytes_in, 9 * WIRE_HEADER_SIZE + 6 + 4);
        ck_assert_uint_eq(fake_session(b)->bytes_out, b->n_out);
        ck_assert_uint_eq(net->router->load.counters.messages_in, 7);
        ck_assert_uint_eq(net->router->load.counters.messages_out, 8);
}
END_TEST

/* Whatever stands between frames of one kind and target in a batch: nothing is taken for what it is not, or stamped wrongly. */
START_TEST(what_follows_in_a_batch) {
        static const WireHeader between[] = {
                { .type = WIRE_DATA, .flags = WIRE_FIRST },
                { .type = WIRE_DATA, .flags = 127 & ~WIRE_LAST },
                { .type = WIRE_ACK },
                { .type = WIRE_RESEND },
                { .type = WIRE_MARK, .flags = WIRE_MARK_BASELINE },
                { .type = WIRE_LOST },
        };
        WireHeader message = { .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST, .length = 3 };

        for (size_t i = 0; i < sizeof(between) / sizeof(between[0]); i++) {
                uint64_t n_before = fake_session(b)->messages_out;
                size_t at = b->n_out, n = 0;

                for (size_t k = 1; k <= 5; k++) {
                        WireHeader header = k == 2 || k == 3 ? between[i] : message;

                        header.source = 1003;
                        header.target = b->id;
                        header.sequence = k;
                        fake_send(a, header, "abc");
                }
                fake_net_turn(net); /* all in one */
                for (uint64_t k = 1; k <= 5; k++, at += n) {
                        WireHeader got;

                        ck_assert(fake_frame_at(b, at, &n));
                        wire_header_load(b->out + at, &got);
                        ck_assert_uint_eq(got.source, a->id);
                        ck_assert_uint_eq(got.sequence, k);
                        ck_assert_uint_eq(got.type, k == 2 || k == 3 ? between[i].type : WIRE_DATA);
                        ck_assert_uint_eq(got.flags, k == 2 || k == 3 ? between[i].flags : message.flags);
                }
                ck_assert_uint_eq(at, b->n_out);
                ck_assert_uint_eq(fake_session(b)->messages_out - n_before, 3);
        }
        ck_assert_uint_eq(fake_session(a)->messages_in, 3 * sizeof(between) / sizeof(between[0]));
}
END_TEST

/* A batch that ends anywhere in its third frame */
START_TEST(a_batch_that_ends_within_a_frame) {
        WireHeader header = { .type = WIRE_DATA, .flags = WIRE_FIRST | WIRE_LAST, .source = 1003, .target = b->id, .length = 5 };
        uint8_t frame[WIRE_HEADER_SIZE + 5] = {};

        wire_header_store(frame, &header);
        memcpy(frame + WIRE_HEADER_SIZE, "third", 5);
        for (size_t n = 0; n <= sizeof(frame); n++) {
                fake_data(a, b->id, 1, "first");
                fake_data(a, b->id, 2, "second");
                fake_send_bytes(a, frame, n);
                ck_assert_str_eq(fake_heard(b), n < sizeof(frame) ? "data 1001>1002 #1 first; data 1001>1002 #2 second" :
                                 "data 1001>1002 #1 first; data 1001>1002 #2 second; data 1001>1002 third");
                fake_send_bytes(a, frame + n, sizeof(frame) - n);
                ck_assert_str_eq(fake_heard(b), n < sizeof(frame) ? "data 1001>1002 third" : "");
        }
        ck_assert_uint_eq(fake_session(a)->messages_in, 3 * (sizeof(frame) + 1));
}
END_TEST

/* Frames without LAST, and control frames, are no messages. */
START_TEST(what_counts_as_a_message) {
        fake_send(a, (WireHeader) { .type = WIRE_DATA, .flags = WIRE_FIRST, .target = b->id }, NULL);
        fake_send(a, (WireHeader) { .type = WIRE_DATA, .target = b->id }, NULL);
        fake_send(a, (WireHeader) { .type = WIRE_DATA, .flags = WIRE_LAST, .target = b->id }, NULL);
        fake_simple(a, WIRE_MARK, b->id, 1);
        fake_net_run(net);
        ck_assert_uint_eq(fake_session(a)->messages_in, 1);
        ck_assert_uint_eq(fake_session(b)->messages_out, 1);
}
END_TEST

/* One BOUNCE for each DATA and ACK, with what their sender needs to know which it was; for the rest none. */
START_TEST(bounces) {
        static const struct { uint64_t target; WireBounce reason; } cases[] = {
                { 4711, WIRE_BOUNCE_NO_CLIENT },
                { FAKE_FIRST_ID - 1, WIRE_BOUNCE_AWAY }, /* of the time before: it may come back */
                { WIRE_TARGET_SERVICE, WIRE_BOUNCE_NO_CLIENT },
                { WIRE_TARGET_GROUP | 5, WIRE_BOUNCE_NO_CLIENT },
        };
        WireHeader header;
        const char *heard;
        char expected[128];

        for (size_t i = 0; i < 4; i++) {
                int target = (int) cases[i].target;

                fake_data(a, cases[i].target, 1, "x");
                fake_data(a, cases[i].target, 2, "y");
                fake_simple(a, WIRE_ACK, cases[i].target, 3);
                fake_simple(a, WIRE_MARK, cases[i].target, 4);
                fake_simple(a, WIRE_RESEND, cases[i].target, 5);
                fake_simple(a, WIRE_LOST, cases[i].target, 6);
                snprintf(expected, sizeof(expected), "bounce %d #1 %u; bounce %d #2 %u; bounce %d #3 %u",
                         target, cases[i].reason, target, cases[i].reason, target, cases[i].reason);
                heard = fake_heard(a);
                ck_assert_str_eq(heard, expected);
        }
        ck_assert_uint_eq(net->router->load.bounces, 12);

        fake_send(a, (WireHeader) { .type = WIRE_DATA, .kind = 7, .target = 99999, .sequence = 8, .stream = 9, .tag = 10 }, NULL);
        fake_net_run(net);
        fake_last_frame(a, &header);
        ck_assert_uint_eq(header.source, 0);
        ck_assert_uint_eq(header.target, 99999);
        ck_assert_uint_eq(header.sequence, 8);
        ck_assert_uint_eq(header.stream, 9);
        ck_assert_uint_eq(header.tag, 10);
        ck_assert_uint_eq(header.kind, WIRE_BOUNCE_NO_CLIENT);
        ck_assert_uint_eq(header.length, 0);
}
END_TEST

START_TEST(bounces_of_an_away_client) {
        fake_close(b, LINK_TIMEOUT);
        fake_net_run(net);
        fake_data(a, b->id, 1, "x");
        ck_assert_str_eq(fake_heard(a), "bounce 1002 #1 2");
        fake_net_advance(net, 30 * FAKE_SEC);
        fake_heard(a);
        fake_data(a, b->id, 2, "x");
        ck_assert_str_eq(fake_heard(a), "bounce 1002 #2 1");
        fake_data(a, FAKE_FIRST_ID - 1, 3, "x"); /* it can no longer come */
        ck_assert_str_eq(fake_heard(a), "bounce 1000 #3 1");
}
END_TEST

/* An ACK and the service's own frames pass what is queued, at the next frame boundary; DATA does not. */
START_TEST(urgent_frames_pass_a_backlog) {
        fake_stop_taking(b);
        fake_data(a, b->id, 1, "one");
        fake_net_turn(net);
        fake_data(a, b->id, 2, "two");
        fake_net_turn(net);
        fake_take(b, 10); /* the first has begun */
        fake_net_turn(net);
        fake_simple(a, WIRE_ACK, b->id, 3);
        fake_simple(a, WIRE_ACK, b->id, 4);
        fake_simple(b, WIRE_PING, 0, 0);
        fake_data(b, 4711, 5, "");
        fake_data(c, b->id, 6, "six");
        fake_net_turn(net);
        ck_assert_str_eq(fake_heard(b), "");
        fake_take(b, FAKE_UNLIMITED);
        ck_assert_str_eq(fake_heard(b), "data 1001>1002 #1 one; data 1001>1002 #2 two; ack 1001>1002 #3; ack 1001>1002 #4; "
                                        "pong 0; bounce 4711 #5 1; data 1003>1002 #6 six");
}
END_TEST

/* … also one of a megabyte: it waits for a chunk at most, and is in nobody's frame. */
START_TEST(urgent_frames_pass_a_large_backlog) {
        size_t before = b->n_out;
        WireHeader header;

        net->config.outbox_high = 10 * 1024 * 1024;
        router_set_config(net->router, &net->config);
        fake_stop_taking(b);
        for (size_t i = 0; i < 32; i++) {
                fake_fill(a, b->id, 32 * 1024);
                fake_net_turn(net);
        }
        fake_take(b, 100);
        fake_net_run(net);
        fake_simple(a, WIRE_ACK, b->id, 1);
        fake_net_run(net);
        fake_take(b, 128 * 1024);
        fake_net_run(net);
        for (size_t n, position = before;; position += n) {
                ck_assert(fake_frame_at(b, position, &n));
                wire_header_load(b->out + position, &header);
                if (header.type == WIRE_ACK)
                        break;
        }
}
END_TEST

/* Each frame is whole wherever writes stop. */
START_TEST(short_writes) {
        for (size_t part = 1; part < 130; part += 3) {
                fake_stop_taking(b);
                for (size_t i = 0; i < 3; i++) {
                        fake_data(a, b->id, 0, "0123456789");
                        fake_simple(c, WIRE_ACK, b->id, 0);
                        fake_take(b, part);
                        fake_net_turn(net);
                }
                fake_take(b, FAKE_UNLIMITED);
                fake_heard(b);
                ck_assert_uint_eq(b->heard, b->n_out);
                ck_assert_uint_eq(net->router->queued_bytes, 0);
        }
        ck_assert_uint_eq(fake_session(b)->messages_out, 3 * 43);
}
END_TEST

START_TEST(protocol_errors) {
        static const struct { WireHeader header; const char *text; } cases[] = {
                { { .type = WIRE_HELLO }, "a second HELLO" },
                { { .type = WIRE_WELCOME }, "a frame type that a client does not send" },
                { { .type = WIRE_REFUSED }, "a frame type that a client does not send" },
                { { .type = WIRE_BOUNCE }, "a frame type that a client does not send" },
                { { .type = WIRE_ANSWER }, "a frame type that a client does not send" },
                { { .type = WIRE_PRESENCE }, "a frame type that a client does not send" },
                { { .type = 0 }, "a frame type that a client does not send" },
                { { .type = 0x07 }, "a frame type that a client does not send" },
                { { .type = 0x23 }, "a frame type that a client does not send" },
                { { .type = 0x2f }, "a frame type that a client does not send" },
                { { .type = 0xff }, "a frame type that a client does not send" },
                { { .type = WIRE_DATA, .flags = WIRE_RESERVED }, "a flag that the frame type does not define" },
                { { .type = WIRE_ACK, .flags = 1 }, "a flag that the frame type does not define" },
                { { .type = WIRE_RESEND, .flags = 2 }, "a flag that the frame type does not define" },
                { { .type = WIRE_MARK, .flags = 2 }, "a flag that the frame type does not define" },
                { { .type = WIRE_LOST, .flags = 128 }, "a flag that the frame type does not define" },
                { { .type = WIRE_PING, .flags = 1 }, "a flag that the frame type does not define" },
                { { .type = WIRE_PONG, .flags = 1 }, "a flag that the frame type does not define" },
                { { .type = WIRE_ASK, .flags = 1 }, "a flag that the frame type does not define" },
                { { .type = WIRE_GOODBYE, .flags = 1 }, "a flag that the frame type does not define" },
                { { .type = WIRE_PING, .length = WIRE_PING_MAX + 1 }, "a payload longer than the frame type allows" },
                { { .type = WIRE_PONG, .length = WIRE_PING_MAX + 1 }, "a payload longer than the frame type allows" },
                { { .type = WIRE_DATA, .length = WIRE_PAYLOAD_MAX + 1 }, "a payload longer than 65536 bytes" },
                { { .type = WIRE_DATA, .length = UINT32_MAX }, "a payload longer than 65536 bytes" },
        };
        static const uint8_t payload[128];
        size_t n = sizeof(cases) / sizeof(cases[0]);
        char expected[256];

        fake_watch(b, a->id, true);
        fake_heard(b);
        for (size_t i = 0; i < n; i++) {
                FakeLink *bad = fake_client(net, "bad");
                WireHeader wrong = cases[i].header;
                uint8_t header[WIRE_HEADER_SIZE];
                const char *told;

                /* What came before it in the same batch counts; what came behind it does not. */
                fake_data(bad, b->id, 1, "before");
                wrong.target = b->id; /* as what came before it, where nothing else may make it look the same */
                wire_header_store(header, &wrong);
                fake_send_bytes(bad, header, sizeof(header));
                if (cases[i].header.length <= sizeof(payload))
                        fake_send_bytes(bad, payload, cases[i].header.length);
                fake_data(bad, b->id, 2, "behind");
                ck_assert_str_eq(fake_heard(bad), "goodbye protocol error");
                ck_assert(bad->shut);
                snprintf(expected, sizeof(expected), "data %d>1002 #1 before", (int) bad->id);
                ck_assert_str_eq(fake_heard(b), expected);
                snprintf(expected, sizeof(expected), "joined bad; error bad: %s; left bad protocol error", cases[i].text);
                told = fake_events(net);
                ck_assert_str_eq(told, expected);
        }
        ck_assert_uint_eq(net->router->load.protocol_errors, n);
        ck_assert_ptr_nonnull(a->link);
        ck_assert_ptr_nonnull(b->link);
}
END_TEST

/* What is right once may be wrong in the next frame of its kind. */
START_TEST(a_wrong_flag_behind_a_right_frame) {
        static const uint8_t types[] = { WIRE_ACK, WIRE_RESEND, WIRE_MARK, WIRE_LOST };

        for (size_t i = 0; i < sizeof(types); i++) {
                FakeLink *bad = fake_client(net, "bad");

                fake_simple(bad, types[i], b->id, 1);
                fake_send(bad, (WireHeader) { .type = types[i], .flags = WIRE_LAST, .target = b->id }, NULL);
                ck_assert_str_eq(fake_heard(bad), "goodbye protocol error");
        }
}
END_TEST

/* At the limit is no error. */
START_TEST(longest_frames) {
        static const uint8_t payload[WIRE_PAYLOAD_MAX];

        fake_send(a, (WireHeader) { .type = WIRE_PING, .length = WIRE_PING_MAX, .tag = 3 }, payload);
        fake_send(a, (WireHeader) { .type = WIRE_PONG, .length = WIRE_PING_MAX }, payload);
        fake_send(a, (WireHeader) { .type = WIRE_ASK, .length = WIRE_PAYLOAD_MAX, .kind = WIRE_ASK_LOAD }, payload);
        ck_assert_str_eq(fake_heard(a), "pong 3; answer 5");
        fake_send(a, (WireHeader) { .type = WIRE_GOODBYE, .length = WIRE_PAYLOAD_MAX }, payload);
        ck_assert_str_eq(fake_heard(a), "");
        ck_assert_str_eq(fake_events(net), "left a leaving");
        ck_assert(a->shut);
}
END_TEST

/* Before a frame that is wrong everything is routed, also where it arrives in pieces. */
START_TEST(a_length_that_is_too_large_is_seen_at_once) {
        fake_send_bytes(a, "\1\0\1\0", 4); /* 65537 */
        ck_assert_str_eq(fake_heard(a), "goodbye protocol error");
}
END_TEST

TEST_MAIN_FIXTURE("route", setup, teardown, frames_are_forwarded_as_they_are, runs_of_mixed_targets, what_follows_in_a_batch,
                  a_batch_that_ends_within_a_frame, what_counts_as_a_message, bounces, bounces_of_an_away_client,
                  urgent_frames_pass_a_backlog, urgent_frames_pass_a_large_backlog, short_writes, protocol_errors,
                  a_wrong_flag_behind_a_right_frame, longest_frames, a_length_that_is_too_large_is_seen_at_once)
