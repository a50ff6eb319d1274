/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One end of an exchange by means of the library, whose system calls test_calls.py counts: those between the two lines that it
 * writes.
 *
 *     calls-client ROLE ADDRESS N SIZE
 *
 * ROLE is `send` or `receive`, N messages one way; or `call` or `answer`. The receivers have the name "receiver". */

#include <directclient.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char data[1024 * 1024];

typedef struct Exchange {
        DirectClient *client;
        uint64_t target; /* of those who begin */
        size_t n, size;
} Exchange;

static int send_all(const Exchange *e) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < e->n; i++)
                r = direct_send(e->client, e->target, 0, data, e->size);
        return r < 0 ? r : direct_flush(e->client, DIRECT_FOREVER);
}

static int call_all(const Exchange *e) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < e->n; i++) {
                DirectMessage *reply = NULL;

                r = direct_call(e->client, e->target, 0, data, e->size, DIRECT_FOREVER, &reply);
                direct_message_free(reply);
        }
        return r;
}

static int receive_all(const Exchange *e) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < e->n; i++) {
                DirectMessage *message = NULL;

                r = direct_receive(e->client, DIRECT_FOREVER, &message);
                if (r >= 0 && direct_message_is_request(message))
                        r = direct_reply(e->client, message, data, e->size);
                direct_message_free(message);
        }
        return r;
}

static const struct {
        const char *name;
        int (*run)(const Exchange *e);
        bool begins;
} roles[] = {
        { "send", send_all, true },
        { "receive", receive_all, false },
        { "call", call_all, true },
        { "answer", receive_all, false },
};

static int run(char **argv, Exchange *e) {
        size_t i = 0;
        int r;

        while (i < sizeof(roles) / sizeof(roles[0]) && strcmp(roles[i].name, argv[1]) != 0)
                i++;
        if (i == sizeof(roles) / sizeof(roles[0]) || e->size > sizeof(data))
                return -EINVAL;
        r = direct_client_new(&e->client);
        if (r >= 0)
                r = direct_set_send_timeout(e->client, DIRECT_FOREVER);
        if (r >= 0 && !roles[i].begins)
                r = direct_set_name(e->client, "receiver");
        if (r >= 0)
                r = direct_connect(e->client, argv[2]);
        if (r >= 0 && roles[i].begins)
                r = direct_resolve(e->client, "receiver", DIRECT_FOREVER, &e->target);
        if (r >= 0 && write(STDOUT_FILENO, "begin\n", 6) == 6)
                r = roles[i].run(e);
        if (r >= 0 && write(STDOUT_FILENO, "end\n", 4) == 4)
                r = direct_flush(e->client, DIRECT_FOREVER);
        return r;
}

int main(int argc, char **argv) {
        Exchange e = {};
        int r = -EINVAL;

        if (argc == 5) {
                e.n = strtoull(argv[3], NULL, 10);
                e.size = strtoull(argv[4], NULL, 10);
                r = run(argv, &e);
        }
        if (r < 0)
                fprintf(stderr, "calls-client: %s %s\n", strerror(-r), direct_get_error(e.client));
        direct_client_free(e.client);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
