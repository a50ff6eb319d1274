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

enum { CREDIT = 1 << 20 };

static Sender sender;
static Link sender_link;
static int peer_fd, epoll_fd;
static uint8_t in[4 * WIRE_FRAME_MAX];
static size_t n_in, n_used;
static int results[32];
static size_t n_results;
static uint64_t n_undelivered;
static unsigned n_watched;

static void on_sent(Sent *sent, void *userdata) {
        ck_assert_uint_lt(n_results, N_ELEMENTS(results));
        results[n_results++] = sent->result;
        free(sent);
}

static void on_undelivered(uint64_t target, int error, uint64_t count, void *userdata) {
        n_undelivered += count;
}

static int on_watch(uint64_t target, void *userdata) {
        n_watched++;
        return 0;
}

static void open_link(void) {
        int fds[2];

        n_in = n_used = 0;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        link_init(&sender_link, epoll_fd);
        sender_link.fd = fds[0];
        peer_fd = fds[1];
}

static void close_link(void) {
        link_deinit(&sender_link);
        close(peer_fd);
}

static void setup(void) {
        static const SenderCallbacks callbacks = { on_sent, on_undelivered, on_watch };

        n_results = n_watched = 0;
        n_undelivered = 0;
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        open_link();
        sender_init(&sender, epoll_fd, &callbacks, NULL);
        ck_assert_int_eq(sender_welcome(&sender, true, true, CREDIT), 0);
}

static void teardown(void) {
        sender_deinit(&sender);
        close_link();
        close(epoll_fd);
}

/* The link is lost with all that was on its way, and the next one is accepted. */
static void renew_link(bool is_resumed) {
        close_link();
        sender_link_lost(&sender);
        open_link();
        ck_assert_int_eq(sender_welcome(&sender, is_resumed, false, CREDIT), 0);
}

static Sent *sent_new(uint64_t deadline) {
        Sent *sent = calloc(1, sizeof(Sent));

        sent->deadline = deadline;
        list_init(&sent->expiring);
        return sent;
}

static Envelope reliable(uint64_t target, uint16_t kind) {
        return (Envelope) { .target = target, .kind = kind, .flags = WIRE_RELIABLE };
}

static void send_small(uint64_t target, uint16_t kind, Sent *sent) {
        Envelope envelope = reliable(target, kind);

        ck_assert_int_eq(sender_message(&sender, &envelope, &kind, sizeof(kind), sent), 0);
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

/* Nothing goes out now. */
static void expect_none(void) {
        ck_assert_int_eq(sender_write(&sender, &sender_link), 0);
        ck_assert(!sender_has_output(&sender));
        ck_assert_uint_eq(n_in, n_used);
        ck_assert_int_eq(read(peer_fd, in, sizeof(in)), -1);
        ck_assert_int_eq(errno, EAGAIN);
}

START_TEST(test_small) {
        WireHeader header;

        for (uint16_t i = 0; i < 5000; i++)
                send_small(2, i, i == 4999 ? sent_new(USEC_NEVER) : NULL);
        ck_assert_uint_eq(n_watched, 1);
        ck_assert_uint_eq(sender.n_queued, 5000 * (WIRE_HEADER_SIZE + 2));
        for (uint16_t i = 0; i < 5000; i++) {
                const uint8_t *payload = next_frame(&header);

                ck_assert_uint_eq(header.kind, i);
                ck_assert_uint_eq(header.stream, 0);
                ck_assert_uint_eq(header.sequence, i + 1u);
                ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE);
                ck_assert_uint_eq(wire_load_u16(payload), i);
        }
        /* They are kept until they are taken */
        ck_assert(!sender_is_empty(&sender));
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 4999, 0), 0);
        ck_assert_uint_eq(sender.n_queued, WIRE_HEADER_SIZE + 2);
        ck_assert_uint_eq(n_results, 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 5001, 0), -EPROTO);
        ck_assert_int_eq(sender_ack(&sender, 3, 0, 1, 0), -EPROTO);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 5000, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 10, 0), 0);
        ck_assert_uint_eq(n_results, 1);
        ck_assert_int_eq(results[0], 0);
        ck_assert_uint_eq(sender.n_queued, 0);
        ck_assert(sender_is_empty(&sender));
}
END_TEST

/* Unreliable: its affair ends where the kernel's begins. */
START_TEST(test_unreliable) {
        WireHeader header;

        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, "1", 1, sent_new(USEC_NEVER)), 0);
        ck_assert_uint_eq(n_watched, 0);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST);
        ck_assert_uint_eq(header.sequence, 0);
        ck_assert_uint_eq(n_results, 1);
        ck_assert_int_eq(results[0], 0);
        ck_assert_int_eq(sender_message(&sender, &(Envelope) { .target = 2 }, "2", 1, sent_new(USEC_NEVER)), 0);
        ck_assert_uint_eq(sender.n_queued, WIRE_HEADER_SIZE + 1);
        renew_link(true);
        ck_assert_uint_eq(n_results, 2);
        ck_assert_int_eq(results[1], -ECONNRESET);
        ck_assert_uint_eq(sender.n_queued, 0);
        expect_none();
}
END_TEST

static void send_data(uint64_t target, const void *data, size_t size) {
        Envelope envelope = reliable(target, 0);

        ck_assert_int_eq(sender_message(&sender, &envelope, data, size, sent_new(USEC_NEVER)), 0);
}

/* Two large messages, and small ones that come later: everybody gets on. */
START_TEST(test_turns) {
        enum { SIZE = 40 * WIRE_PAYLOAD_MAX };
        unsigned n_frames[3] = {}, n_before[3] = {};
        WireHeader header;
        uint8_t *data;

        sender.initial_credit = 2 * SIZE;
        data = malloc(SIZE);
        for (size_t i = 0; i < SIZE; i++)
                data[i] = (uint8_t) (i / 1000);
        send_data(2, data, SIZE);
        send_data(3, data, SIZE);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_RELIABLE);
        n_frames[header.target - 1]++;
        send_small(2, 0, sent_new(USEC_NEVER));
        for (size_t taken[3] = { 0, WIRE_PAYLOAD_MAX - 8 }; n_frames[1] + n_frames[2] < 82;) {
                const uint8_t *payload = next_frame(&header);
                unsigned which = header.stream == 0 ? 0 : (unsigned) header.target - 1;

                n_frames[which]++;
                ck_assert_uint_eq(header.sequence, n_frames[which]);
                if (header.stream == 0) {
                        memcpy(n_before, n_frames, sizeof(n_before));
                        continue;
                }
                if (header.flags & WIRE_FIRST) {
                        ck_assert_uint_eq(wire_load_u64(payload), SIZE);
                        payload += 8;
                        header.length -= 8;
                }
                ck_assert_mem_eq(payload, data + taken[which], header.length);
                taken[which] += header.length;
                ck_assert_int_eq(!!(header.flags & WIRE_LAST), taken[which] == SIZE);
                ck_assert_uint_le(n_frames[1], n_frames[2] + 2);
                ck_assert_uint_le(n_frames[2], n_frames[1] + 2);
        }
        ck_assert_uint_eq(n_frames[0], 1);
        ck_assert_uint_le(n_before[1] + n_before[2], 20); /* a socket full and what was in line, not the whole */
        ck_assert_uint_eq(n_results, 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 1, 41, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 3, 1, 41, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 3, 1, 41, 0), 0); /* once more, behind its end */
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 1, 0), 0);
        ck_assert_uint_eq(n_results, 3);
        ck_assert_uint_eq(sender.n_queued, 0);
        free(data);
}
END_TEST

START_TEST(test_gone) {
        static uint8_t data[100 * WIRE_PAYLOAD_MAX];
        WireHeader header;

        send_data(2, data, sizeof(data));
        send_small(2, 1, sent_new(USEC_NEVER));
        send_small(2, 2, NULL);
        sender_target_gone(&sender, 3, -ENXIO);
        ck_assert_uint_eq(n_results, 0);
        next_frame(&header);
        sender_target_gone(&sender, 2, -ENXIO);
        sender_target_gone(&sender, 2, -ENXIO);
        ck_assert_uint_eq(n_results, 2);
        ck_assert_int_eq(results[0], -ENXIO);
        ck_assert_int_eq(results[1], -ENXIO);
        ck_assert_uint_eq(n_undelivered, 1);
        ck_assert_uint_eq(sender.n_queued, 0);
        /* What is in line goes out whole, so that the next frame is found where it is */
        send_small(4, 77, NULL);
        do
                next_frame(&header);
        while (header.kind != 77);
        ck_assert_uint_eq(header.sequence, 1);
}
END_TEST

/* A lost link: each flow goes on behind what is acknowledged, when its target is known to be there. */
START_TEST(test_again) {
        static uint8_t data[3 * WIRE_PAYLOAD_MAX];
        WireHeader header;

        for (uint16_t i = 1; i <= 5; i++) {
                send_small(2, i, i == 5 ? sent_new(USEC_NEVER) : NULL);
                send_small(3, i, NULL);
        }
        send_data(2, data, sizeof(data));
        for (unsigned i = 0; i < 14; i++)
                next_frame(&header);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 3, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 1, 1, 0), 0);
        renew_link(true);
        send_small(2, 6, NULL);
        expect_none();
        sender_target_alive(&sender, 2);
        for (uint16_t i = 4; i <= 6; i++) {
                ck_assert_uint_eq(wire_load_u16(next_frame(&header)), i);
                ck_assert_uint_eq(header.target, 2);
                ck_assert_uint_eq(header.sequence, i);
        }
        for (uint16_t i = 2; i <= 4; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.stream, 1);
                ck_assert_uint_eq(header.sequence, i);
        }
        expect_none(); /* the other one has to be heard of yet */
        sender_target_alive(&sender, 2); /* no news */
        expect_none();
        sender_target_gone(&sender, 3, -ENXIO);
        ck_assert_uint_eq(n_undelivered, 5);
        ck_assert_int_eq(sender_ack(&sender, 2, 1, 4, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 6, 0), 0);
        ck_assert_uint_eq(n_results, 2);
        ck_assert(sender_is_empty(&sender));
        ck_assert_uint_eq(sender.n_queued, 0);
}
END_TEST

/* The target's link is renewed: the same for it alone. */
START_TEST(test_away) {
        WireHeader header;

        send_small(2, 1, NULL);
        send_small(2, 2, NULL);
        next_frame(&header);
        next_frame(&header);
        sender_target_away(&sender, 2);
        send_small(2, 3, NULL);
        send_small(3, 1, NULL);
        next_frame(&header);
        ck_assert_uint_eq(header.target, 3);
        expect_none();
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 1, 0), 0); /* it was on its way */
        expect_none();
        sender_target_back(&sender, 2);
        for (uint16_t i = 2; i <= 3; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.target, 2);
                ck_assert_uint_eq(header.sequence, i);
        }
        /* Back again, though it was not known to have been away */
        sender_target_back(&sender, 2);
        for (uint16_t i = 2; i <= 3; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.sequence, i);
        }
        expect_none();
        /* Acknowledged while it is being sent again */
        sender_target_back(&sender, 2);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 3, 0), 0);
        expect_none();
        send_small(2, 4, NULL);
        next_frame(&header);
        ck_assert_uint_eq(header.sequence, 4);
}
END_TEST

/* Who has no credit left waits; nobody else does. */
START_TEST(test_credit) {
        enum { SIZE = 60000, FRAME = WIRE_HEADER_SIZE + SIZE, N = CREDIT / FRAME };
        static uint8_t data[SIZE], large[20 * WIRE_PAYLOAD_MAX];
        WireHeader header;

        for (unsigned i = 0; i < N + 4; i++)
                send_data(2, data, SIZE);
        for (unsigned i = 1; i <= N; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.sequence, i);
        }
        expect_none();
        send_small(2, 1, NULL); /* it keeps its place */
        send_small(3, 1, NULL);
        next_frame(&header);
        ck_assert_uint_eq(header.target, 3);
        expect_none();

        /* What is sent again is not counted again */
        sender_target_back(&sender, 2);
        for (unsigned i = 1; i <= N; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.sequence, i);
        }
        expect_none();
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 1, (N + 2) * FRAME), 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 1, 5), 0); /* it never shrinks */
        for (unsigned i = 1; i <= 2; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.sequence, N + i);
        }
        expect_none();

        /* A large one has credit of its own */
        send_data(2, large, sizeof(large));
        for (unsigned i = 1; i <= CREDIT / WIRE_FRAME_MAX; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.stream, 1);
                ck_assert_uint_eq(header.sequence, i);
        }
        expect_none();
        ck_assert_int_eq(sender_ack(&sender, 2, 1, 1, 2 * CREDIT), 0);
        while (!(header.flags & WIRE_LAST))
                next_frame(&header);
        ck_assert_uint_eq(header.sequence, 21);
}
END_TEST

/* Time to live: for what has not gone out. What is left has no gap in its numbers. */
START_TEST(test_time_to_live) {
        WireHeader header;

        send_small(2, 1, sent_new(100));
        next_frame(&header);
        sender_target_away(&sender, 2);
        send_small(2, 2, sent_new(200));
        send_small(2, 3, NULL);
        send_small(2, 4, sent_new(150));
        send_small(2, 5, sent_new(1000));
        ck_assert_uint_eq(sender_get_deadline(&sender), 100);
        sender_expire(&sender, 149);
        ck_assert_uint_eq(n_results, 0);
        ck_assert_uint_eq(sender_get_deadline(&sender), 150);
        sender_expire(&sender, 150);
        ck_assert_uint_eq(n_results, 1);
        sender_expire(&sender, 999);
        ck_assert_uint_eq(n_results, 2);
        ck_assert_int_eq(results[0], -ETIME);
        ck_assert_int_eq(results[1], -ETIME);
        sender_target_back(&sender, 2);
        for (uint16_t i = 1; i <= 3; i++) {
                next_frame(&header);
                ck_assert_uint_eq(header.kind, 2 * i - 1u);
                ck_assert_uint_eq(header.sequence, i);
        }
        sender_expire(&sender, 1000);
        ck_assert_uint_eq(sender_get_deadline(&sender), USEC_NEVER);
        ck_assert_uint_eq(n_results, 2);
        ck_assert_int_eq(sender_ack(&sender, 2, 0, 3, 0), 0);
        ck_assert_uint_eq(n_results, 4);
        ck_assert_int_eq(results[2], 0);
        ck_assert_int_eq(results[3], 0);
        ck_assert_uint_eq(sender.n_queued, 0);
        ck_assert(sender_is_empty(&sender));
}
END_TEST

static int memory_file(size_t size) {
        int fd = memfd_create("test", MFD_CLOEXEC);

        ck_assert_int_eq(ftruncate(fd, (off_t) size), 0);
        return fd;
}

START_TEST(test_file) {
        Envelope envelope = reliable(2, 0);
        size_t n = 0;
        WireHeader header;
        int fd = memory_file(200000);

        ck_assert_int_eq(sender_fd(&sender, &envelope, fd, WIRE_SIZE_UNKNOWN, sent_new(USEC_NEVER)), 0);
        ck_assert_uint_eq(sender.n_queued, 0);
        do {
                const uint8_t *payload = next_frame(&header);

                if (header.flags & WIRE_FIRST)
                        ck_assert_uint_eq(wire_load_u64(payload), 200000);
                n += header.length - (header.flags & WIRE_FIRST ? 8 : 0);
        } while (!(header.flags & WIRE_LAST));
        ck_assert_uint_eq(n, 200000);
        ck_assert_uint_eq(n_results, 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 1, header.sequence, 0), 0);
        ck_assert_uint_eq(n_results, 1);

        /* It has become shorter since */
        ck_assert_int_eq(sender_fd(&sender, &envelope, memory_file(100000), 100001, sent_new(USEC_NEVER)), 0);
        do
                next_frame(&header);
        while (!(header.flags & WIRE_LAST));
        ck_assert_uint_eq(header.flags, WIRE_LAST | WIRE_FAILED | WIRE_RELIABLE);
        ck_assert_uint_eq(header.length, 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 2, header.sequence, 0), 0);
        ck_assert_int_eq(results[1], -EIO);
        ck_assert(sender_is_empty(&sender));
}
END_TEST

START_TEST(test_pipe) {
        Envelope envelope = reliable(2, 0);
        struct epoll_event event;
        WireHeader header;
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(sender_fd(&sender, &envelope, fds[0], WIRE_SIZE_UNKNOWN, sent_new(USEC_NEVER)), 0);
        ck_assert(!sender_has_output(&sender));
        ck_assert(!sender_is_empty(&sender));
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 0);
        ck_assert_int_eq(write(fds[1], "abc", 3), 3);
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
        sender_pipe_ready(&sender, event.data.ptr);
        ck_assert_uint_eq(next_frame(&header)[10], 'c');
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_RELIABLE);
        ck_assert_uint_eq(header.length, 11);
        ck_assert(!sender_has_output(&sender)); /* waits again */
        close(fds[1]);
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
        sender_pipe_ready(&sender, event.data.ptr);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_LAST | WIRE_RELIABLE);
        ck_assert_uint_eq(header.length, 0);

        /* What was read is kept, and sent again */
        renew_link(true);
        sender_target_alive(&sender, 2);
        ck_assert_uint_eq(next_frame(&header)[10], 'c');
        ck_assert_uint_eq(header.sequence, 1);
        next_frame(&header);
        ck_assert_uint_eq(header.sequence, 2);
        ck_assert_uint_eq(n_results, 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 1, 2, 0), 0);
        ck_assert_uint_eq(n_results, 1);

        /* Of a known size: what comes behind it stays in the pipe */
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(write(fds[1], "abcdef", 6), 6);
        ck_assert_int_eq(sender_fd(&sender, &envelope, dup(fds[0]), 4, sent_new(USEC_NEVER)), 0);
        ck_assert_int_eq(epoll_wait(epoll_fd, &event, 1, 0), 1);
        sender_pipe_ready(&sender, event.data.ptr);
        ck_assert_mem_eq(next_frame(&header), "abcd", 4);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE);
        ck_assert_uint_eq(header.length, 4);
        ck_assert_int_eq(sender_ack(&sender, 2, 2, 1, 0), 0);
        ck_assert_uint_eq(n_results, 2);
        close(fds[0]);
        close(fds[1]);
}
END_TEST

START_TEST(test_stream) {
        Envelope envelope = reliable(2, 0);
        WireHeader header;
        uint32_t stream;

        ck_assert_int_eq(sender_stream_begin(&sender, &envelope, 6, &stream), 0);
        ck_assert(!sender_has_output(&sender));
        ck_assert(sender_is_empty(&sender));
        ck_assert_int_eq(sender_stream_write(&sender, stream, "1234567", 7), -EMSGSIZE);
        ck_assert_int_eq(sender_stream_write(&sender, stream, "abc", 3), 0);
        ck_assert_uint_eq(next_frame(&header)[8], 'a');
        ck_assert_int_eq(sender_stream_write(&sender, stream, "def", 3), 0);
        ck_assert_int_eq(sender_stream_end(&sender, stream, NULL), 0);
        ck_assert_uint_eq(next_frame(&header)[0], 'd');
        ck_assert_uint_eq(header.flags, WIRE_LAST | WIRE_RELIABLE);
        ck_assert_int_eq(sender_stream_end(&sender, stream, NULL), -ENOENT);

        /* Ended too early */
        ck_assert_int_eq(sender_stream_begin(&sender, &envelope, 6, &stream), 0);
        ck_assert_int_eq(sender_stream_write(&sender, stream, "abc", 3), 0);
        next_frame(&header);
        ck_assert_int_eq(sender_stream_end(&sender, stream, NULL), 0);
        next_frame(&header);
        ck_assert_uint_eq(header.flags, WIRE_LAST | WIRE_FAILED | WIRE_RELIABLE);

        /* All of it is there before the first frame goes: that is a message like any other */
        ck_assert_int_eq(sender_stream_begin(&sender, &envelope, WIRE_SIZE_UNKNOWN, &stream), 0);
        ck_assert_int_eq(sender_stream_write(&sender, stream, "abc", 3), 0);
        ck_assert_int_eq(sender_stream_end(&sender, stream, NULL), 0);
        ck_assert_mem_eq(next_frame(&header), "abc", 3);
        ck_assert_uint_eq(header.flags, WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE);
        ck_assert_int_eq(sender_ack(&sender, 2, 1, 2, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 2, 2, 0), 0);
        ck_assert_int_eq(sender_ack(&sender, 2, 3, 1, 0), 0);
        ck_assert_uint_eq(sender.n_queued, 0);
        ck_assert_uint_eq(sender.by_stream.n_nodes, 0);
}
END_TEST

START_TEST(test_reset) {
        static uint8_t data[3 * WIRE_PAYLOAD_MAX];
        Envelope envelope = reliable(2, 0);
        WireHeader header;

        send_small(2, 1, sent_new(USEC_NEVER));
        send_small(2, 2, sent_new(USEC_NEVER));
        send_data(2, data, sizeof(data));
        ck_assert_int_eq(sender_fd(&sender, &envelope, memory_file(100000), WIRE_SIZE_UNKNOWN, sent_new(USEC_NEVER)), 0);
        next_frame(&header);
        renew_link(false);
        ck_assert_uint_eq(n_results, 4);
        for (size_t i = 0; i < 4; i++)
                ck_assert_int_eq(results[i], -ECONNRESET);
        ck_assert(sender_is_empty(&sender));
        ck_assert_uint_eq(sender.n_queued, 0);
        send_small(2, 9, NULL); /* numbers begin anew */
        next_frame(&header);
        ck_assert_uint_eq(header.kind, 9);
        ck_assert_uint_eq(header.sequence, 1);
}
END_TEST

TEST_MAIN_FIXTURE("client-send", setup, teardown, test_small, test_unreliable, test_turns, test_gone, test_again, test_away,
                  test_credit, test_time_to_live, test_file, test_pipe, test_stream, test_reset)
