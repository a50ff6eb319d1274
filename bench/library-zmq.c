/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libzmq as its own perf/remote_thr and local_thr use it: zmq_msg_init_size(), fill, send; one thread for I/O, all settings left
 * as they are. Through its usual broker (zmq-broker.c), because all others have a server between them as well. A message begins
 * with its topic. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "bench/library-program.h"

static const char topic[] = "bench.1";

enum { TOPIC_SIZE = sizeof(topic) - 1 };

static void *connection;

static const char *get_version(void) {
        static char version[32];
        int major, minor, patch;

        zmq_version(&major, &minor, &patch);
        snprintf(version, sizeof(version), "libzmq %d.%d.%d", major, minor, patch);
        return version;
}

static int complain(void) {
        fprintf(stderr, "library-zmq: %s\n", zmq_strerror(zmq_errno()));
        return -EIO;
}

static int open_as(int type, unsigned port) {
        char address[32];

        snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", port);
        connection = zmq_socket(zmq_ctx_new(), type);
        return connection && zmq_connect(connection, address) >= 0 ? 0 : complain();
}

static int open_receiver(const Place *place) {
        int r = open_as(ZMQ_SUB, place->receive_port);

        return r < 0 || zmq_setsockopt(connection, ZMQ_SUBSCRIBE, topic, TOPIC_SIZE) >= 0 ? r : complain();
}

/* An XPUB socket is a PUB socket that can be asked what somebody wants, so it is known when the receiver is there, and told not
 * to drop what is too fast. */
static int open_sender(const Place *place) {
        char wanted[1 + TOPIC_SIZE];
        int r = open_as(ZMQ_XPUB, place->port), on = 1;

        if (r >= 0 && zmq_setsockopt(connection, ZMQ_XPUB_NODROP, &on, sizeof(on)) < 0)
                return complain();
        return r < 0 || zmq_recv(connection, wanted, sizeof(wanted), 0) >= 0 ? r : complain();
}

static int send_message(const void *data, size_t size) {
        zmq_msg_t message;

        if (zmq_msg_init_size(&message, TOPIC_SIZE + size) < 0)
                return complain();
        memcpy(zmq_msg_data(&message), topic, TOPIC_SIZE);
        memcpy((char *) zmq_msg_data(&message) + TOPIC_SIZE, data, size);
        return zmq_msg_send(&message, connection, 0) < 0 ? complain() : 0;
}

static int flush(void) {
        return 0; /* its own thread sees to that */
}

static int receive(unsigned timeout_ms) {
        static zmq_msg_t message;
        static int timeout;

        if (timeout == 0) {
                timeout = (int) timeout_ms;
                zmq_msg_init(&message);
                zmq_setsockopt(connection, ZMQ_RCVTIMEO, &timeout, sizeof(timeout));
        }
        if (zmq_msg_recv(&message, connection, 0) < 0)
                return zmq_errno() == EAGAIN ? 0 : complain();
        program_take((const char *) zmq_msg_data(&message) + TOPIC_SIZE, zmq_msg_size(&message) - TOPIC_SIZE);
        return 0;
}

int main(int argc, char **argv) {
        static const Library library = {
                .get_version = get_version,
                .window = 400, /* the broker drops from 1,000 on, and learns by halves of that what was taken */
                .open_receiver = open_receiver,
                .open_sender = open_sender,
                .send = send_message,
                .flush = flush,
                .receive = receive,
        };

        return program_main(argc, argv, &library);
}
