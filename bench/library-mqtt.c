/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libmosquitto with QoS 0, in one thread and with a loop of its own, which is what costs it least: mosquitto_loop() would wait
 * before each single message that it reads, and a thread of the library (mosquitto_loop_start()) would be woken for each that
 * is sent. */

#include <errno.h>
#include <mosquitto.h>
#include <poll.h>
#include <stdio.h>

#include "bench/library-program.h"

enum {
        KEEPALIVE_SEC = 3600, /* nothing between the messages that are counted */
        LOOP_MS = 1000,
};

static const char topic[] = "bench/1";

static struct mosquitto *connection;
static bool is_ready, has_come;

static const char *get_version(void) {
        static char version[32];
        int major, minor, revision;

        mosquitto_lib_version(&major, &minor, &revision);
        snprintf(version, sizeof(version), "libmosquitto %d.%d.%d", major, minor, revision);
        return version;
}

static int check(int status) {
        if (status == MOSQ_ERR_SUCCESS)
                return 0;
        fprintf(stderr, "library-mqtt: %s\n", mosquitto_strerror(status));
        return -EIO;
}

static void on_connect(struct mosquitto *m, void *userdata, int code) {
        is_ready = code == 0;
}

static void on_subscribe(struct mosquitto *m, void *userdata, int id, int n, const int *granted) {
        is_ready = true;
}

static void on_message(struct mosquitto *m, void *userdata, const struct mosquitto_message *message) {
        has_come = true;
        program_take(message->payload, (size_t) message->payloadlen);
}

static int wait_ready(void) {
        int r = 0;

        while (r >= 0 && !is_ready)
                r = check(mosquitto_loop(connection, LOOP_MS, 1));
        return r;
}

static int open_sender(const Place *place) {
        int r;

        mosquitto_lib_init();
        connection = mosquitto_new(NULL, true, NULL);
        if (!connection)
                return -ENOMEM;
        mosquitto_connect_callback_set(connection, on_connect);
        mosquitto_subscribe_callback_set(connection, on_subscribe);
        mosquitto_message_callback_set(connection, on_message);
        r = check(mosquitto_int_option(connection, MOSQ_OPT_TCP_NODELAY, 1));
        if (r >= 0)
                r = check(mosquitto_connect(connection, "127.0.0.1", (int) place->port, KEEPALIVE_SEC));
        return r < 0 ? r : wait_ready();
}

static int open_receiver(const Place *place) {
        int r = open_sender(place);

        is_ready = false;
        if (r >= 0)
                r = check(mosquitto_subscribe(connection, NULL, topic, 0));
        return r < 0 ? r : wait_ready();
}

/* What the socket does not take is kept and written later. */
static int flush(void) {
        int r = 0;

        while (r >= 0 && mosquitto_want_write(connection))
                r = check(mosquitto_loop(connection, LOOP_MS, 1));
        return r;
}

static int send_message(const void *data, size_t size) {
        int r = check(mosquitto_publish(connection, NULL, topic, (int) size, data, 0, false));

        return r < 0 ? r : flush();
}

/* A call of mosquitto_loop_read() reads one message, or a part of one. */
static int receive(unsigned timeout_ms) {
        struct pollfd pollfd = { .fd = mosquitto_socket(connection), .events = POLLIN };

        for (;;) {
                int r;

                has_come = false;
                r = check(mosquitto_loop_read(connection, 1));
                if (r < 0 || has_come || poll(&pollfd, 1, (int) timeout_ms) <= 0)
                        return r;
        }
}

int main(int argc, char **argv) {
        static const Library library = {
                .get_version = get_version,
                .window = 100, /* Mosquitto drops from 1,000 on */
                .open_receiver = open_receiver,
                .open_sender = open_sender,
                .send = send_message,
                .flush = flush,
                .receive = receive,
        };

        return program_main(argc, argv, &library);
}
