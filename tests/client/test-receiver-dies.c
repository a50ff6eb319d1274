/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program that others send to and call is killed, with kill -9: within a second they know of every message what became of it.
 * It makes a difference how its kernel tells the service. On a local socket that is always clear. On TCP it sends a FIN if the
 * program had read all, and else a reset, which might as well mean that the link is lost: then the session is kept for 0.9 s, as
 * PROTOCOL.md says. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/client/real.h"
#include "tests/unit/run-tests.h"

#define SIZE 1000
#define N_MANY 3000             /* more than any window: some are under way, most are not sent yet */
#define N_FEW 120               /* within the first window: all are under way */
#define N_TAKEN 50              /* by those that then stop */
#define FILE_SIZE (8 << 20)
#define RESET_GRACE (SECOND * 9 / 10) /* ROUTER_RESET_GRACE_USEC */
#define LIMIT SECOND            /* what is promised */
#define LIMIT_SANITIZED (5 * SECOND)

/* What the receiver does until it is killed */
typedef enum Life {
        LIFE_TAKES, /* all the time */
        LIFE_STOPS, /* takes N_TAKEN, and then does not even read */
        LIFE_READS  /* takes N_TAKEN, and has then read what there is */
} Life;

typedef struct Receiver {
        pid_t pid;
        int input, output; /* a byte that is written is answered with one when all is read that has come before */
} Receiver;

typedef struct Outcomes {
        unsigned n, n_delivered, n_gone, n_other;
        unsigned n_delivered_late; /* after one that was not */
        int file, call;            /* results; 1: none yet */
} Outcomes;

/* Where a receiver counts what its program was given, for this process to see what that was in the end */
static volatile unsigned *n_taken;

static void setup(void) {
        service_setup();
        n_taken = mmap(NULL, sizeof(*n_taken), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        ck_assert_ptr_ne((void *) n_taken, MAP_FAILED);
}

static void teardown(void) {
        (void) munmap((void *) n_taken, sizeof(*n_taken));
        service_teardown();
}

static uint64_t now_usec(void) {
        struct timespec now;

        ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &now), 0);
        return (uint64_t) now.tv_sec * SECOND + (uint64_t) now.tv_nsec / 1000;
}

static void expect_soon(uint64_t since, uint64_t grace, const char *what) {
        const char *sanitized = getenv("DIRECTSERVER_SANITIZED");
        uint64_t limit = sanitized && strcmp(sanitized, "1") == 0 ? LIMIT_SANITIZED : LIMIT, taken = now_usec() - since;

        ck_assert_msg(taken <= grace + limit, "%s took %llu us", what, (unsigned long long) taken);
}

static void take(DirectClient *client, uint32_t wanted) {
        DirectMessage *message;
        uint32_t number;

        if (direct_receive(client, PATIENCE, &message) < 0)
                _exit(2);
        memcpy(&number, direct_message_get_data(message), sizeof(number));
        if (number != wanted)
                _exit(3);
        *n_taken = wanted + 1;
        direct_message_free(message);
}

/* Without a message handler, messages that nobody takes merely wait. */
static void run_receiver(const char *address, Life life, int input, int output) {
        DirectClient *client;
        DirectAlive alive;
        char byte;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (direct_client_new(&client) < 0 || direct_set_name(client, "receiver") < 0 || direct_connect(client, address) < 0 ||
            write(output, "", 1) != 1)
                _exit(1);
        for (uint32_t i = 0; life == LIFE_TAKES || i < N_TAKEN; i++)
                take(client, i);
        (void) direct_flush(client, PATIENCE); /* the last acknowledgement */

        /* What the service has sent before it answers has been read when the answer is here */
        if (read(input, &byte, 1) != 1 || direct_alive(client, "receiver", PATIENCE, &alive) < 0 || write(output, "", 1) != 1)
                _exit(4);
        for (;;)
                pause();
}

static void expect_byte(const Receiver *receiver) {
        char byte;

        ck_assert_int_eq(read(receiver->output, &byte, 1), 1);
}

static Receiver fork_receiver(const char *address, Life life) {
        int input[2], output[2];
        Receiver receiver;

        ck_assert_int_eq(pipe2(input, O_CLOEXEC), 0);
        ck_assert_int_eq(pipe2(output, O_CLOEXEC), 0);
        receiver = (Receiver) { .pid = fork(), .input = input[1], .output = output[0] };
        ck_assert_int_ge(receiver.pid, 0);
        if (receiver.pid == 0)
                run_receiver(address, life, input[0], output[1]);
        close(input[0]);
        close(output[1]);
        expect_byte(&receiver);
        return receiver;
}

/* What `client` has sent so far has gone through the service, and the receiver has read it. */
static void read_all(DirectClient *client, const Receiver *receiver) {
        DirectAlive alive;

        ck_assert_int_eq(direct_alive(client, "receiver", PATIENCE, &alive), 0);
        ck_assert_int_eq(write(receiver->input, "", 1), 1);
        expect_byte(receiver);
}

/* Returns when the signal is sent, not when it is dead: that is a part of what may take a second. */
static uint64_t kill_receiver(const Receiver *receiver) {
        uint64_t now = now_usec();

        ck_assert_int_eq(kill(receiver->pid, SIGKILL), 0);
        return now;
}

static void reap_receiver(const Receiver *receiver) {
        int status;

        ck_assert_int_eq(waitpid(receiver->pid, &status, 0), receiver->pid);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the receiver has ended by itself: %#x", status);
        close(receiver->input);
        close(receiver->output);
}

static void on_outcome(DirectClient *client, int result, void *userdata) {
        Outcomes *outcomes = userdata;

        if (result == 0) {
                outcomes->n_delivered++;
                outcomes->n_delivered_late += outcomes->n_gone > 0;
        } else if (result == -ENXIO)
                outcomes->n_gone++;
        else
                outcomes->n_other++;
}

static void on_file(DirectClient *client, int result, void *userdata) {
        ((Outcomes *) userdata)->file = result;
}

static void on_reply(DirectClient *client, int result, DirectMessage *reply, void *userdata) {
        ((Outcomes *) userdata)->call = result;
}

static void send_messages(DirectClient *client, uint64_t target, Outcomes *outcomes) {
        char data[SIZE] = {};

        for (uint32_t i = 0; i < outcomes->n; i++) {
                memcpy(data, &i, sizeof(i));
                ck_assert_int_eq(direct_send_async(client, target, 1, data, sizeof(data), on_outcome, outcomes), 0);
        }
}

static void send_file(DirectClient *client, uint64_t target, Outcomes *outcomes) {
        FILE *file = tmpfile();

        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(ftruncate(fileno(file), FILE_SIZE), 0);
        ck_assert_int_eq(direct_send_fd(client, target, 2, fileno(file), DIRECT_SIZE_UNKNOWN, on_file, outcomes), 0);
        fclose(file);
}

static bool is_all_known(const Outcomes *o) {
        return o->n_delivered + o->n_gone + o->n_other == o->n && o->file != 1 && o->call != 1;
}

/* Whoever is dead is not waited for: neither by the library, nor by the program. */
static void expect_gone(DirectClient *client, uint64_t id) {
        Outcomes outcomes = {};
        uint64_t begin = now_usec();
        DirectMessage *reply;

        ck_assert_int_eq(direct_call(client, id, 3, NULL, 0, PATIENCE, &reply), -ENXIO);
        expect_soon(begin, 0, "a call to a dead program");
        ck_assert_int_eq(direct_send_async(client, id, 1, "", 1, on_outcome, &outcomes), 0);
        RUN_UNTIL(client, NULL, outcomes.n_gone == 1);
        expect_soon(begin, 0, "a message to a dead program");
}

static void check_outcomes(const Outcomes *outcomes) {
        ck_assert_uint_eq(outcomes->n_other, 0);
        ck_assert_uint_eq(outcomes->n_delivered_late, 0);
        ck_assert_uint_le(outcomes->n_delivered, *n_taken + 1); /* acknowledged as it is handed over: client_taken_from_inbox() */
        ck_assert_uint_gt(outcomes->n_gone, 0);
        ck_assert_int_eq(outcomes->file, -ENXIO);
        ck_assert(outcomes->call == -ENXIO || outcomes->call == -EPIPE); /* -EPIPE: it may have had the request */
}

static void check_death(const char *address, Life life, uint64_t grace) {
        Outcomes outcomes = { .n = life == LIFE_READS ? N_FEW : N_MANY, .file = 1, .call = 1 };
        DirectClient *client;
        Receiver receiver;
        uint64_t id, begin;

        receiver = fork_receiver(address, life);
        ck_assert_int_eq(direct_client_new(&client), 0);
        ck_assert_int_eq(direct_connect(client, address), 0);
        ck_assert_int_eq(direct_resolve(client, "receiver", PATIENCE, &id), 0);
        send_messages(client, id, &outcomes);
        RUN_UNTIL(client, NULL, outcomes.n_delivered >= N_TAKEN);
        if (life == LIFE_READS)
                read_all(client, &receiver);
        if (life == LIFE_STOPS) {
                send_file(client, id, &outcomes);
                ck_assert_int_eq(direct_call_start(client, id, 3, NULL, 0, DIRECT_FOREVER, on_reply, &outcomes), 0);
                ck_assert_int_ge(direct_process(client), 0);
        } else
                outcomes.file = outcomes.call = -ENXIO;

        begin = kill_receiver(&receiver);
        RUN_UNTIL(client, NULL, is_all_known(&outcomes));
        expect_soon(begin, grace, "to know what became of all");
        reap_receiver(&receiver);
        check_outcomes(&outcomes);
        ck_assert_uint_eq(direct_get_queued(client), 0);
        expect_gone(client, id);
        direct_client_free(client);
}

START_TEST(test_local_takes) {
        check_death(service.local_address, LIFE_TAKES, 0);
}
END_TEST

START_TEST(test_local_stops) {
        check_death(service.local_address, LIFE_STOPS, 0);
}
END_TEST

START_TEST(test_local_reads) {
        check_death(service.local_address, LIFE_READS, 0);
}
END_TEST

START_TEST(test_tcp_takes) {
        check_death(service.address, LIFE_TAKES, RESET_GRACE);
}
END_TEST

START_TEST(test_tcp_stops) {
        check_death(service.address, LIFE_STOPS, RESET_GRACE);
}
END_TEST

START_TEST(test_tcp_reads) {
        check_death(service.address, LIFE_READS, 0);
}
END_TEST

TEST_MAIN_FIXTURE("client-receiver-dies", setup, teardown, test_local_takes, test_local_stops, test_local_reads, test_tcp_takes,
                  test_tcp_stops, test_tcp_reads)
