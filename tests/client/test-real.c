/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The library as a program has it (the shared object, the public header) against the service as it is. */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
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
                        struct pollfd fds[2] = { { .fd = direct_get_fd(a), .events = POLLIN },                       \
                                                 { .fd = (b) ? direct_get_fd(b) : -1, .events = POLLIN } };          \
                        bool more = false;                                                                           \
                                                                                                                     \
                        more |= direct_process(a) > 0;                                                               \
                        if (b)                                                                                       \
                                more |= direct_process(b) > 0;                                                       \
                        if (condition)                                                                               \
                                break;                                                                               \
                        if (!more)                                                                                   \
                                ck_assert_msg(poll(fds, 2, 20000) > 0, "waited too long for " #condition);           \
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

int main(void) {
        Suite *suite = suite_create("real");
        TCase *tcase = tcase_create("real");
        SRunner *runner;
        int n_failed;

        tcase_add_checked_fixture(tcase, setup, teardown);
        tcase_set_timeout(tcase, 60);
        tcase_add_test(tcase, test_send_receive);
        suite_add_tcase(suite, tcase);
        runner = srunner_create(suite);
        srunner_run_all(runner, CK_ENV);
        n_failed = srunner_ntests_failed(runner);
        srunner_free(runner);
        return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
