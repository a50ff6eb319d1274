/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Drives a handle of the library by hand: a service in the same process gives it batches of reliable messages, or takes and
 * acknowledges those that it sends. Under callgrind, that gives the instructions per message at the program's end, with malloc()
 * and free(), without the kernel. */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/client/fake.h"
#include "tests/unit/run-tests.h"
#include "tests/unit/temp-directory.h"

enum {
        TURNS = 200,
        BATCH_MAX = 128 * 1024, /* what the socket takes without a reader */
        PEER = 2,
        PATIENCE_MS = 20 * 1000,
};

typedef struct Program {
        Fake fake;
        DirectClient *client;
        bool receives;
        size_t size, n_messages; /* of one turn */
        uint64_t sequence;
        size_t n_taken;
        uint8_t *batch;
        size_t n_batch;
} Program;

static Program program;

static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        Program *p = userdata;

        p->n_taken++;
        direct_message_free(message);
}

/* Both are what callgrind counts; see --toggle-collect= below. What libcheck does for an assertion would count as well. */
int client_receives(Program *p);
__attribute__((noinline)) int client_receives(Program *p) {
        size_t end = p->n_taken + p->n_messages;
        int r = 0;

        while (r >= 0 && p->n_taken < end)
                r = direct_process(p->client);
        return r;
}

int client_sends(Program *p);
__attribute__((noinline)) int client_sends(Program *p) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < p->n_messages; i++)
                r = direct_send(p->client, PEER, 0, p->batch, p->size);
        return r < 0 ? r : direct_process(p->client);
}

/* The service's side */

static void give_batch(Program *p) {
        for (size_t i = 0; i < p->n_messages; i++)
                wire_header_store(p->batch + i * (WIRE_HEADER_SIZE + p->size),
                                  &(WireHeader) { .length = (uint32_t) p->size,
                                                  .type = WIRE_DATA,
                                                  .flags = WIRE_FIRST | WIRE_LAST | WIRE_RELIABLE,
                                                  .source = PEER,
                                                  .target = 1,
                                                  .sequence = ++p->sequence });
        fake_send_bytes(&p->fake, p->batch, p->n_batch);
}

static void forget_output(Program *p) {
        while (recv(p->fake.fd, p->fake.in, sizeof(p->fake.in), MSG_DONTWAIT) > 0)
                ;
}

static void take_batch(Program *p) {
        struct pollfd pollfd = { .fd = p->fake.fd, .events = POLLIN };
        FakeFrame last = { .header = { .target = PEER } };

        for (size_t taken = 0; taken < p->n_batch;) {
                ssize_t n = recv(p->fake.fd, p->fake.in, sizeof(p->fake.in), MSG_DONTWAIT);

                if (n <= 0) {
                        ck_assert_int_ge(direct_process(p->client), 0);
                        ck_assert_msg(poll(&pollfd, 1, PATIENCE_MS) > 0, "what was sent does not come");
                } else
                        taken += (size_t) n;
        }
        p->sequence += p->n_messages;
        last.header.sequence = p->sequence;
        fake_ack(&p->fake, &last);
}

/* The first message each way, with the question whether the other is there. */
static void begin(Program *p) {
        FakeFrame frame;

        if (p->receives) {
                fake_send_reliable(&p->fake, PEER, WIRE_FIRST | WIRE_LAST, 0, ++p->sequence, p->batch, p->size);
                fake_expect_watch(&p->fake, p->client, PEER, &frame);
                fake_answer_watch(&p->fake, &frame, WIRE_STATE_ALIVE);
        } else {
                ck_assert_int_eq(direct_send(p->client, PEER, 0, p->batch, p->size), 0);
                fake_expect_data(&p->fake, p->client, &frame);
                p->sequence = frame.header.sequence;
                fake_ack(&p->fake, &frame);
        }
        fake_settle(p->client);
        forget_output(p);
}

static void run(Program *p) {
        begin(p);
        for (unsigned i = 0; i < TURNS; i++)
                if (p->receives) {
                        give_batch(p);
                        ck_assert_int_ge(client_receives(p), 0);
                        forget_output(p);
                } else {
                        ck_assert_int_ge(client_sends(p), 0);
                        take_batch(p);
                }
        printf("%zu messages\n", TURNS * p->n_messages);
}

START_TEST(count) {
        Program *p = &program;

        p->batch = calloc(1, p->n_batch);
        ck_assert_ptr_nonnull(p->batch);
        fake_init_local(&p->fake, temp_path("socket"));
        ck_assert_int_eq(direct_client_new(&p->client), 0);
        ck_assert_int_eq(direct_set_message_handler(p->client, on_message, p), 0);
        fake_connect(&p->fake, p->client);
        run(p);
        direct_client_free(p->client);
        fake_deinit(&p->fake);
        free(p->batch);
}
END_TEST

int main(int argc, char **argv) {
        const TTest *tests[] = { count };
        Program *p = &program;

        if (argc != 4 || (strcmp(argv[1], "receive") != 0 && strcmp(argv[1], "send") != 0)) {
                fprintf(stderr,
                        "usage: %s receive|send PAYLOAD-BYTES MESSAGES-PER-TURN\n"
                        "\n"
                        "To count the instructions per message, divide what\n"
                        "  valgrind --tool=callgrind --callgrind-out-file=client.out \\\n"
                        "    --toggle-collect=client_receives %s receive 128 500\n"
                        "(or client_sends and send) says that it has collected by the number of messages that is printed.\n"
                        "Where they go: callgrind_annotate client.out\n",
                        argv[0], argv[0]);
                return EXIT_FAILURE;
        }
        p->receives = strcmp(argv[1], "receive") == 0;
        p->size = strtoul(argv[2], NULL, 10);
        p->n_messages = strtoul(argv[3], NULL, 10);
        p->n_batch = p->n_messages * (WIRE_HEADER_SIZE + p->size);
        if (p->n_batch < 1 || p->n_batch > BATCH_MAX || p->size > WIRE_PAYLOAD_MAX) {
                fprintf(stderr, "%s: a turn has 1 to %d bytes, headers included.\n", argv[0], BATCH_MAX);
                return EXIT_FAILURE;
        }
        setenv("CK_FORK", "no", 1); /* callgrind counts in one process */
        return run_tests("client-instructions", temp_directory_make, temp_directory_remove, tests, 1);
}
