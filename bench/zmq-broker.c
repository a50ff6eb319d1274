/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ZeroMQ is a library and has no server. This is the broker that its guide shows for publishers and subscribers: zmq_proxy()
 * between an XSUB and an XPUB socket, all settings left as they are. Built by unpack-peers.
 *
 *   zmq-broker PUBLISHERS_PORT SUBSCRIBERS_PORT */

#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

static void *listen_on(void *context, int type, const char *port) {
        void *socket = zmq_socket(context, type);
        char address[64];

        snprintf(address, sizeof(address), "tcp://127.0.0.1:%s", port);
        if (!socket || zmq_bind(socket, address) < 0) {
                fprintf(stderr, "zmq-broker: %s: %s\n", address, zmq_strerror(zmq_errno()));
                exit(EXIT_FAILURE);
        }
        return socket;
}

int main(int argc, char **argv) {
        void *context, *publishers, *subscribers;

        if (argc != 3) {
                fprintf(stderr, "usage: %s PUBLISHERS_PORT SUBSCRIBERS_PORT\n", argv[0]);
                return EXIT_FAILURE;
        }
        context = zmq_ctx_new();
        publishers = listen_on(context, ZMQ_XSUB, argv[1]);
        subscribers = listen_on(context, ZMQ_XPUB, argv[2]);
        zmq_proxy(publishers, subscribers, NULL);
        fprintf(stderr, "zmq-broker: %s\n", zmq_strerror(zmq_errno()));
        return EXIT_FAILURE;
}
