/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Large messages as flows of their own: each frame is what it was when it goes out again, wherever it comes from. */

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "tests/client/outgoing.h"

static uint8_t data[9 * WIRE_PAYLOAD_MAX + 100];

static const Envelope envelope = { .target = 2, .kind = 9, .flags = WIRE_RELIABLE, .tag = 3 };

static int file_new(size_t size) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
        return fd;
}

static void begin_bulk(Bulk *bulk) {
        flow_deinit(&flow, &pool);
        ck_assert_ptr_nonnull(bulk);
        bulk->stream = 5;
        flow_init(&flow, &peer, bulk, UINT64_MAX);
        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t) (i * 31 + i / 251);
}

static void begin_memory(size_t size) {
        begin_bulk(bulk_new_memory(&pool, &envelope, data, size, NULL));
        memcpy(flow.bulk->memory->data, data, size);
}

/* Reads the frames `first` to the last, each with the data that belongs there. Returns the number of the last. */
static uint64_t check_bulk(uint64_t first, size_t size) {
        size_t offset = first == 1 ? 0 : (first - 1) * WIRE_PAYLOAD_MAX - 8;
        uint64_t sequence = first;
        const uint8_t *payload;
        WireHeader header;

        for (; (payload = get(&header)); sequence++) {
                ck_assert_uint_eq(header.sequence, sequence);
                ck_assert_uint_eq(header.stream, 5);
                ck_assert_uint_eq(header.kind, 9);
                ck_assert_uint_eq(header.tag, 3);
                ck_assert_uint_eq(header.target, 2);
                if (sequence == 1 && !(header.flags & WIRE_LAST)) {
                        ck_assert_uint_eq(wire_load_u64(payload), size);
                        payload += 8;
                        header.length -= 8;
                }
                ck_assert_int_eq(memcmp(payload, data + offset, header.length), 0);
                offset += header.length;
                ck_assert_uint_eq(header.flags,
                                  WIRE_RELIABLE | (sequence == 1 ? WIRE_FIRST : 0) | (offset == size ? WIRE_LAST : 0));
        }
        ck_assert_uint_eq(offset, size);
        return sequence - 1;
}

static const size_t bulk_sizes[] = { WIRE_PAYLOAD_MAX + 1, 2 * WIRE_PAYLOAD_MAX - 9, 2 * WIRE_PAYLOAD_MAX - 8,
                                     2 * WIRE_PAYLOAD_MAX - 7, 9 * WIRE_PAYLOAD_MAX + 100 };

/* Sends all, and then again from each place to which it may have been taken. */
static void check_again(size_t size) {
        uint64_t last;

        send_all();
        last = check_bulk(1, size);
        ck_assert_uint_eq(flow.sent, last);
        ck_assert_uint_eq(flow.n_sent, n_wire);
        for (uint64_t acked = 0; acked < last; acked++) {
                ck_assert(flow_ack(&flow, acked, UINT64_MAX, &pool));
                ck_assert(!flow_is_finished(&flow));
                flow_rewind(&flow);
                n_wire = n_read = 0;
                send_all();
                ck_assert_uint_eq(check_bulk(acked + 1, size), last);
                ck_assert_uint_eq(flow.sent, last);
        }
        ck_assert(flow_ack(&flow, last, UINT64_MAX, &pool));
        ck_assert(flow_is_finished(&flow));
        ck_assert(!flow.bulk->failed);
        ck_assert(!flow_can_send(&flow));
        ck_assert_uint_eq(flow_get_queued(&flow), 0);
}

START_TEST(test_memory) {
        for (unsigned i = 0; i < N_ELEMENTS(bulk_sizes); i++) {
                begin_memory(bulk_sizes[i]);
                ck_assert_uint_eq(flow_get_queued(&flow), bulk_sizes[i]);
                check_again(bulk_sizes[i]);
                teardown();
                setup();
        }
}
END_TEST

START_TEST(test_file) {
        static const size_t small[] = { 1, WIRE_PAYLOAD_MAX - 8, WIRE_PAYLOAD_MAX - 7, WIRE_PAYLOAD_MAX };

        for (unsigned i = 0; i < N_ELEMENTS(bulk_sizes) + N_ELEMENTS(small); i++) {
                size_t size = i < N_ELEMENTS(bulk_sizes) ? bulk_sizes[i] : small[i - N_ELEMENTS(bulk_sizes)];

                begin_memory(1); /* fills data */
                begin_bulk(bulk_new_fd(&envelope, file_new(size), true, size, -1, NULL));
                check_again(size);
                teardown();
                setup();
        }
}
END_TEST

/* Cut short while it is on its way, and sent again: from the first frame that can't be read, each says that it has failed, up to
 * the one after the last that was sent whole, so the receiver comes to one of them whatever it has taken so far. */
START_TEST(test_file_fails) {
        for (uint64_t taken = 1; taken <= 4; taken++) {
                const uint8_t *payload;
                WireHeader header;

                begin_memory(1);
                begin_bulk(bulk_new_fd(&envelope, file_new(sizeof(data)), true, sizeof(data), -1, NULL));
                for (unsigned i = 0; i < 4; i++)
                        ck_assert_int_eq(flow_send(&flow, &line, &pool, 1), 0);
                drain();
                ck_assert_int_eq(ftruncate(flow.bulk->fd, WIRE_PAYLOAD_MAX), 0);
                flow_rewind(&flow);
                n_wire = n_read = 0;
                send_all();
                ck_assert_ptr_nonnull(get(&header));
                ck_assert_uint_eq(header.flags, WIRE_RELIABLE | WIRE_FIRST);
                for (uint64_t sequence = 2; sequence <= 5; sequence++) {
                        payload = get(&header);
                        ck_assert_ptr_nonnull(payload);
                        ck_assert_uint_eq(header.sequence, sequence);
                        ck_assert_uint_eq(header.flags, WIRE_RELIABLE | WIRE_LAST | WIRE_FAILED);
                        ck_assert_uint_eq(header.length, 0);
                }
                check_nothing();
                ck_assert(flow_ack(&flow, taken, UINT64_MAX, &pool)); /* what it had taken before */
                ck_assert(!flow_is_finished(&flow));
                ck_assert(flow_ack(&flow, 5, UINT64_MAX, &pool));
                ck_assert(flow_is_finished(&flow));
                ck_assert(flow.bulk->failed);
                teardown();
                setup();
        }
}
END_TEST

/* All of it had gone out: then the last stays the last. */
START_TEST(test_file_fails_at_end) {
        WireHeader header;

        begin_memory(1);
        begin_bulk(bulk_new_fd(&envelope, file_new(sizeof(data)), true, sizeof(data), -1, NULL));
        send_all();
        ck_assert_uint_eq(flow.sent, 10);
        ck_assert(flow_ack(&flow, 8, UINT64_MAX, &pool));
        ck_assert_int_eq(ftruncate(flow.bulk->fd, 0), 0);
        flow_rewind(&flow);
        n_wire = n_read = 0;
        send_all();
        for (uint64_t sequence = 9; sequence <= 10; sequence++) {
                ck_assert_ptr_nonnull(get(&header));
                ck_assert_uint_eq(header.sequence, sequence);
                ck_assert_uint_eq(header.flags, WIRE_RELIABLE | WIRE_LAST | WIRE_FAILED);
        }
        check_nothing();
        ck_assert(!flow_is_finished(&flow));
        ck_assert(flow_ack(&flow, 10, UINT64_MAX, &pool));
        ck_assert(flow_is_finished(&flow));
}
END_TEST

/* A frame at a time, and only with credit for the largest; what was sent before needs none. */
START_TEST(test_bulk_credit) {
        begin_memory(sizeof(data));
        flow.credit = 2 * WIRE_FRAME_MAX + WIRE_FRAME_MAX - 1;
        send_all();
        ck_assert_uint_eq(flow.sent, 2);
        ck_assert(flow_ack(&flow, 1, 3 * WIRE_FRAME_MAX, &pool));
        send_all();
        ck_assert_uint_eq(flow.sent, 3);
        flow_rewind(&flow);
        ck_assert(flow_can_send(&flow));
        n_read = n_wire;
        send_all();
        ck_assert_uint_eq(n_wire - n_read, 2 * WIRE_FRAME_MAX);

        /* It was among those that can send when it was acknowledged, and is not any more */
        flow_rewind(&flow);
        ck_assert(flow_ack(&flow, 3, 3 * WIRE_FRAME_MAX, &pool));
        n_read = n_wire;
        ck_assert_int_eq(flow_send(&flow, &line, &pool, 1), 0);
        ck_assert_uint_eq(line.n_bytes, 0);
        ck_assert_uint_eq(flow.sent, 3);
}
END_TEST

static void pipe_new(int ret[2], int *ret_epoll) {
        ck_assert_int_eq(pipe2(ret, O_CLOEXEC), 0); /* blocking, as a program's own is */
        *ret_epoll = epoll_create1(EPOLL_CLOEXEC);
}

/* What a pipe gives is kept until it is acknowledged, and goes out again as it was cut. */
START_TEST(test_pipe) {
        static const size_t writes[] = { 10, 1, 30000, 5, 60000 };
        size_t size = 0;
        int fds[2], epoll_fd;
        WireHeader header;

        pipe_new(fds, &epoll_fd);
        begin_bulk(bulk_new_fd(&envelope, fds[0], false, WIRE_SIZE_UNKNOWN, epoll_fd, NULL));
        for (unsigned i = 0; i < 5; i++) {
                ck_assert_int_eq(write(fds[1], data + size, writes[i]), (ssize_t) writes[i]);
                size += writes[i];
                flow.bulk->is_waiting = false; /* as the epoll set says */
                ck_assert(flow_can_send(&flow));
                ck_assert_int_eq(flow_send(&flow, &line, &pool, 64 * 1024), 0);
                drain();
                ck_assert_int_eq(bulk_wait(flow.bulk, &flow), 0);
                ck_assert(!flow_can_send(&flow));
        }
        close(fds[1]);
        flow.bulk->is_waiting = false;
        send_all();
        ck_assert_uint_eq(flow.sent, 6);
        ck_assert_uint_eq(flow_get_queued(&flow), n_wire);
        for (uint64_t acked = 0; acked < 6; acked++) {
                size_t start = acked == 0 ? 0 : writes[0];

                for (uint64_t i = 1; i < acked; i++)
                        start += writes[i];
                ck_assert(flow_ack(&flow, acked, UINT64_MAX, &pool));
                flow_rewind(&flow);
                n_wire = n_read = 0;
                send_all();
                for (uint64_t i = acked; i < 6; i++) {
                        const uint8_t *payload = get(&header);

                        ck_assert_uint_eq(header.sequence, i + 1);
                        ck_assert_uint_eq(header.flags, WIRE_RELIABLE | (i == 0 ? WIRE_FIRST : 0) | (i == 5 ? WIRE_LAST : 0));
                        if (i == 0)
                                ck_assert_uint_eq(wire_load_u64(payload), WIRE_SIZE_UNKNOWN);
                        ck_assert_uint_eq(header.length, i == 5 ? 0 : writes[i] + (i == 0 ? 8 : 0));
                        ck_assert_int_eq(memcmp(payload + (i == 0 ? 8 : 0), data + start, i == 5 ? 0 : writes[i]), 0);
                        start += i == 5 ? 0 : writes[i];
                }
                check_nothing();
        }
        ck_assert(flow_ack(&flow, 6, UINT64_MAX, &pool));
        ck_assert(flow_is_finished(&flow));
        ck_assert_uint_eq(flow_get_queued(&flow), 0);
        flow.bulk = bulk_free(flow.bulk, &pool);
        close(epoll_fd);
}
END_TEST

/* It was to be sent again, and then all was acknowledged: a pipe that has nothing is not read, which would block. */
START_TEST(test_pipe_rewound) {
        int fds[2], epoll_fd;

        pipe_new(fds, &epoll_fd);
        begin_bulk(bulk_new_fd(&envelope, fds[0], false, WIRE_SIZE_UNKNOWN, epoll_fd, NULL));
        ck_assert_int_eq(write(fds[1], data, 10), 10);
        ck_assert_int_eq(flow_send(&flow, &line, &pool, 64 * 1024), 0);
        drain();
        ck_assert_int_eq(bulk_wait(flow.bulk, &flow), 0);
        flow_rewind(&flow);
        ck_assert(flow_can_send(&flow));
        ck_assert(flow_ack(&flow, 1, UINT64_MAX, &pool));
        alarm(20);
        ck_assert_int_eq(flow_send(&flow, &line, &pool, 64 * 1024), 0);
        alarm(0);
        ck_assert_uint_eq(line.n_bytes, 0);
        ck_assert_uint_eq(flow.sent, 1);
        close(fds[1]);
        flow.bulk = bulk_free(flow.bulk, &pool);
        close(epoll_fd);
}
END_TEST

/* Streams: stored as well. With the total told, the end is where it is reached; ended before that, it has failed. */
START_TEST(test_stream) {
        for (unsigned is_short = 0; is_short < 2; is_short++) {
                WireHeader header;

                begin_bulk(bulk_new_stream(&envelope, 200000));
                ck_assert_int_eq(bulk_write(flow.bulk, data, 150000), 0);
                send_all();
                ck_assert_uint_eq(flow.sent, 3);
                ck_assert_int_eq(bulk_write(flow.bulk, data + 150000, 50001), -EMSGSIZE);
                if (!is_short)
                        ck_assert_int_eq(bulk_write(flow.bulk, data + 150000, 50000), 0);
                flow.bulk->ended = true;
                send_all();
                ck_assert_uint_eq(flow.sent, 4);
                ck_assert_int_eq(flow.bulk->failed, is_short);
                ck_assert(flow_ack(&flow, 1, UINT64_MAX, &pool));
                flow_rewind(&flow);
                n_read = n_wire;
                send_all();
                for (uint64_t i = 2; i <= 4; i++) {
                        ck_assert_ptr_nonnull(get(&header));
                        ck_assert_uint_eq(header.sequence, i);
                        ck_assert_uint_eq(header.flags, WIRE_RELIABLE | (i == 4 ? WIRE_LAST | (is_short ? WIRE_FAILED : 0) : 0));
                }
                check_nothing();
                ck_assert(flow_ack(&flow, 4, UINT64_MAX, &pool));
                ck_assert(flow_is_finished(&flow));
                teardown();
                setup();
        }
}
END_TEST

TEST_MAIN_FIXTURE("client-flow-bulk", setup, teardown, test_memory, test_file, test_file_fails, test_file_fails_at_end,
                  test_bulk_credit, test_pipe, test_pipe_rewound, test_stream)
