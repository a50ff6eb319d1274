/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A program of somebody else, C and C++ alike, that knows what is installed and nothing of this tree: sends itself a message. */

#include <directclient.h>
#include <stdio.h>
#include <string.h>

#define TIMEOUT_USEC 10000000

static const char text[] = "hello";

int main(void) {
        DirectClient *client = NULL;
        DirectMessage *message = NULL;
        int r;

        r = direct_client_new(&client);
        if (r >= 0)
                r = direct_set_name(client, "consumer");
        if (r >= 0)
                r = direct_connect(client, NULL);
        if (r >= 0)
                r = direct_send(client, direct_get_id(client), 0, text, sizeof(text));
        if (r >= 0)
                r = direct_receive(client, TIMEOUT_USEC, &message);
        if (r < 0 || direct_message_get_size(message) != sizeof(text) ||
            memcmp(direct_message_get_data(message), text, sizeof(text))) {
                fprintf(stderr, "%s: %s\n", direct_get_error(client), strerror(-r));
                return 1;
        }
        printf("%s from %s\n", (const char *) direct_message_get_data(message), direct_get_name(client));
        direct_message_free(message);
        direct_client_free(client);
        return 0;
}
