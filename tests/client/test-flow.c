/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One outgoing flow of small messages by itself: numbers, credit, acknowledgements, and what goes out again. */

#include "tests/client/outgoing.h"

static Sent *put(size_t n_payload, uint16_t kind, bool has_outcome) {
        Sent *sent = NULL;
        uint8_t *frame;

        frame = store_put(&flow.store, &pool, WIRE_HEADER_SIZE + n_payload);
        wire_header_store(frame, &(WireHeader) { .length = (uint32_t) n_payload, .type = WIRE_DATA, .flags = WIRE_RELIABLE,
                                                 .kind = kind, .target = 2 });
        memset(frame + WIRE_HEADER_SIZE, kind & 0xff, n_payload);
        if (has_outcome) {
                sent = calloc(1, sizeof(*sent));
                *sent = (Sent) { .ordinal = flow.store.n_put, .deadline = USEC_NEVER, .flow = &flow, .frame = frame };
                *flow.outcomes_last = sent;
                flow.outcomes_last = &sent->next;
        }
        return sent;
}

/* The next frame on the wire is this one. */
static void check(uint64_t sequence, unsigned kind) {
        const uint8_t *payload;
        WireHeader header;
        uint32_t n_right = 0;

        payload = get(&header);
        ck_assert_ptr_nonnull(payload);
        ck_assert_uint_eq(header.sequence, sequence);
        ck_assert_uint_eq(header.kind, kind);
        ck_assert_uint_eq(header.type, WIRE_DATA);
        while (n_right < header.length && payload[n_right] == (kind & 0xff))
                n_right++;
        ck_assert_uint_eq(n_right, header.length);
}

static unsigned tell(void) {
        unsigned n = 0;

        for (Sent *sent = flow_take_delivered(&flow), *next; sent; sent = next, n++) {
                next = sent->next;
                free(sent);
        }
        return n;
}

/* A frame has its number when it goes out and not before. */
START_TEST(test_numbers) {
        put(10, 1, false);
        put(20, 2, false);
        ck_assert_uint_eq(wire_load_u64(store_first(&flow.store) + 24), 0);
        ck_assert_uint_eq(flow_get_unsent(&flow), 2 * WIRE_HEADER_SIZE + 30);
        send_all();
        check(1, 1);
        check(2, 2);
        check_nothing();
        ck_assert_uint_eq(flow.sent, 2);
        ck_assert_uint_eq(flow_get_unsent(&flow), 0);
        ck_assert_uint_eq(flow_get_queued(&flow), 2 * WIRE_HEADER_SIZE + 30);
        put(30, 3, false);
        send_all();
        check(3, 3);
        check_nothing();
        ck_assert(!flow_is_finished(&flow));
}
END_TEST

/* Up to `budget`, and over it by no more than the frame that reaches it. */
START_TEST(test_budget) {
        for (uint16_t i = 0; i < 100; i++)
                put(960, i, false);
        ck_assert_int_eq(flow_send(&flow, &line, &pool, 10000), 0);
        ck_assert_uint_eq(line.n_bytes, 10000);
        ck_assert_int_eq(flow_send(&flow, &line, &pool, 10001), 0);
        ck_assert_uint_eq(line.n_bytes, 21000);
        drain();
        for (unsigned i = 0; i < 21; i++)
                check(i + 1, i);
        check_nothing();
}
END_TEST

/* At exactly the credit, and one byte beyond. */
START_TEST(test_credit) {
        flow.credit = 3 * 100;
        for (uint16_t i = 0; i < 5; i++)
                put(60, i, false);
        send_all();
        ck_assert(!flow_can_send(&flow));
        ck_assert_uint_eq(flow.sent, 3);
        ck_assert(flow_ack(&flow, 1, 399, &pool)); /* one byte short */
        ck_assert(!flow_can_send(&flow));
        ck_assert(flow_ack(&flow, 1, 400, &pool));
        ck_assert(flow_can_send(&flow));
        send_all();
        ck_assert_uint_eq(flow.sent, 4);
        ck_assert(flow_ack(&flow, 4, 100, &pool)); /* it never shrinks */
        ck_assert_uint_eq(flow.credit, 400);

        /* What is sent again was counted */
        ck_assert(flow_ack(&flow, 4, 500, &pool));
        send_all();
        ck_assert_uint_eq(flow.n_sent, 500);
        for (unsigned i = 0; i < 5; i++)
                check(i + 1, i);
        flow_rewind(&flow);
        put(60, 5, false);
        ck_assert(flow_can_send(&flow));
        send_all();
        check(5, 4);
        check_nothing();
        ck_assert_uint_eq(flow.n_sent, 500);
        ck_assert(!flow_can_send(&flow));
}
END_TEST

START_TEST(test_peer_state) {
        put(1, 1, false);
        peer.state = PEER_HELD;
        ck_assert(!flow_can_send(&flow));
        peer.state = PEER_AWAY;
        ck_assert(!flow_can_send(&flow));
        peer.state = PEER_UP;
        ck_assert(flow_can_send(&flow));
}
END_TEST

START_TEST(test_ack) {
        for (uint16_t i = 1; i <= 10; i++)
                put(60, i, true);
        ck_assert(!flow_ack(&flow, 1, CREDIT, &pool)); /* nothing was sent */
        ck_assert(flow_ack(&flow, 0, CREDIT, &pool));
        for (unsigned i = 1; i <= 6; i++)
                ck_assert_int_eq(flow_send(&flow, &line, &pool, 1), 0);
        drain();
        ck_assert_uint_eq(flow.sent, 6);
        ck_assert(!flow_ack(&flow, 7, 2 * CREDIT, &pool));
        ck_assert_uint_eq(flow.acked, 0);
        ck_assert_uint_eq(flow.credit, CREDIT);
        ck_assert(!flow_ack(&flow, UINT64_MAX, CREDIT, &pool));
        ck_assert_uint_eq(flow_get_queued(&flow), 1000);
        ck_assert(flow_ack(&flow, 4, CREDIT, &pool)); /* of all up to it */
        ck_assert_uint_eq(flow_get_queued(&flow), 600);
        ck_assert_uint_eq(tell(), 4);
        ck_assert(flow_ack(&flow, 2, 2 * CREDIT, &pool)); /* an old one has nothing to say but its credit */
        ck_assert_uint_eq(flow.acked, 4);
        ck_assert_uint_eq(flow.credit, 2 * CREDIT);
        ck_assert_uint_eq(tell(), 0);
        ck_assert(flow_ack(&flow, 6, CREDIT, &pool));
        ck_assert_uint_eq(tell(), 2);
        send_all();
        for (unsigned i = 1; i <= 10; i++)
                check(i, i);
        ck_assert(flow_ack(&flow, 10, CREDIT, &pool));
        ck_assert_uint_eq(tell(), 4);
        ck_assert(store_is_empty(&flow.store));
        ck_assert_ptr_null(flow.outcomes);
        put(60, 11, true);
        send_all();
        check(11, 11);
        ck_assert(flow_ack(&flow, 11, CREDIT, &pool));
        ck_assert_uint_eq(tell(), 1);
}
END_TEST

/* Exactly what is not acknowledged, with the numbers that it had. */
START_TEST(test_rewind) {
        for (unsigned acked = 0; acked <= 20; acked++) {
                for (uint16_t i = 1; i <= 20; i++)
                        put(i * 300, i, false);
                send_all();
                for (unsigned i = 1; i <= 20; i++)
                        check(i, i);
                if (acked > 0)
                        ck_assert(flow_ack(&flow, acked, CREDIT, &pool));
                for (unsigned times = 0; times < 2; times++) {
                        flow_rewind(&flow);
                        ck_assert_int_eq(flow_can_send(&flow), acked < 20);
                        send_all();
                        for (unsigned i = acked + 1; i <= 20; i++)
                                check(i, i);
                        check_nothing();
                }
                ck_assert_uint_eq(flow.sent, 20);
                teardown();
                setup();
        }
}
END_TEST

/* Some of it was taken all the same: the acknowledgement comes while it is being sent again. */
START_TEST(test_ack_rewound) {
        for (unsigned again = 0; again <= 10; again++)
                for (unsigned acked = 1; acked <= 10; acked++) {
                        unsigned first = (again > acked ? again : acked) + 1;

                        for (uint16_t i = 1; i <= 10; i++)
                                put(60, i, true);
                        send_all();
                        flow_rewind(&flow);
                        for (unsigned i = 0; i < again; i++)
                                flow_send(&flow, &line, &pool, 1);
                        drain();
                        put(60, 11, true);
                        n_read = n_wire;
                        ck_assert(flow_ack(&flow, acked, CREDIT, &pool));
                        ck_assert_uint_eq(tell(), acked);
                        ck_assert_uint_eq(flow.next, first);
                        send_all();
                        for (unsigned i = first; i <= 11; i++)
                                check(i, i);
                        check_nothing();
                        teardown();
                        setup();
                }
}
END_TEST

/* A message whose time is over before it went out leaves no gap, wherever it stands. */
START_TEST(test_expire) {
        for (unsigned mask = 0; mask < 32; mask++) {
                Sent *sents[5];
                unsigned n = 0;

                put(60, 100, false);
                send_all();
                for (uint16_t i = 0; i < 5; i++)
                        sents[i] = put(60, i, true);
                for (unsigned i = 5; i-- > 0;)
                        if (mask & 1 << i) {
                                ck_assert(flow_expire(&flow, sents[i], &pool));
                                free(sents[i]);
                        }
                check(1, 100);
                send_all();
                for (unsigned i = 0; i < 5; i++)
                        if (!(mask & 1 << i))
                                check(2 + n++, i);
                check_nothing();
                flow_rewind(&flow);
                send_all();
                n = 0;
                check(1, 100);
                for (unsigned i = 0; i < 5; i++)
                        if (!(mask & 1 << i))
                                check(2 + n++, i);
                check_nothing();
                ck_assert(flow_ack(&flow, 1 + n, CREDIT, &pool));
                ck_assert_uint_eq(tell(), n);
                ck_assert(store_is_empty(&flow.store));
                ck_assert_uint_eq(flow_get_queued(&flow), 0);
                put(60, 200, true);
                send_all();
                check(2 + n, 200);
                teardown();
                setup();
        }
}
END_TEST

/* Once it has gone out it is not called back, not even while it goes out again. */
START_TEST(test_expire_late) {
        Sent *sent = put(60, 1, true);

        send_all();
        ck_assert(!flow_expire(&flow, sent, &pool));
        flow_rewind(&flow);
        ck_assert(!flow_expire(&flow, sent, &pool));
        ck_assert_ptr_eq(flow.outcomes, sent);
}
END_TEST

/* The one at the head waits for credit: behind it is one that has enough. */
START_TEST(test_expire_frees) {
        Sent *large;

        flow.credit = 500;
        large = put(1000, 1, true);
        put(60, 2, true);
        ck_assert(!flow_can_send(&flow));
        ck_assert(flow_expire(&flow, large, &pool));
        free(large);
        ck_assert(flow_can_send(&flow));
        send_all();
        check(1, 2);
        ck_assert(flow_ack(&flow, 1, 600, &pool));
        ck_assert_uint_eq(tell(), 1);
}
END_TEST

/* Those without a handler, but for calls and replies, and those whose time is over. */
START_TEST(test_silent) {
        Sent *sent;

        for (uint16_t i = 0; i < 6; i++)
                put(10, i, i == 2);
        sent = put(10, 6, true);
        put(10, 7, true);
        wire_header_store(store_put(&flow.store, &pool, WIRE_HEADER_SIZE), &(WireHeader) { .type = WIRE_DATA, .tag = 5 });
        wire_header_store(flow.store.head->data, &(WireHeader) { .length = 10, .type = WIRE_DATA, .tag = 6 });
        ck_assert_uint_eq(flow_count_silent(&flow), 4);
        ck_assert(flow_expire(&flow, sent, &pool));
        free(sent);
        ck_assert_uint_eq(flow_count_silent(&flow), 4);
        send_all();
        ck_assert(flow_ack(&flow, 2, CREDIT, &pool));
        ck_assert_uint_eq(flow_count_silent(&flow), 3);
        ck_assert(flow_ack(&flow, 8, CREDIT, &pool));
        ck_assert_uint_eq(tell(), 2);
        ck_assert_uint_eq(flow_count_silent(&flow), 0);
}
END_TEST


TEST_MAIN_FIXTURE("client-flow", setup, teardown, test_numbers, test_budget, test_credit, test_peer_state, test_ack, test_rewind,
                  test_ack_rewound, test_expire, test_expire_late, test_expire_frees, test_silent)
