/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Large messages, files and streams, receivers that do not read, and small messages meanwhile: against the service as it is. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/client/real.h"
#include "tests/unit/run-tests.h"

static uint8_t pattern(uint64_t i) {
        return (uint8_t) (i * 31 + (i >> 8) * 7 + (i >> 16));
}

START_TEST(test_large) {
        const size_t sizes[] = { 65535, 65536, 65537, 65536 * 2 - 8, 65536 * 2 - 7, 20 * 1024 * 1024 };
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        DirectMessage *message;
        uint8_t *data;

        data = malloc(sizes[5]);
        for (size_t i = 0; i < sizes[5]; i++)
                data[i] = pattern(i);
        for (size_t i = 0; i < 6; i++) {
                int r = -EAGAIN;

                ck_assert_int_eq(direct_send(a, direct_get_id(b), (uint16_t) i, data, sizes[i]), 0);
                while (r == -EAGAIN) {
                        direct_process(a);
                        direct_process(b);
                        r = direct_receive(b, 0, &message);
                }
                ck_assert_int_eq(r, 0);
                ck_assert_uint_eq(direct_message_get_size(message), sizes[i]);
                ck_assert_uint_eq(direct_message_get_total(message), sizes[i]);
                ck_assert_uint_eq(direct_message_get_stream(message), 0);
                ck_assert_mem_eq(direct_message_get_data(message), data, sizes[i]);
                direct_message_free(message);
                RUN_UNTIL(a, b, direct_get_queued(a) == 0);
        }
        free(data);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* Takes what comes until a part is the last; checks the bytes. Returns their number. */
static uint64_t receive_stream(DirectClient *a, DirectClient *b, bool *ret_failed) {
        DirectMessage *message;
        uint64_t n = 0;
        bool last = false;

        while (!last) {
                const uint8_t *data;
                int r = direct_receive(b, 0, &message);

                if (r == -EAGAIN) {
                        direct_process(a);
                        direct_process(b);
                        continue;
                }
                ck_assert_int_eq(r, 0);
                ck_assert_uint_eq(direct_message_get_offset(message), n);
                data = direct_message_get_data(message);
                for (size_t i = 0; i < direct_message_get_size(message); i += 97)
                        if (data[i] != pattern(n + i))
                                ck_abort_msg("the byte at %llu is wrong", (unsigned long long) (n + i));
                n += direct_message_get_size(message);
                last = direct_message_is_last(message);
                *ret_failed = direct_message_is_failed(message);
                direct_message_free(message);
        }
        return n;
}

typedef struct Result {
        bool done;
        int result;
} Result;

static void on_sent(DirectClient *client, int result, void *userdata) {
        Result *r = userdata;

        ck_assert(!r->done);
        *r = (Result) { true, result };
}

static int file_with_pattern(size_t size) {
        int fd = memfd_create("pattern", MFD_CLOEXEC);
        uint8_t *p;

        ck_assert_int_eq(ftruncate(fd, (off_t) size), 0);
        /* A regular file, in memory */
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ck_assert_ptr_ne(p, MAP_FAILED);
        for (size_t i = 0; i < size; i++)
                p[i] = pattern(i);
        munmap(p, size);
        return fd;
}

/* A program at the other end of a pipe: so many blocks, each by itself. */
static pid_t fork_writer(int fd, size_t n_blocks) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid > 0)
                return pid;
        for (size_t i = 0; i < n_blocks; i++) {
                uint8_t block[1000];

                for (size_t j = 0; j < sizeof(block); j++)
                        block[j] = pattern(i * sizeof(block) + j);
                if (write(fd, block, sizeof(block)) != (ssize_t) sizeof(block))
                        _exit(1);
        }
        _exit(0);
}

START_TEST(test_fd) {
        const size_t size = 9 * 1024 * 1024 + 3;
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        Result result = {};
        bool failed;
        int fd, fds[2];
        pid_t pid;

        ck_assert_int_eq(direct_set_max_message(b, 65536), 0);
        fd = file_with_pattern(size);
        ck_assert_int_eq(direct_send_fd(a, direct_get_id(b), 1, fd, DIRECT_SIZE_UNKNOWN, on_sent, &result), 0);
        ck_assert_uint_eq(receive_stream(a, b, &failed), size);
        ck_assert(!failed);
        RUN_UNTIL(a, b, result.done);
        ck_assert_int_eq(result.result, 0);

        /* The file ends before what was announced */
        result = (Result) {};
        ck_assert_int_eq(direct_send_fd(a, direct_get_id(b), 1, fd, size + 1, on_sent, &result), 0);
        ck_assert_uint_le(receive_stream(a, b, &failed), size);
        ck_assert(failed);
        RUN_UNTIL(a, b, result.done);
        ck_assert_int_eq(result.result, -EIO);
        close(fd);

        /* A pipe that is written to bit by bit */
        result = (Result) {};
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(direct_send_fd(a, direct_get_id(b), 1, fds[0], DIRECT_SIZE_UNKNOWN, on_sent, &result), 0);
        close(fds[0]);
        pid = fork_writer(fds[1], 300);
        close(fds[1]);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 300000);
        ck_assert(!failed);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        RUN_UNTIL(a, b, result.done);
        ck_assert_int_eq(result.result, 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* What it says at once: which files need room in the send buffer, and what can't be sent. */
START_TEST(test_fd_errors) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        int directory = open("/", O_RDONLY | O_CLOEXEC), largest = file_with_pattern(4096), larger = file_with_pattern(4097);
        static const char first[900];
        Result results[2] = {};
        uint64_t target = direct_get_id(b);
        DirectMessage *message;
        bool failed;

        ck_assert_int_eq(direct_send_fd(a, target, 1, directory, DIRECT_SIZE_UNKNOWN, NULL, NULL), -EISDIR);
        ck_assert_int_eq(direct_send_fd(a, DIRECT_EVERYONE, 1, directory, 10, NULL, NULL), -EISDIR);
        close(directory);
        ck_assert_int_eq(direct_send_fd(a, target, 1, directory, DIRECT_SIZE_UNKNOWN, NULL, NULL), -EBADF);
        ck_assert_int_eq(direct_send_fd(a, target, 1, -1, DIRECT_SIZE_UNKNOWN, NULL, NULL), -EINVAL);
        ck_assert_int_eq(direct_send_fd(a, 0, 1, largest, DIRECT_SIZE_UNKNOWN, NULL, NULL), -EINVAL);

        ck_assert_int_eq(direct_set_send_buffer(a, 5000), 0);
        ck_assert_int_eq(direct_send(a, target, 0, first, sizeof(first)), 0);
        ck_assert_int_eq(direct_send_fd(a, target, 1, largest, DIRECT_SIZE_UNKNOWN, NULL, NULL), -EAGAIN);
        ck_assert_int_eq(direct_send_fd(a, target, 1, largest, 4000, on_sent, &results[0]), 0);
        ck_assert_int_eq(direct_send_fd(a, target, 1, largest, 100, NULL, NULL), -EAGAIN);
        ck_assert_int_eq(direct_set_send_timeout(a, 1000), 0);
        ck_assert_int_eq(direct_send_fd(a, target, 1, largest, 100, NULL, NULL), -ETIMEDOUT);
        ck_assert_int_eq(direct_send_fd(a, target, 1, larger, DIRECT_SIZE_UNKNOWN, on_sent, &results[1]), 0);
        close(largest);
        close(larger);
        message = receive_from(a, b);
        direct_message_free(message);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 4000);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 4097);
        RUN_UNTIL(a, b, results[0].done && results[1].done);
        ck_assert_int_eq(results[0].result, 0);
        ck_assert_int_eq(results[1].result, 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* To everyone: small, large, a stream, and one that ends too early. */
START_TEST(test_fd_broadcast) {
        const size_t sizes[] = { 100, 4096, 4097, 300000 };
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        Result result;
        uint32_t stream;
        bool failed;
        int fd;

        ck_assert_int_eq(direct_set_max_message(b, 65536), 0);
        for (size_t i = 0; i < 4; i++) {
                fd = file_with_pattern(sizes[i]);
                result = (Result) {};
                ck_assert_int_eq(direct_send_fd(a, DIRECT_EVERYONE, 1, fd, DIRECT_SIZE_UNKNOWN, on_sent, &result), 0);
                ck_assert_uint_eq(receive_stream(a, b, &failed), sizes[i]);
                ck_assert(!failed);
                RUN_UNTIL(a, b, result.done);
                ck_assert_int_eq(result.result, 0);
                close(fd);
        }
        fd = file_with_pattern(70000);
        result = (Result) {};
        ck_assert_int_eq(direct_send_fd(a, DIRECT_EVERYONE, 1, fd, 70001, on_sent, &result), 0);
        ck_assert_uint_le(receive_stream(a, b, &failed), 70000);
        ck_assert(failed);
        RUN_UNTIL(a, b, result.done);
        ck_assert_int_eq(result.result, -EIO);
        close(fd);

        ck_assert_int_eq(direct_stream_begin(a, DIRECT_EVERYONE, 1, DIRECT_SIZE_UNKNOWN, &stream), 0);
        ck_assert_int_eq(direct_stream_write(a, stream, "\0", 1), 0);
        ck_assert_int_eq(direct_stream_end(a, stream), 0);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 1);
        ck_assert(!failed);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

START_TEST(test_stream) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        DirectMessage *message;
        uint32_t stream;
        bool failed;

        ck_assert_int_eq(direct_stream_begin(a, direct_get_id(b), 1, DIRECT_SIZE_UNKNOWN, &stream), 0);
        for (size_t i = 0; i < 300; i++) {
                uint8_t block[1000];

                for (size_t j = 0; j < sizeof(block); j++)
                        block[j] = pattern(i * sizeof(block) + j);
                ck_assert_int_eq(direct_stream_write(a, stream, block, sizeof(block)), 0);
        }
        ck_assert_int_eq(direct_stream_end(a, stream), 0);
        ck_assert_int_eq(direct_stream_write(a, stream, "x", 1), -EPIPE);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 300000);
        ck_assert(!failed);

        /* The sender goes in the middle */
        ck_assert_int_eq(direct_stream_begin(a, direct_get_id(b), 1, DIRECT_SIZE_UNKNOWN, &stream), 0);
        ck_assert_int_eq(direct_stream_write(a, stream, "\0", 1), 0);
        message = receive_from(a, b);
        ck_assert_uint_eq(direct_message_get_size(message), 1);
        ck_assert(!direct_message_is_last(message));
        direct_message_free(message);
        direct_disconnect(a);
        message = receive_from(a, b);
        ck_assert_uint_eq(direct_message_get_offset(message), 1);
        ck_assert(direct_message_is_last(message));
        ck_assert(direct_message_is_failed(message));
        direct_message_free(message);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* Large messages are begun in one order and get going in another: nobody's are lost. */
START_TEST(test_stream_order) {
        static uint8_t data[100000];
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        unsigned n_last[4] = {};
        DirectMessage *message;
        uint32_t stream;
        int fds[2];

        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_int_eq(direct_stream_begin(a, direct_get_id(b), 1, DIRECT_SIZE_UNKNOWN, &stream), 0);
        ck_assert_int_eq(direct_send_fd(a, direct_get_id(b), 2, fds[0], DIRECT_SIZE_UNKNOWN, NULL, NULL), 0);
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 3, data, sizeof(data)), 0);
        message = receive_from(a, b);
        ck_assert_uint_eq(direct_message_get_kind(message), 3);
        direct_message_free(message);
        ck_assert_int_eq(write(fds[1], data, 1000), 1000);
        close(fds[0]);
        close(fds[1]);
        message = receive_from(a, b);
        ck_assert_uint_eq(direct_message_get_kind(message), 2);
        n_last[2] += direct_message_is_last(message);
        direct_message_free(message);
        ck_assert_int_eq(direct_stream_write(a, stream, data, 1000), 0);
        ck_assert_int_eq(direct_stream_end(a, stream), 0);
        while (n_last[1] + n_last[2] < 2) {
                message = receive_from(a, b);
                n_last[direct_message_get_kind(message)] += direct_message_is_last(message);
                ck_assert(!direct_message_is_failed(message));
                direct_message_free(message);
        }
        ck_assert_uint_eq(n_last[1], 1);
        RUN_UNTIL(a, b, direct_get_queued(a) == 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* A receiver that does not read: the sender is told to wait, nothing is lost, and nobody spins. */
START_TEST(test_pressure) {
        enum { SIZE = 60000 };
        static char data[SIZE];
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        struct pollfd pollfd = { .fd = direct_get_fd(a), .events = POLLIN };
        unsigned n_sent = 0, n_received = 0;
        Events events = {};
        DirectMessage *message;
        int r;

        direct_set_event_handler(a, on_event, &events);
        for (;;) {
                r = direct_send(a, direct_get_id(b), 1, data, SIZE);
                if (r == 0) {
                        n_sent++;
                        continue;
                }
                ck_assert_int_eq(r, -EAGAIN);
                while (direct_process(a) > 0)
                        ;
                if (events.n[DIRECT_EVENT_WRITABLE] > 0)
                        events.n[DIRECT_EVENT_WRITABLE] = 0;
                else if (poll(&pollfd, 1, 200) == 0)
                        break; /* neither the socket nor the library has anything to say */
        }
        ck_assert_uint_gt(n_sent, 0);
        while (n_received < n_sent) {
                direct_process(a);
                direct_process(b);
                while (direct_receive(b, 0, &message) == 0) {
                        n_received++;
                        direct_message_free(message);
                }
        }
        RUN_UNTIL(a, b, direct_get_queued(a) == 0);
        ck_assert_uint_gt(events.n[DIRECT_EVENT_WRITABLE], 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* Small messages pass a large one. */
START_TEST(test_fairness) {
        const size_t size = 32 * 1024 * 1024;
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        DirectMessage *message;
        unsigned order[2], n = 0;
        char *data;

        data = calloc(1, size);
        ck_assert_int_eq(direct_set_send_buffer(a, 2 * size), 0);
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 0, data, size), 0);
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 1, "small", 5), 0);
        while (n < 2) {
                direct_process(a);
                direct_process(b);
                while (n < 2 && direct_receive(b, 0, &message) == 0) {
                        order[n++] = direct_message_get_kind(message);
                        direct_message_free(message);
                }
        }
        ck_assert_uint_eq(order[0], 1);
        ck_assert_uint_eq(order[1], 0);
        free(data);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

TEST_MAIN_FIXTURE("client-bulk", service_setup, service_teardown, test_large, test_fd, test_fd_errors, test_fd_broadcast,
                  test_stream, test_stream_order, test_pressure, test_fairness)
