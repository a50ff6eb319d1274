/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the library promises about messages, against a real service that is killed, and receivers that die, stop, or do not
 * read. */

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/client/real.h"
#include "tests/unit/run-tests.h"

typedef struct Outcomes {
        unsigned n_delivered, n_gone, n_expired, n_other;
} Outcomes;

static unsigned outcomes_sum(const Outcomes *o) {
        return o->n_delivered + o->n_gone + o->n_expired + o->n_other;
}

static void on_outcome(DirectClient *client, int result, void *userdata) {
        Outcomes *outcomes = userdata;

        if (result == 0)
                outcomes->n_delivered++;
        else if (result == -ENXIO)
                outcomes->n_gone++;
        else if (result == -ETIME)
                outcomes->n_expired++;
        else
                outcomes->n_other++;
}

static void send_number(DirectClient *client, uint64_t target, uint32_t number, Outcomes *outcomes) {
        ck_assert_int_eq(direct_send_async(client, target, 1, &number, sizeof(number), on_outcome, outcomes), 0);
}

/* A receiver in a process of its own: takes `n` messages, which have to be 0, 1, 2, …, says so, and then does nothing more. */
static pid_t fork_receiver(const char *name, uint32_t n, int *ret_fd) {
        int fds[2];
        pid_t pid;

        ck_assert_int_eq(pipe(fds), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
                DirectClient *client;
                DirectMessage *message;
                uint32_t number;

                if (direct_client_new(&client) < 0 || direct_set_name(client, name) < 0 ||
                    direct_connect(client, service.address) < 0 || write(fds[1], "c", 1) != 1)
                        _exit(1);
                for (uint32_t i = 0; i < n; i++) {
                        int r;

                        do /* being stopped and continued interrupts what waits, although there is no signal handler */
                                r = direct_receive(client, PATIENCE, &message);
                        while (r == -EINTR);
                        if (r < 0)
                                _exit(2);
                        memcpy(&number, direct_message_get_data(message), sizeof(number));
                        if (number != i)
                                _exit(3);
                        direct_message_free(message);
                }
                (void) direct_wait(client, 0);
                while (direct_process(client) > 0) /* the last acknowledgement */
                        ;
                if (write(fds[1], "d", 1) != 1)
                        _exit(1);
                pause();
                _exit(0);
        }
        close(fds[1]);
        *ret_fd = fds[0];
        return pid;
}

static void expect_byte(int fd, char wanted) {
        char c = 0;

        ck_assert_int_eq(read(fd, &c, 1), 1);
        ck_assert_int_eq(c, wanted);
}

static void end_receiver(pid_t pid, int fd) {
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        close(fd);
}

static uint64_t find(DirectClient *client, const char *name) {
        uint64_t id;

        ck_assert_int_eq(direct_resolve(client, name, PATIENCE, &id), 0);
        return id;
}

static void on_reply(DirectClient *client, int result, DirectMessage *reply, void *userdata) {
        *(int *) userdata = result;
}

/* It has taken the first hundred. */
START_TEST(test_receiver_dies) {
        DirectClient *a = client_connected("a");
        Outcomes outcomes = {};
        int fd, call = 1;
        uint64_t id;
        pid_t pid;

        pid = fork_receiver("b", 100, &fd);
        expect_byte(fd, 'c');
        id = find(a, "b");
        for (uint32_t i = 0; i < 300; i++)
                send_number(a, id, i, &outcomes);
        ck_assert_int_eq(direct_call_start(a, id, 1, NULL, 0, DIRECT_FOREVER, on_reply, &call), 0);
        RUN_UNTIL(a, NULL, outcomes.n_delivered == 100);
        expect_byte(fd, 'd');
        end_receiver(pid, fd);
        RUN_UNTIL(a, NULL, outcomes_sum(&outcomes) == 300 && call != 1);
        ck_assert_uint_eq(outcomes.n_delivered, 100);
        ck_assert_uint_eq(outcomes.n_gone, 200);
        ck_assert(call == -EPIPE || call == -ENXIO);
        ck_assert_uint_eq(direct_get_queued(a), 0);
        send_number(a, id, 0, &outcomes); /* ids do not come back */
        RUN_UNTIL(a, NULL, outcomes.n_gone == 201);
        direct_client_free(a);
}
END_TEST

START_TEST(test_service_is_killed) {
        DirectClient *a = client_connected("a");
        Outcomes outcomes = {};
        uint64_t id, own = direct_get_id(a);
        uint32_t sent = 0;
        pid_t pid;
        int fd;

        pid = fork_receiver("b", 1000, &fd);
        expect_byte(fd, 'c');
        id = find(a, "b");
        for (unsigned round = 0; round < 5; round++) {
                for (unsigned i = 0; i < 100; i++)
                        send_number(a, id, sent++, &outcomes);
                RUN_UNTIL(a, NULL, outcomes.n_delivered > sent - 100);
                service_stop(&service, SIGKILL);
                RUN_UNTIL(a, NULL, !direct_is_connected(a));
                for (unsigned i = 0; i < 100; i++)
                        send_number(a, id, sent++, &outcomes); /* these wait */
                service_start(&service);
        }
        RUN_UNTIL(a, NULL, outcomes_sum(&outcomes) == 1000);
        ck_assert_uint_eq(outcomes.n_delivered, 1000);
        ck_assert_uint_eq(direct_get_id(a), own);
        expect_byte(fd, 'd'); /* each once, and in order */
        end_receiver(pid, fd);
        direct_client_free(a);
}
END_TEST

/* One that is stopped takes nothing more than its credit, and holds up nobody else. */
START_TEST(test_receiver_is_stopped) {
        DirectClient *a = client_connected("a");
        Outcomes stopped = {}, running = {};
        DirectSendOptions options = { .time_to_live_usec = 1, .handler = on_outcome, .userdata = &stopped };
        static uint8_t data[60000];
        uint64_t b_id, c_id;
        int b_fd, c_fd;
        pid_t b, c;

        b = fork_receiver("b", 1, &b_fd);
        c = fork_receiver("c", 1000, &c_fd);
        expect_byte(b_fd, 'c');
        expect_byte(c_fd, 'c');
        b_id = find(a, "b");
        c_id = find(a, "c");
        kill(b, SIGSTOP);
        for (unsigned i = 0; i < 20; i++)
                ck_assert_int_eq(direct_send_async(a, b_id, 1, data, sizeof(data), on_outcome, &stopped), 0);
        for (uint32_t i = 0; i < 1000; i++)
                send_number(a, c_id, i, &running);
        RUN_UNTIL(a, NULL, running.n_delivered == 1000);
        expect_byte(c_fd, 'd');
        /* Behind the others that wait for credit, so it has no chance */
        ck_assert_int_eq(direct_send_with(a, b_id, 1, data, sizeof(data), &options, sizeof(options)), 0);
        RUN_UNTIL(a, NULL, stopped.n_expired == 1);
        ck_assert_uint_eq(outcomes_sum(&stopped), 1);
        kill(b, SIGCONT);
        RUN_UNTIL(a, NULL, stopped.n_delivered == 1);
        end_receiver(b, b_fd);
        RUN_UNTIL(a, NULL, outcomes_sum(&stopped) == 21);
        end_receiver(c, c_fd);
        direct_client_free(a);
}
END_TEST

/* Broadcasts while the receiver's link is down come when it is back. */
START_TEST(test_broadcasts_are_had_again) {
        DirectClient *a = client_connected("a"), *b = client_connected("b");
        Events events = {};

        direct_set_event_handler(b, on_event, &events);
        for (uint32_t i = 0; i < 100; i++)
                ck_assert_int_eq(direct_broadcast(a, 1, &i, sizeof(i)), 0);
        RUN_UNTIL(a, NULL, direct_get_queued(a) == 0);
        service_stop(&service, SIGKILL);
        service_start(&service);
        for (uint32_t i = 0; i < 100; i++) {
                DirectMessage *message = NULL;

                RUN_UNTIL(a, b, direct_receive(b, 0, &message) == 0);
                ck_assert_int_eq(direct_message_is_broadcast(message), 1);
                ck_assert_mem_eq(direct_message_get_data(message), &i, sizeof(i));
                direct_message_free(message);
        }
        ck_assert_uint_eq(events.n[DIRECT_EVENT_LOST], 0);
        direct_client_free(a);
        direct_client_free(b);
}
END_TEST

TEST_MAIN_FIXTURE("client-delivery", service_setup, service_teardown, test_receiver_dies, test_service_is_killed,
                  test_receiver_is_stopped, test_broadcasts_are_had_again)
