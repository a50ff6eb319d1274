/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The first program. "hello alice" waits for a message, as alice; "hello bob alice 'How are you?'" sends one to alice, as bob. */

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <directclient.h>

int main(int argc, char **argv) {
        DirectClient *client;
        DirectMessage *message;
        uint64_t id;
        int r;

        if (argc < 2 || direct_client_new(&client) < 0)
                errx(1, "usage: hello MY-NAME [NAME TEXT]");
        if (direct_set_name(client, argv[1]) < 0 || direct_connect(client, NULL) < 0)
                errx(1, "cannot connect: %s", direct_get_error(client));

        if (argc > 3) {
                r = direct_resolve(client, argv[2], DIRECT_FOREVER, &id);
                if (r >= 0)
                        r = direct_send(client, id, 0, argv[3], strlen(argv[3]));
                if (r >= 0)
                        r = direct_flush(client, DIRECT_FOREVER);
                if (r < 0)
                        errx(1, "cannot send to %s: %s", argv[2], r == -ENXIO ? "nobody has that name" : strerror(-r));
        } else {
                if (direct_receive(client, DIRECT_FOREVER, &message) < 0)
                        errx(1, "cannot receive: %s", direct_get_error(client));
                printf("%.*s\n", (int) direct_message_get_size(message), (const char *) direct_message_get_data(message));
                direct_message_free(message);
        }
        direct_client_free(client);
        return 0;
}
