/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the benchmark says to each kind of server, byte by byte, as the specification of its protocol has it. */

#include "bench/load.h"
#include "bench/target.h"
#include "protocol/wire.h"
#include "run-tests.h"

static const Client sender = { .index = 7, .id = 70 }, receiver = { .index = 42, .id = 420 };

static void check_bytes(TargetPut *put, const Client *to, size_t size, const void *expected, size_t n) {
        uint8_t data[512];
        Out counted = {}, written = { .data = data };

        put(&counted, &sender, to, size);
        ck_assert_uint_eq(counted.size, n);
        put(&written, &sender, to, size);
        ck_assert_uint_eq(written.size, n);
        ck_assert_mem_eq(data, expected, n);
}

/* Of literals, their final 0 aside */
#define CHECK_SENT(target, to, size, bytes) check_bytes(target.put_sent, to, size, bytes, sizeof(bytes) - 1)
#define CHECK_DELIVERED(target, to, size, bytes) check_bytes(target.put_delivered, to, size, bytes, sizeof(bytes) - 1)

START_TEST(all_are_found_by_name) {
        static const char *const names[] = { "direct", "relay", "splice", "nats", "redis", "mosquitto", "zeromq", "rabbitmq" };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                ck_assert_ptr_nonnull(target_find(names[i]));
                ck_assert_str_eq(target_find(names[i])->name, names[i]);
        }
        ck_assert_ptr_null(target_find("direc"));
}
END_TEST

START_TEST(nats) {
        CHECK_SENT(target_nats, &receiver, 4, "PUB c00042 4\r\n\0\1\2\3\r\n");
        CHECK_DELIVERED(target_nats, &receiver, 4, "MSG c00042 1 4\r\n\0\1\2\3\r\n");
        CHECK_SENT(target_nats, NULL, 2, "PUB all000 2\r\n\0\1\r\n");
}
END_TEST

START_TEST(redis) {
        CHECK_SENT(target_redis, &receiver, 4, "*3\r\n$7\r\nPUBLISH\r\n$6\r\nc00042\r\n$4\r\n\0\1\2\3\r\n");
        CHECK_DELIVERED(target_redis, &receiver, 4, ">3\r\n$7\r\nmessage\r\n$6\r\nc00042\r\n$4\r\n\0\1\2\3\r\n");
}
END_TEST

START_TEST(mosquitto) {
        uint8_t data[512];
        Out o = { .data = data };

        CHECK_SENT(target_mqtt, &receiver, 4, "\x30\x0c\0\6" "c00042\0\1\2\3");
        CHECK_DELIVERED(target_mqtt, NULL, 1, "\x30\x09\0\6" "all000\0");
        target_mqtt.put_sent(&o, &sender, &receiver, 192); /* 200 that remain: two bytes of length */
        ck_assert_uint_eq(o.size, 203);
        ck_assert_mem_eq(data, "\x30\xc8\1", 3);
}
END_TEST

START_TEST(zeromq) {
        uint8_t data[512];
        Out o = { .data = data };

        CHECK_SENT(target_zmq, &receiver, 4, "\0\x0a" "c00042\0\1\2\3");
        CHECK_DELIVERED(target_zmq, &receiver, 4, "\0\x0a" "c00042\0\1\2\3");
        target_zmq.put_sent(&o, &sender, &receiver, 250); /* 256 in all */
        ck_assert_uint_eq(o.size, 9 + 256);
        ck_assert_mem_eq(data, "\2\0\0\0\0\0\0\1\0c00042", 15);
}
END_TEST

#define AMQP_CONTENT "\2\0\1\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\4\0\0\xce" "\3\0\1\0\0\0\4\0\1\2\3\xce"

START_TEST(rabbitmq) {
        CHECK_SENT(target_amqp, &receiver, 4, "\1\0\1\0\0\0\x0f\0\x3c\0\x28\0\0\0\6" "c00042\0\xce" AMQP_CONTENT);
        CHECK_SENT(target_amqp, NULL, 4, "\1\0\1\0\0\0\x0f\0\x3c\0\x28\0\0\6" "all000\0\0\xce" AMQP_CONTENT);
        CHECK_DELIVERED(target_amqp, &receiver, 4,
                        "\1\0\1\0\0\0\x17\0\x3c\0\x3c\1" "1\0\0\0\0\0\0\0\1\0\0\6" "c00042\xce" AMQP_CONTENT);
}
END_TEST

START_TEST(direct) {
        uint8_t data[512];
        Out o = { .data = data };
        WireHeader header;

        target_direct.put_delivered(&o, &sender, &receiver, 4);
        ck_assert_uint_eq(o.size, WIRE_HEADER_SIZE + 4);
        wire_header_load(data, &header);
        ck_assert_uint_eq(header.length, 4);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST);
        ck_assert_uint_eq(header.source, 70);
        ck_assert_uint_eq(header.target, 420);
        ck_assert_mem_eq(data + WIRE_HEADER_SIZE, "\0\1\2\3", 4);
}
END_TEST

/* The size of all and a first frame that is full, then the rest */
START_TEST(direct_cuts_what_is_larger_than_a_frame) {
        static uint8_t data[3 * WIRE_FRAME_MAX];
        Out o = { .data = data };
        WireHeader header;

        target_direct.put_sent(&o, &sender, &receiver, WIRE_PAYLOAD_MAX + 1);
        ck_assert_uint_eq(o.size, 2 * WIRE_HEADER_SIZE + 8 + WIRE_PAYLOAD_MAX + 1);
        wire_header_load(data, &header);
        ck_assert_uint_eq(header.length, WIRE_PAYLOAD_MAX);
        ck_assert_uint_eq(header.flags, WIRE_FIRST);
        ck_assert_mem_eq(data + WIRE_HEADER_SIZE, "\1\0\1\0\0\0\0\0\0\1\2", 11);
        wire_header_load(data + WIRE_FRAME_MAX, &header);
        ck_assert_uint_eq(header.length, 9);
        ck_assert_uint_eq(header.flags, WIRE_LAST);
}
END_TEST

START_TEST(what_a_server_does_not_take_is_several_messages) {
        Out whole = {}, parts = {};
        uint64_t max = target_nats.message_max;

        load_put_message(&target_nats, target_nats.put_sent, &whole, &sender, &receiver, 2 * max + 1);
        target_nats.put_sent(&parts, &sender, &receiver, max);
        target_nats.put_sent(&parts, &sender, &receiver, max);
        target_nats.put_sent(&parts, &sender, &receiver, 1);
        ck_assert_uint_eq(whole.size, parts.size);
}
END_TEST

TEST_MAIN("bench-targets", all_are_found_by_name, nats, redis, mosquitto, zeromq, rabbitmq, direct,
          direct_cuts_what_is_larger_than_a_frame, what_a_server_does_not_take_is_several_messages)
