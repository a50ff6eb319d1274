/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The library as a program has it (the shared object, the public header) against the service as it is. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <directclient.h>

#include "tests/client/service.h"

#define SECOND UINT64_C(1000000)
#define PATIENCE (20 * SECOND) /* what never takes so long unless something is wrong */

static Service service;

static void setup(void) {
        service = (Service) {};
        service_start(&service);
}

static void teardown(void) {
        service_stop(&service, SIGKILL);
        service_clean(&service);
}

static DirectClient *client_connected(const char *name) {
        DirectClient *client;
        int r;

        ck_assert_int_eq(direct_client_new(&client), 0);
        if (name)
                ck_assert_int_eq(direct_set_name(client, name), 0);
        r = direct_connect(client, service.address);
        ck_assert_msg(r == 0, "%s", direct_get_error(client));
        return client;
}

/* Events are remembered, so that a test can wait for one. */
typedef struct Events {
        unsigned n[32];
        DirectEvent last[32];
        char text[32][128];
} Events;

static void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        Events *events = userdata;

        ck_assert_int_lt(event->type, 32);
        events->n[event->type]++;
        events->last[event->type] = *event;
        snprintf(events->text[event->type], sizeof(events->text[0]), "%s", event->text);
}

/* Runs the loops of up to two clients until the condition holds. */
#define RUN_UNTIL(a, b, condition)                                                                                   \
        do {                                                                                                         \
                for (;;) {                                                                                           \
                        struct pollfd pollfds[2] = { { .fd = direct_get_fd(a), .events = POLLIN },                       \
                                                     { .fd = (b) ? direct_get_fd(b) : -1, .events = POLLIN } };          \
                        bool more = false;                                                                           \
                                                                                                                     \
                        more |= direct_process(a) > 0;                                                               \
                        if (b)                                                                                       \
                                more |= direct_process(b) > 0;                                                       \
                        if (condition)                                                                               \
                                break;                                                                               \
                        if (!more)                                                                                   \
                                ck_assert_msg(poll(pollfds, 2, 20000) > 0, "waited too long for " #condition);           \
                }                                                                                                    \
        } while (0)

static DirectMessage *receive(DirectClient *client) {
        DirectMessage *message = NULL;
        int r;

        r = direct_receive(client, PATIENCE, &message);
        ck_assert_msg(r == 0, "%s: %s", strerror(-r), direct_get_error(client));
        return message;
}

START_TEST(test_send_receive) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        DirectMessage *message;
        uint64_t id;

        ck_assert_uint_ne(direct_get_id(a), direct_get_id(b));
        ck_assert_str_eq(direct_get_name(a), "a");
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 7, "hello", 5), 0);
        ck_assert_int_eq(direct_send_name(a, "b", 8, NULL, 0), 0);
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
        message = receive(b);
        ck_assert_uint_eq(direct_message_get_source(message), direct_get_id(a));
        ck_assert_uint_eq(direct_message_get_kind(message), 7);
        ck_assert_uint_eq(direct_message_get_size(message), 5);
        ck_assert_mem_eq(direct_message_get_data(message), "hello", 5);
        ck_assert_int_eq(direct_message_is_last(message), 1);
        direct_message_free(message);
        message = receive(b);
        ck_assert_uint_eq(direct_message_get_kind(message), 8);
        ck_assert_uint_eq(direct_message_get_size(message), 0);
        direct_message_free(message);
        ck_assert_int_eq(direct_resolve(a, "b", PATIENCE, &id), 0);
        ck_assert_uint_eq(id, direct_get_id(b));
        ck_assert_int_eq(direct_resolve(a, "nobody", PATIENCE, &id), -ENXIO);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

START_TEST(test_questions) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        DirectPeer *peers;
        DirectAlive alive;
        DirectLoad load;
        size_t n_peers;

        ck_assert_int_eq(direct_alive(a, "b", PATIENCE, &alive), 0);
        ck_assert_int_eq(alive.state, DIRECT_STATE_ALIVE);
        ck_assert_uint_eq(alive.id, direct_get_id(b));
        ck_assert_str_eq(alive.name, "b");
        ck_assert_int_eq(direct_alive_id(a, direct_get_id(b), PATIENCE, &alive), 0);
        ck_assert_str_eq(alive.name, "b");
        ck_assert_int_eq(direct_alive(a, "nobody", PATIENCE, &alive), 0);
        ck_assert_int_eq(alive.state, DIRECT_STATE_UNKNOWN);

        ck_assert_int_eq(direct_list(a, PATIENCE, &peers, &n_peers), 0);
        ck_assert_uint_eq(n_peers, 2);
        ck_assert_uint_eq(peers[0].id, direct_get_id(a));
        ck_assert_str_eq(peers[1].name, "b");
        direct_list_free(peers);

        ck_assert_int_eq(direct_load(a, PATIENCE, &load, sizeof(load)), 0);
        ck_assert_uint_eq(load.clients, 2);
        ck_assert_uint_gt(load.bytes_in, 0);
        ck_assert_uint_gt(load.uptime_usec, 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

/* Runs b's side of a call while a waits in direct_call(): in a process of its own. */
static pid_t fork_server(const char *name, unsigned n_replies) {
        int fds[2];
        char ready;
        pid_t pid;

        ck_assert_int_eq(pipe(fds), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                DirectClient *client;
                DirectMessage *message;

                if (direct_client_new(&client) < 0 || direct_set_name(client, name) < 0 || direct_connect(client, service.address) < 0)
                        _exit(1);
                if (write(fds[1], "", 1) != 1)
                        _exit(1);
                for (unsigned i = 0; i < n_replies; i++) {
                        if (direct_receive(client, PATIENCE, &message) < 0)
                                _exit(1);
                        if (direct_message_get_kind(message) == 13)
                                direct_reply_error(client, message, EDOM, "thirteen is not for me");
                        else
                                direct_reply(client, message, direct_message_get_data(message), direct_message_get_size(message));
                        direct_message_free(message);
                }
                if (n_replies > 0)
                        direct_flush(client, PATIENCE);
                else
                        direct_receive(client, PATIENCE, &message); /* takes the request with it when it dies */
                _exit(0);
        }
        ck_assert_int_eq(read(fds[0], &ready, 1), 1);
        close(fds[0]);
        close(fds[1]);
        return pid;
}

START_TEST(test_call) {
        const size_t size = 3 * 1024 * 1024 + 5;
        pid_t pid = fork_server("echo", 3);
        DirectClient *a = client_connected("a");
        DirectMessage *reply;
        uint64_t id;
        char *data;
        int r;

        data = malloc(size);
        for (size_t i = 0; i < size; i++)
                data[i] = (char) (i * 7);
        ck_assert_int_eq(direct_resolve(a, "echo", PATIENCE, &id), 0);
        ck_assert_int_eq(direct_call(a, id, 1, "ping", 4, PATIENCE, &reply), 0);
        ck_assert_uint_eq(direct_message_get_size(reply), 4);
        ck_assert_uint_eq(direct_message_get_kind(reply), 1);
        ck_assert_mem_eq(direct_message_get_data(reply), "ping", 4);
        direct_message_free(reply);
        ck_assert_int_eq(direct_call(a, id, 2, data, size, PATIENCE, &reply), 0);
        ck_assert_uint_eq(direct_message_get_size(reply), size);
        ck_assert_mem_eq(direct_message_get_data(reply), data, size);
        direct_message_free(reply);
        ck_assert_int_eq(direct_call(a, id, 13, NULL, 0, PATIENCE, &reply), -EREMOTEIO);
        ck_assert_str_eq(direct_get_error(a), "thirteen is not for me");
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        r = direct_call(a, id, 1, NULL, 0, PATIENCE, &reply);
        ck_assert(r == -ENXIO || r == -EPIPE); /* its end may have reached the service before the call or after it */
        ck_assert_int_eq(direct_call(a, direct_get_id(a) + 100, 1, NULL, 0, PATIENCE, &reply), -ENXIO);
        ck_assert_int_eq(direct_call(a, direct_get_id(a), 1, NULL, 0, 10000, &reply), -ETIMEDOUT);
        direct_client_free(a);
        free(data);
}
END_TEST

START_TEST(test_call_death) {
        pid_t pid = fork_server("mortal", 0);
        DirectClient *a = client_connected("a");
        DirectMessage *reply;
        uint64_t id;

        ck_assert_int_eq(direct_resolve(a, "mortal", PATIENCE, &id), 0);
        ck_assert_int_eq(direct_call(a, id, 1, NULL, 0, PATIENCE, &reply), -EPIPE);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        direct_client_free(a);
}
END_TEST

START_TEST(test_presence) {
        DirectClient *a = client_connected("a"), *b;
        Events events = {};
        uint64_t id;

        direct_set_event_handler(a, on_event, &events);
        ck_assert_int_eq(direct_watch(a, 0, 1), 0);
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
        b = client_connected("b");
        id = direct_get_id(b);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_JOINED] > 0);
        ck_assert_uint_eq(events.last[DIRECT_EVENT_JOINED].id, id);
        direct_client_free(b);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_LEFT] > 0);
        ck_assert_uint_eq(events.last[DIRECT_EVENT_LEFT].id, id);
        ck_assert_int_eq(events.last[DIRECT_EVENT_LEFT].reason, DIRECT_REASON_LEAVING);

        /* One that has left already */
        ck_assert_int_eq(direct_watch(a, 0, 0), 0);
        ck_assert_int_eq(direct_watch(a, id, 1), 0);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_LEFT] > 1);
        ck_assert_uint_eq(events.last[DIRECT_EVENT_LEFT].id, id);

        ck_assert_int_eq(direct_send(a, id, 1, NULL, 0), 0);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_UNDELIVERED] > 0);
        ck_assert_uint_eq(events.last[DIRECT_EVENT_UNDELIVERED].id, id);
        ck_assert_int_eq(events.last[DIRECT_EVENT_UNDELIVERED].error, -ENXIO);
        ck_assert_int_eq(direct_send_name(a, "b", 1, NULL, 0), 0);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_UNDELIVERED] > 1);
        ck_assert_int_eq(events.last[DIRECT_EVENT_UNDELIVERED].error, -ENXIO);
        direct_client_free(a);
}
END_TEST

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
        }
        ck_assert_uint_eq(direct_get_queued(a), 0);
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
                        ck_assert_uint_eq(data[i], pattern(n + i));
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

START_TEST(test_fd) {
        const size_t size = 9 * 1024 * 1024 + 3;
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        Result result = {};
        bool failed;
        int fd, fds[2];

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
        for (size_t i = 0; i < 300; i++) {
                uint8_t block[1000];

                for (size_t j = 0; j < sizeof(block); j++)
                        block[j] = pattern(i * sizeof(block) + j);
                ck_assert_int_eq(write(fds[1], block, sizeof(block)), sizeof(block));
                direct_process(a);
                direct_process(b);
        }
        close(fds[1]);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 300000);
        ck_assert(!failed);
        RUN_UNTIL(a, b, result.done);
        ck_assert_int_eq(result.result, 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

START_TEST(test_stream) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
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
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
        RUN_UNTIL(b, NULL, direct_get_queued(b) == 0);
        direct_disconnect(a);
        ck_assert_uint_eq(receive_stream(a, b, &failed), 1);
        ck_assert(failed);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

START_TEST(test_broadcast) {
        DirectClient *a = client_connected("a"), *b = client_connected("b"), *c = client_connected("c");
        DirectMessage *message;

        ck_assert_int_eq(direct_broadcast(a, 3, "all", 3), 0);
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
        message = receive(b);
        ck_assert_int_eq(direct_message_is_broadcast(message), 1);
        direct_message_free(message);
        message = receive(c);
        ck_assert_mem_eq(direct_message_get_data(message), "all", 3);
        direct_message_free(message);
        ck_assert_int_eq(direct_receive(a, 0, &message), -EAGAIN);
        direct_client_free(a);
        direct_client_free(b);
        direct_client_free(c);
}
END_TEST

START_TEST(test_refused) {
        DirectClient *a = client_connected("a"), *b;

        ck_assert_int_eq(direct_client_new(&b), 0);
        ck_assert_int_eq(direct_set_name(b, "a"), 0);
        ck_assert_int_eq(direct_connect(b, service.address), -EADDRINUSE);
        ck_assert_str_ne(direct_get_error(b), "");
        ck_assert_int_eq(direct_is_connected(b), 0);
        ck_assert_int_eq(direct_connect(b, "127.0.0.1:1"), -ECONNREFUSED);
        ck_assert_int_eq(direct_connect(b, "unix:/nonexistent"), -ENOENT);
        ck_assert_int_eq(direct_connect(a, service.address), -EISCONN);
        direct_client_free(a);
        ck_assert_int_eq(direct_connect(b, service.address), 0);
        direct_client_free(b);
}
END_TEST

/* The service is killed and comes back, with the same port and state: the session goes on. */
START_TEST(test_reconnect) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        Events events = {}, events_b = {};
        uint64_t id = direct_get_id(a);
        DirectMessage *message;

        direct_set_event_handler(a, on_event, &events);
        direct_set_event_handler(b, on_event, &events_b);
        ck_assert_int_eq(direct_watch(a, direct_get_id(b), 1), 0);
        RUN_UNTIL(a, b, direct_get_queued(a) == 0);
        service_stop(&service, SIGKILL);
        RUN_UNTIL(a, b, events.n[DIRECT_EVENT_DISCONNECTED] > 0 && events_b.n[DIRECT_EVENT_DISCONNECTED] > 0);
        ck_assert_int_eq(direct_send(a, 1, 1, NULL, 0), -ENOTCONN);
        service_start(&service);
        RUN_UNTIL(a, b, events.n[DIRECT_EVENT_CONNECTED] > 0 && events_b.n[DIRECT_EVENT_CONNECTED] > 0);
        ck_assert_int_eq(events.last[DIRECT_EVENT_CONNECTED].resumed, 1);
        ck_assert_uint_eq(direct_get_id(a), id);
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 1, "again", 5), 0);
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
        message = receive(b);
        ck_assert_mem_eq(direct_message_get_data(message), "again", 5);
        direct_message_free(message);

        /* The watch was kept */
        ck_assert_uint_eq(events.n[DIRECT_EVENT_LEFT], 0);
        direct_client_free(b);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_LEFT] > 0);

        /* An orderly stop */
        service_stop(&service, SIGTERM);
        RUN_UNTIL(a, NULL, events.n[DIRECT_EVENT_DISCONNECTED] > 1);
        ck_assert_int_eq(events.last[DIRECT_EVENT_DISCONNECTED].reason, DIRECT_REASON_STOPPING);
        direct_client_free(a);
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

int main(void) {
        Suite *suite = suite_create("real");
        TCase *tcase = tcase_create("real");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_set_timeout(tcase, 60);
        tcase_add_test(tcase, test_send_receive);
        tcase_add_test(tcase, test_questions);
        tcase_add_test(tcase, test_call);
        tcase_add_test(tcase, test_call_death);
        tcase_add_test(tcase, test_presence);
        tcase_add_test(tcase, test_large);
        tcase_add_test(tcase, test_fd);
        tcase_add_test(tcase, test_stream);
        tcase_add_test(tcase, test_broadcast);
        tcase_add_test(tcase, test_refused);
        tcase_add_test(tcase, test_reconnect);
        tcase_add_test(tcase, test_pressure);
        tcase_add_test(tcase, test_fairness);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
