/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The worker: keeps the B of the latest job, and answers calls for blocks of it, until it is ended. It has nothing else to
 * wait for, so it needs no handlers: it asks for one message after the other. */

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "matmul.h"

#define MESSAGE_MAX (UINT64_C(8) << 30) /* B arrives as one message, so that is the limit of this example */

typedef struct Worker {
        DirectMessage *b; /* the message is the memory in which the matrix lives */
        Head head;
} Worker;

static int keep_b(DirectClient *client, Worker *worker, DirectMessage *message) {
        size_t size = direct_message_get_size(message);
        Head head = {};

        if (size >= sizeof(head))
                memcpy(&head, direct_message_get_data(message), sizeof(head));
        if (size < sizeof(head) || size - sizeof(head) != (size_t) head.size * head.size * sizeof(double)) {
                direct_message_free(message);
                return 0;
        }
        direct_message_free(worker->b);
        worker->b = message;
        worker->head = head;
        return direct_send(client, direct_message_get_source(message), KIND_READY, &head, sizeof(head));
}

static int compute(DirectClient *client, const Worker *worker, DirectMessage *request) {
        size_t size = direct_message_get_size(request), n_bytes;
        const uint8_t *data = direct_message_get_data(request), *b;
        double *numbers;
        Head head;
        int r;

        if (size < sizeof(head))
                return direct_reply_error(client, request, EINVAL, "this is no block");
        memcpy(&head, data, sizeof(head));
        if (!worker->b || head.job != worker->head.job)
                return direct_reply_error(client, request, ENOENT, "this worker does not have that matrix");
        n_bytes = (size_t) head.n_rows * head.size * sizeof(double);
        if (head.size != worker->head.size || size - sizeof(head) != n_bytes)
                return direct_reply_error(client, request, EINVAL, "the block does not fit the matrix");

        b = direct_message_get_data(worker->b);
        numbers = malloc(n_bytes);
        if (!numbers)
                return direct_reply_error(client, request, ENOMEM, NULL);
        multiply((const double *) (data + sizeof(head)), (const double *) (b + sizeof(head)), numbers, head.n_rows, head.size);
        r = direct_reply(client, request, numbers, n_bytes);
        free(numbers);
        return r;
}

/* Takes the message over. */
static int answer(DirectClient *client, Worker *worker, DirectMessage *message) {
        int r = 0;

        if (direct_message_get_kind(message) == KIND_B && direct_message_get_stream(message) == 0)
                return keep_b(client, worker, message);
        if (direct_message_get_kind(message) == KIND_BLOCK && direct_message_is_request(message))
                r = compute(client, worker, message);
        direct_message_free(message);
        return r;
}

int run_worker(const char *server) {
        char name[DIRECT_NAME_MAX + 1], host[32] = "";
        Worker worker = {};
        DirectClient *client;

        gethostname(host, sizeof(host) - 1);
        snprintf(name, sizeof(name), WORKER_PREFIX "%s-%ld", host, (long) getpid());

        client = client_new_or_fail(name, MESSAGE_MAX);
        direct_set_send_timeout(client, DIRECT_FOREVER); /* a reply waits until the one before it is on its way */
        connect_or_fail(client, server);
        for (;;) {
                DirectMessage *message;
                int r;

                /* This waits through reconnections as well */
                r = direct_receive(client, DIRECT_FOREVER, &message);
                if (r < 0)
                        fail(client, r, "the connection to the service has ended");
                r = answer(client, &worker, message);
                if (r < 0 && r != -ENOTCONN && r != -ECONNRESET) /* not connected just now: the coordinator knows */
                        fail(client, r, "cannot answer the coordinator");
        }
}
