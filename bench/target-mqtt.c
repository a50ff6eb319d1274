/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* MQTT 3.1.1 at QoS 0, which is what Mosquitto does best. A message arrives as it was sent. */

#include <string.h>

#include "bench/target.h"

static void put_length(Out *o, size_t length) {
        do {
                out_u8(o, (uint8_t) ((length & 0x7f) | (length > 0x7f ? 0x80 : 0)));
                length >>= 7;
        } while (length > 0);
}

static void put_string(Out *o, const char *string) {
        size_t n = strlen(string);

        out_be(o, 2, n);
        out_bytes(o, string, n);
}

static int open_mqtt(Client *c, const Server *server) {
        static const uint8_t accepted[] = { 0x20, 2, 0, 0 };
        uint8_t data[64];
        Out o = { .data = data };
        char name[TARGET_NAME_SIZE + 1];
        int r;

        r = target_connect(server->port, &c->fd);
        if (r < 0)
                return r;
        c->receive_fd = c->fd;
        target_name(name, c);
        out_u8(&o, 0x10);
        put_length(&o, 10 + 2 + TARGET_NAME_SIZE);
        put_string(&o, "MQTT");
        out_u8(&o, 4);    /* of 3.1.1 */
        out_u8(&o, 2);    /* a clean session */
        out_be(&o, 2, 0); /* nothing to keep alive */
        put_string(&o, name);
        return target_exchange(c->fd, &o, accepted, sizeof(accepted));
}

static int subscribe(Client *c, TargetSubject subject) {
        static const uint8_t granted[] = { 0x90, 3, 0, 1, 0 };
        uint8_t data[64];
        Out o = { .data = data };
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, subject == TARGET_ALL ? NULL : c);
        out_u8(&o, 0x82);
        put_length(&o, 2 + 2 + TARGET_NAME_SIZE + 1);
        out_be(&o, 2, 1);
        put_string(&o, name);
        out_u8(&o, 0);
        return target_exchange(c->fd, &o, granted, sizeof(granted));
}

static void put(Out *o, const Client *from, const Client *to, size_t size) {
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, to);
        out_u8(o, 0x30);
        put_length(o, 2 + TARGET_NAME_SIZE + size);
        put_string(o, name);
        out_payload(o, 0, size);
}

const Target target_mqtt = {
        .name = "mosquitto",
        .in_flight_max = 100, /* max_queued_messages is 1,000; with so many a message costs the same, and a round takes long */
        .in_flight_total = 20000,
        .drops = true,
        .message_max = 255 * 1024 * 1024, /* a packet is smaller than 256 MiB, and the topic is in it */
        .open = open_mqtt,
        .subscribe = subscribe,
        .put_sent = put,
        .put_delivered = put,
};
