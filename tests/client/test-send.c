/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The order in which frames go out, over a pair of sockets. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "client/send.h"
#include "protocol/framer.h"
#include "tests/unit/run-tests.h"

static Sender sender;
static Link sender_link;
static int peer_fd, epoll_fd;
static uint8_t in[4 * WIRE_FRAME_MAX];
static size_t n_in, n_used;
static int results[16];
static size_t n_results;

static void on_sent(Sent *sent, void *userdata) {
        ck_assert_uint_lt(n_results, N_ELEMENTS(results));
        results[n_results++] = sent->result;
        free(sent);
}

static void setup(void) {
        int fds[2];

        n_in = n_used = n_results = 0;
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        link_init(&sender_link, epoll_fd);
        sender_link.fd = fds[0];
        peer_fd = fds[1];
        sender_init(&sender, epoll_fd, on_sent, NULL);
}

static void teardown(void) {
        sender_deinit(&sender);
        link_deinit(&sender_link);
        close(peer_fd);
        close(epoll_fd);
}

static Sent *sent_new(void) {
        return calloc(1, sizeof(Sent));
}

/* The next frame that goes out; writes as far as the socket allows. */
static const uint8_t *next_frame(WireHeader *ret) {
        const uint8_t *frame = in + n_used;
        size_t size;
        ssize_t n;

        while (framer_peek(in + n_used, n_in - n_used, &size) != 0) {
                int r = sender_write(&sender, &sender_link);

                ck_assert(r >= 0 || r == -EAGAIN);
                memmove(in, in + n_used, n_in - n_used);
                n_in -= n_used;
                n_used = 0;
                frame = in;
                n = read(peer_fd, in + n_in, sizeof(in) - n_in);
                ck_assert_msg(n > 0, "no more frames");
                n_in += (size_t) n;
        }
        wire_header_load(frame, ret);
        n_used += size;
        return frame + WIRE_HEADER_SIZE;
}

START_TEST(test_small) {
        WireHeader header;

        for (uint16_t i = 0; i < 5000; i++)
                ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2, .kind = i }, &i, sizeof(i), NULL), 0);
        ck_assert_uint_eq(sender.n_queued, 5000 * (WIRE_HEADER_SIZE + 2));
        for (uint16_t i = 0; i < 5000; i++) {
                const uint8_t *payload = next_frame(&header);

                ck_assert_uint_eq(header.kind, i);
                ck_assert_uint_eq(header.stream, 0);
                ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST);
                ck_assert_uint_eq(wire_load_u16(payload), i);
        }
        ck_assert_uint_eq(sender.n_queued, 0);
        ck_assert(sender_is_empty(&sender));
}
END_TEST

/* Two large messages, and small ones that come later: everybody gets on. */
START_TEST(test_turns) {
        enum { SIZE = 40 * WIRE_PAYLOAD_MAX };
        unsigned n_frames[3] = {}, n_before[3] = {};
        WireHeader header;
        uint8_t *data;

        data = malloc(SIZE);
        for (size_t i = 0; i < SIZE; i++)
                data[i] = (uint8_t) (i / 1000);
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, data, SIZE, sent_new()), 0);
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 3 }, data, SIZE, sent_new()), 0);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_FIRST);
        n_frames[header.stream]++;
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, "x", 1, sent_new()), 0);
        for (size_t taken[3] = { 0, WIRE_PAYLOAD_MAX - 8 }; n_frames[1] + n_frames[2] < 82;) {
                const uint8_t *payload = next_frame(&header);

                n_frames[header.stream]++;
                if (header.stream == 0) {
                        memcpy(n_before, n_frames, sizeof(n_before));
                        continue;
                }
                if (header.flags & WIRE_FIRST) {
                        ck_assert_uint_eq(wire_load_u64(payload), SIZE);
                        payload += 8;
                        header.length -= 8;
                }
                ck_assert_mem_eq(payload, data + taken[header.stream], header.length);
                taken[header.stream] += header.length;
                ck_assert_int_eq(!!(header.flags & WIRE_LAST), taken[header.stream] == SIZE);
                ck_assert_uint_le(n_frames[1], n_frames[2] + 2);
                ck_assert_uint_le(n_frames[2], n_frames[1] + 2);
        }
        ck_assert_uint_eq(n_frames[0], 1);
        ck_assert_uint_le(n_before[1] + n_before[2], 20); /* a socket full and what was in line, not the whole */
        ck_assert_uint_eq(n_results, 3);
        ck_assert_uint_eq(sender.n_queued, 0);
        free(data);
}
END_TEST

START_TEST(test_bounce) {
        enum { SIZE = 100 * WIRE_PAYLOAD_MAX };
        WireHeader header;
        uint8_t *data;

        data = calloc(1, SIZE);
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, data, SIZE, sent_new()), 0);
        free(data);
        ck_assert_int_eq(sender_bounce(&sender, 2, 1, -ENXIO), -ENOENT); /* nothing of it is out */
        next_frame(&header);
        ck_assert_int_eq(sender_bounce(&sender, 3, 1, -ENXIO), -ENOENT);
        ck_assert_int_eq(sender_bounce(&sender, 2, 1, -ENXIO), 1);
        ck_assert_int_eq(sender_bounce(&sender, 2, 1, -ENXIO), -ENOENT);
        ck_assert_uint_eq(n_results, 1);
        ck_assert_int_eq(results[0], -ENXIO);
        /* What is in line goes out whole, so that the next frame is found where it is */
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2, .kind = 77 }, "x", 1, NULL), 0);
        do
                next_frame(&header);
        while (header.kind != 77);
        ck_assert_uint_eq(sender.n_queued, 0);
}
END_TEST

static int memory_file(size_t size) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        ck_assert_int_eq(ftruncate(fd, (off_t) size), 0);
        return fd;
}

START_TEST(test_file) {
        size_t n = 0;
        WireHeader header;
        int fd = memory_file(200000);

        ck_assert_int_eq(sender_fd(&sender, &(Envelope) { .target = 2 }, fd, WIRE_SIZE_UNKNOWN, sent_new()), 0);
        ck_assert_uint_eq(sender.n_queued, 0);
        do {
                const uint8_t *payload = next_frame(&header);

                if (header.flags & WIRE_FIRST)
                        ck_assert_uint_eq(wire_load_u64(payload), 200000);
                n += header.length - (header.flags & WIRE_FIRST ? 8 : 0);
        } while (!(header.flags & WIRE_LAST));
        ck_assert_uint_eq(n, 200000);
        ck_assert_uint_eq(n_results, 1);

        /* It has become shorter since */
        ck_assert_int_eq(sender_fd(&sender, &(Envelope) { .target = 2 }, memory_file(100000), 100001, sent_new()), 0);
        do
                next_frame(&header);
        while (!(header.flags & WIRE_LAST));
        ck_assert_uint_eq(header.flags, WIRE_LAST | WIRE_FAILED);
        ck_assert_uint_eq(header.length, 0);
        ck_assert_int_eq(results[1], -EIO);
        ck_assert(sender_is_empty(&sender));
}
END_TEST

START_TEST(test_pipe) {
        struct epoll_event event;
        WireHeader header;
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(sender_fd(&sender, &(Envelope) { .target = 2 }, fds[0], WIRE_SIZE_UNKNOWN, sent_new()), 0);
        ck_assert(!sender_has_output(&sender));
        ck_assert(!sender_is_empty(&sender));
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 0);
        ck_assert_int_eq(write(fds[1], "abc", 3), 3);
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
        sender_pipe_ready(&sender, event.data.ptr);
        ck_assert_uint_eq(next_frame(&header)[10], 'c');
        ck_assert_uint_eq(header.flags, WIRE_FIRST);
        ck_assert_uint_eq(header.length, 11);
        ck_assert(!sender_has_output(&sender)); /* waits again */
        close(fds[1]);
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
        sender_pipe_ready(&sender, event.data.ptr);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_LAST);
        ck_assert_uint_eq(header.length, 0);
        ck_assert_uint_eq(n_results, 1);

        /* Of a known size: what comes behind it stays in the pipe */
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(write(fds[1], "abcdef", 6), 6);
        ck_assert_int_eq(sender_fd(&sender, &(Envelope) { .target = 2 }, dup(fds[0]), 4, sent_new()), 0);
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
        sender_pipe_ready(&sender, event.data.ptr);
        ck_assert_mem_eq(next_frame(&header), "abcd", 4);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST);
        ck_assert_uint_eq(header.length, 4);
        ck_assert_uint_eq(n_results, 2);
        close(fds[0]);
        close(fds[1]);
}
END_TEST

START_TEST(test_stream) {
        WireHeader header;
        uint32_t stream;

        ck_assert_int_eq(sender_stream_begin(&sender, &(Envelope) { .target = 2 }, 6, &stream), 0);
        ck_assert(!sender_has_output(&sender));
        ck_assert(sender_is_empty(&sender));
        ck_assert_int_eq(sender_stream_write(&sender, stream, "1234567", 7), -EMSGSIZE);
        ck_assert_int_eq(sender_stream_write(&sender, stream, "abc", 3), 0);
        ck_assert_uint_eq(next_frame(&header)[8], 'a');
        ck_assert_int_eq(sender_stream_write(&sender, stream, "def", 3), 0);
        ck_assert_int_eq(sender_stream_end(&sender, stream), 0);
        ck_assert_uint_eq(next_frame(&header)[0], 'd');
        ck_assert_uint_eq(header.flags, WIRE_LAST);
        ck_assert_int_eq(sender_stream_end(&sender, stream), -ENOENT);

        /* Ended too early */
        ck_assert_int_eq(sender_stream_begin(&sender, &(Envelope) { .target = 2 }, 6, &stream), 0);
        ck_assert_int_eq(sender_stream_write(&sender, stream, "abc", 3), 0);
        next_frame(&header);
        ck_assert_int_eq(sender_stream_end(&sender, stream), 0);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_LAST | WIRE_FAILED);

        /* All of it is there before the first frame goes: that is a message like any other */
        ck_assert_int_eq(sender_stream_begin(&sender, &(Envelope) { .target = 2 }, WIRE_SIZE_UNKNOWN, &stream), 0);
        ck_assert_int_eq(sender_stream_write(&sender, stream, "abc", 3), 0);
        ck_assert_int_eq(sender_stream_end(&sender, stream), 0);
        ck_assert_mem_eq(next_frame(&header), "abc", 3);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST);
        ck_assert_uint_eq(sender.n_queued, 0);
        ck_assert_uint_eq(sender.by_stream.n_nodes, 0);
}
END_TEST

START_TEST(test_reset) {
        static uint8_t data[3 * WIRE_PAYLOAD_MAX];

        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, "1", 1, sent_new()), 0);
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, "2", 1, sent_new()), 0);
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, data, sizeof(data), sent_new()), 0);
        ck_assert_int_eq(sender_fd(&sender, &(Envelope) { .target = 2 }, memory_file(100000), WIRE_SIZE_UNKNOWN, sent_new()), 0);
        sender_reset(&sender, -ECONNRESET);
        ck_assert_uint_eq(n_results, 4);
        for (size_t i = 0; i < 4; i++)
                ck_assert_int_eq(results[i], -ECONNRESET);
        ck_assert(sender_is_empty(&sender));
}
END_TEST

TEST_MAIN_FIXTURE("client-send", setup, teardown, test_small, test_turns, test_bounce, test_file, test_pipe, test_stream,
                  test_reset)
