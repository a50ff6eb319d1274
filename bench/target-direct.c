/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* DirectServer, as its own protocol/ puts it. Messages are unreliable frames: acknowledgements are made by client libraries,
 * which are not measured here. The two relays get the same bytes, but for the numbers in them, and change none. */

#include <errno.h>
#include <string.h>

#include "bench/target.h"
#include "protocol/loopback.h"
#include "protocol/wire.h"

static int open_connection(Client *c, const Server *server) {
        int r;

        r = target_connect_with(server->port, LOOPBACK_CONGESTION, &c->fd);
        c->receive_fd = c->fd;
        return r;
}

/* A relay says with a byte that it has seen who connects; what came before would not be passed on to all. */
static int open_relay(Client *c, const Server *server) {
        uint8_t greeting;
        int r;

        r = open_connection(c, server);
        return r < 0 ? r : target_receive(c->fd, &greeting, sizeof(greeting));
}

static int say_hello(Client *c) {
        uint8_t frame[WIRE_HELLO_FRAME_MAX];
        WireHello hello = { .magic = WIRE_MAGIC, .version_min = WIRE_VERSION, .version_max = WIRE_VERSION };
        WireHeader header = { .type = WIRE_HELLO };
        WireWelcome welcome;
        int r;

        r = wire_hello_store(&hello, frame + WIRE_HEADER_SIZE, sizeof(frame) - WIRE_HEADER_SIZE);
        if (r < 0)
                return r;
        header.length = (uint32_t) r;
        wire_header_store(frame, &header);
        r = target_send(c->fd, frame, WIRE_HEADER_SIZE + header.length);
        if (r >= 0)
                r = target_receive(c->fd, frame, WIRE_HEADER_SIZE);
        if (r < 0)
                return r;
        wire_header_load(frame, &header);
        if (header.type != WIRE_WELCOME || header.length > sizeof(frame))
                return -EPROTO;
        r = target_receive(c->fd, frame, header.length);
        if (r >= 0)
                r = wire_welcome_parse(frame, header.length, &welcome);
        if (r >= 0)
                c->id = welcome.id;
        return r;
}

static int open_direct(Client *c, const Server *server) {
        int r;

        r = open_connection(c, server);
        return r < 0 ? r : say_hello(c);
}

/* Who has said HELLO gets what is for it. */
static int subscribe(Client *c, TargetSubject subject) {
        return 0;
}

/* What does not fit into a frame is cut; the first then says the size of all. */
static void put(Out *o, uint64_t source, const Client *to, size_t size) {
        bool cut = size > WIRE_PAYLOAD_MAX;
        size_t prefix = cut ? 8 : 0, offset = 0;

        do {
                size_t n = size - offset < WIRE_PAYLOAD_MAX - prefix ? size - offset : WIRE_PAYLOAD_MAX - prefix;
                uint8_t bytes[WIRE_HEADER_SIZE];
                WireHeader header = {
                        .length = (uint32_t) (prefix + n),
                        .type = WIRE_DATA,
                        .flags = (uint8_t) ((offset == 0 ? WIRE_FIRST : 0) | (offset + n == size ? WIRE_LAST : 0)),
                        .source = source,
                        .target = to ? to->id : WIRE_TARGET_BROADCAST,
                };

                wire_header_store(bytes, &header);
                out_bytes(o, bytes, sizeof(bytes));
                for (size_t i = 0; i < prefix; i++)
                        out_u8(o, (uint8_t) (size >> (8 * i)));
                out_payload(o, offset, n);
                offset += n;
                prefix = 0;
        } while (offset < size);
}

static void put_sent(Out *o, const Client *from, const Client *to, size_t size) {
        put(o, 0, to, size);
}

static void put_delivered(Out *o, const Client *from, const Client *to, size_t size) {
        put(o, from->id, to, size);
}

const Target target_direct = {
        .name = "direct",
        .polls = true,
        .open = open_direct,
        .subscribe = subscribe,
        .put_sent = put_sent,
        .put_delivered = put_delivered,
};

const Target target_relay = {
        .name = "relay",
        .polls = true,
        .open = open_relay,
        .subscribe = subscribe,
        .put_sent = put_sent,
        .put_delivered = put_sent,
};

const Target target_splice = {
        .name = "splice",
        .open = open_relay,
        .subscribe = subscribe,
        .put_sent = put_sent,
        .put_delivered = put_sent,
};
