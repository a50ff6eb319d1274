/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The NATS client for C as its examples/publisher and subscriber use it: publish, and flush at the end; a subscription that is
 * asked for the next message. */

#include <errno.h>
#include <nats/nats.h>
#include <stdio.h>

#include "bench/library-program.h"

enum { FLUSH_MS = 10 * 1000 };

static const char subject[] = "bench.1";

static natsConnection *connection;
static natsSubscription *subscription;

static const char *get_version(void) {
        static char version[32];

        snprintf(version, sizeof(version), "libnats %s", nats_GetVersion());
        return version;
}

static int check(natsStatus status) {
        if (status == NATS_OK)
                return 0;
        fprintf(stderr, "library-nats: %s\n", natsStatus_GetText(status));
        return -EIO;
}

static int open_sender(const Place *place) {
        char url[64];

        snprintf(url, sizeof(url), "nats://127.0.0.1:%u", place->port);
        return check(natsConnection_ConnectTo(&connection, url));
}

static int open_receiver(const Place *place) {
        int r = open_sender(place);

        if (r >= 0)
                r = check(natsConnection_SubscribeSync(&subscription, connection, subject));
        return r < 0 ? r : check(natsConnection_FlushTimeout(connection, FLUSH_MS));
}

static int send_message(const void *data, size_t size) {
        return check(natsConnection_Publish(connection, subject, data, (int) size));
}

static int flush(void) {
        return check(natsConnection_FlushTimeout(connection, FLUSH_MS));
}

static int receive(unsigned timeout_ms) {
        natsMsg *message;
        natsStatus status;

        status = natsSubscription_NextMsg(&message, subscription, timeout_ms);
        if (status != NATS_OK)
                return status == NATS_TIMEOUT ? 0 : check(status);
        program_take(natsMsg_GetData(message), (size_t) natsMsg_GetDataLength(message));
        natsMsg_Destroy(message);
        return 0;
}

int main(int argc, char **argv) {
        static const Library library = {
                .get_version = get_version,
                .window = 20000, /* the library drops from 65,536 on */
                .open_receiver = open_receiver,
                .open_sender = open_sender,
                .send = send_message,
                .flush = flush,
                .receive = receive,
        };

        return program_main(argc, argv, &library);
}
