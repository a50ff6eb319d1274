/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The library as a program has it (the shared object, the public header) against the service as it is. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/client/real.h"
#include "tests/unit/run-tests.h"

START_TEST(test_send_receive) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        DirectMessage *message;
        uint64_t id;

        ck_assert_uint_ne(direct_get_id(a), direct_get_id(b));
        ck_assert_str_eq(direct_get_name(a), "a");
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 7, "hello", 5), 0);
        ck_assert_int_eq(direct_send_name(a, "b", 8, NULL, 0), 0);
        message = receive_from(a, b);
        ck_assert_uint_eq(direct_message_get_source(message), direct_get_id(a));
        ck_assert_uint_eq(direct_message_get_kind(message), 7);
        ck_assert_uint_eq(direct_message_get_size(message), 5);
        ck_assert_mem_eq(direct_message_get_data(message), "hello", 5);
        ck_assert_int_eq(direct_message_is_last(message), 1);
        direct_message_free(message);
        message = receive_from(a, b);
        ck_assert_uint_eq(direct_message_get_kind(message), 8);
        ck_assert_uint_eq(direct_message_get_size(message), 0);
        direct_message_free(message);
        RUN_UNTIL(a, b, direct_get_queued(a) == 0); /* b says that it has taken them */
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
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

                if (direct_client_new(&client) < 0 || direct_set_name(client, name) < 0 ||
                    direct_connect(client, service.address) < 0)
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
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0); /* the other side waits to hear that we have taken the reply */
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        r = direct_call(a, id, 1, NULL, 0, PATIENCE, &reply);
        ck_assert(r == -ENXIO || r == -EPIPE); /* its end may have reached the service before the call or after it */
        ck_assert_int_eq(direct_call(a, direct_get_id(a) + 100, 1, NULL, 0, PATIENCE, &reply), -ENXIO);
        ck_assert_int_eq(direct_call(a, direct_get_id(a), 1, NULL, 0, 10000, &reply), -ETIMEDOUT);
        direct_client_free(a);
        free(data);
}
END_TEST

static uint64_t clock_usec(clockid_t clock) {
        struct timespec ts;

        clock_gettime(clock, &ts);
        return (uint64_t) ts.tv_sec * SECOND + (uint64_t) ts.tv_nsec / 1000;
}

/* Nothing comes for so long after brisk traffic: what that costs is next to nothing. */
static void expect_idle(DirectClient *client, int (*wait)(DirectClient *client, uint64_t usec)) {
        uint64_t start = clock_usec(CLOCK_PROCESS_CPUTIME_ID), end = clock_usec(CLOCK_MONOTONIC) + SECOND / 2, now;

        while ((now = clock_usec(CLOCK_MONOTONIC)) < end) {
                ck_assert_int_ne(wait(client, end - now), -ENOTCONN);
                ck_assert_int_ge(direct_process(client), 0); /* that the other one has left, perhaps */
        }
        ck_assert_uint_lt(clock_usec(CLOCK_PROCESS_CPUTIME_ID) - start, SECOND / 20);
}

static int wait_to_receive(DirectClient *client, uint64_t usec) {
        DirectMessage *message;

        return direct_receive(client, usec, &message);
}

START_TEST(test_spin) {
        const int n_calls = 1000;
        pid_t pid = fork_server("echo", n_calls);
        DirectClient *a = client_connected("a");
        DirectMessage *reply;
        uint64_t id;

        ck_assert_int_eq(direct_set_spin(NULL, 10), -EINVAL);
        ck_assert_int_eq(direct_set_spin(a, 1001), -EINVAL);
        ck_assert_int_eq(direct_set_spin(a, 1000), 0);
        ck_assert_int_eq(direct_resolve(a, "echo", PATIENCE, &id), 0);
        for (int i = 0; i < n_calls; i++) {
                ck_assert_int_eq(direct_call(a, id, 1, &i, sizeof(i), PATIENCE, &reply), 0);
                ck_assert_mem_eq(direct_message_get_data(reply), &i, sizeof(i));
                direct_message_free(reply);
        }
        ck_assert_int_eq(direct_flush(a, PATIENCE), 0);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        expect_idle(a, wait_to_receive);
        expect_idle(a, direct_wait);
        direct_client_free(a);
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
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 1, "meanwhile", 9), 0);
        service_start(&service);
        RUN_UNTIL(a, b, events.n[DIRECT_EVENT_CONNECTED] > 0 && events_b.n[DIRECT_EVENT_CONNECTED] > 0);
        ck_assert_int_eq(events.last[DIRECT_EVENT_CONNECTED].resumed, 1);
        ck_assert_uint_eq(direct_get_id(a), id);
        ck_assert_int_eq(direct_send(a, direct_get_id(b), 1, "again", 5), 0);
        message = receive_from(a, b);
        ck_assert_mem_eq(direct_message_get_data(message), "meanwhile", 9);
        direct_message_free(message);
        message = receive_from(a, b);
        ck_assert_mem_eq(direct_message_get_data(message), "again", 5);
        direct_message_free(message);
        RUN_UNTIL(a, b, direct_get_queued(a) == 0);

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

TEST_MAIN_FIXTURE("client-real", service_setup, service_teardown, test_send_receive, test_questions, test_call,
                  test_spin, test_call_death, test_presence, test_broadcast, test_refused, test_reconnect)
