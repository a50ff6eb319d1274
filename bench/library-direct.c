/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* libdirectclient: calls that wait, and a handler for what comes; or, as "receive", direct_receive() for each message. How much
 * may be on its way is its own affair; a message is done when it is delivered, which direct_flush() waits for. Over TCP, as all
 * others. */

#include <directclient.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/library-program.h"

static DirectClient *client;
static uint64_t receiver;
static bool is_unreliable, has_handler, has_come;

static const char *get_version(void) {
        return "libdirectclient";
}

static int complain(int r) {
        fprintf(stderr, "library-direct: %s\n", *direct_get_error(client) ? direct_get_error(client) : strerror(-r));
        return r;
}

/* Sender and receiver have one parent, and others of this program may run beside it. */
static void get_name(const char *role, char ret_name[static DIRECT_NAME_MAX + 1]) {
        snprintf(ret_name, DIRECT_NAME_MAX + 1, "%s-%d", role, (int) getppid());
}

static int open_as(const Place *place, const char *role) {
        char address[32], name[DIRECT_NAME_MAX + 1];
        int r;

        snprintf(address, sizeof(address), "127.0.0.1:%u", place->port);
        get_name(role, name);
        r = direct_client_new(&client);
        if (r >= 0)
                r = direct_set_name(client, name);
        if (r >= 0)
                r = direct_set_send_timeout(client, DIRECT_FOREVER);
        return r < 0 ? r : direct_connect(client, address);
}

static void on_message(DirectClient *c, DirectMessage *message, void *userdata) {
        has_come = true;
        program_take(direct_message_get_data(message), direct_message_get_size(message));
        direct_message_free(message);
}

static int open_receiver(const Place *place) {
        int r = open_as(place, "receiver");

        has_handler = strcmp(place->way, "receive") != 0;
        if (r >= 0 && has_handler)
                r = direct_set_message_handler(client, on_message, NULL);
        return r < 0 ? complain(r) : 0;
}

static int open_sender(const Place *place) {
        char name[DIRECT_NAME_MAX + 1];
        int r = open_as(place, "sender");

        is_unreliable = strcmp(place->way, "unreliable") == 0;
        get_name("receiver", name);
        if (r >= 0)
                r = direct_resolve(client, name, DIRECT_FOREVER, &receiver);
        return r < 0 ? complain(r) : 0;
}

static int send_message(const void *data, size_t size) {
        static const DirectSendOptions unreliable = { .flags = DIRECT_SEND_UNRELIABLE };
        int r;

        if (is_unreliable)
                r = direct_send_with(client, receiver, 0, data, size, &unreliable, sizeof(unreliable));
        else
                r = direct_send(client, receiver, 0, data, size);
        return r < 0 ? complain(r) : 0;
}

static int flush(void) {
        int r = direct_flush(client, DIRECT_FOREVER);

        return r < 0 ? complain(r) : 0;
}

static int receive_one(uint64_t timeout_usec) {
        DirectMessage *message;
        int r;

        r = direct_receive(client, timeout_usec, &message);
        if (r < 0)
                return r == -ETIMEDOUT ? 0 : complain(r);
        on_message(client, message, NULL);
        return 0;
}

static int receive_some(uint64_t timeout_usec) {
        static bool has_more;
        int r;

        has_come = false;
        while (!has_come) { /* a turn may bring no message */
                r = has_more ? 1 : direct_wait(client, timeout_usec);
                if (r <= 0)
                        return r < 0 ? complain(r) : 0;
                r = direct_process(client);
                if (r < 0)
                        return complain(r);
                has_more = r > 0;
        }
        return 0;
}

static int receive(unsigned timeout_ms) {
        uint64_t timeout_usec = timeout_ms * UINT64_C(1000);

        return has_handler ? receive_some(timeout_usec) : receive_one(timeout_usec);
}

int main(int argc, char **argv) {
        static const Library library = {
                .get_version = get_version,
                .ways = { "unreliable", "receive" },
                .open_receiver = open_receiver,
                .open_sender = open_sender,
                .send = send_message,
                .flush = flush,
                .receive = receive,
        };

        return program_main(argc, argv, &library);
}
