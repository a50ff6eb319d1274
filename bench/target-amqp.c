/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* AMQP 0-9-1: each receiver has an exclusive queue and consumes without acknowledging, which is what RabbitMQ does best. To one
 * receiver through the default exchange, to all through a fanout exchange. */

#include <errno.h>
#include <string.h>

#include "bench/target.h"

enum {
        FRAME_MAX = 131072, /* as the server proposes */
        FRAME_OVERHEAD = 8,
        FRAME_METHOD = 1,
        FRAME_HEADER = 2,
        FRAME_BODY = 3,
        FRAME_END = 0xce,
        METHOD_MAX = 256,
};

typedef enum Method {
        CONNECTION_START = 10 << 16 | 10,
        CONNECTION_START_OK = 10 << 16 | 11,
        CONNECTION_TUNE = 10 << 16 | 30,
        CONNECTION_TUNE_OK = 10 << 16 | 31,
        CONNECTION_OPEN = 10 << 16 | 40,
        CHANNEL_OPEN = 20 << 16 | 10,
        EXCHANGE_DECLARE = 40 << 16 | 10,
        QUEUE_DECLARE = 50 << 16 | 10,
        QUEUE_BIND = 50 << 16 | 20,
        BASIC_CONSUME = 60 << 16 | 20,
        BASIC_PUBLISH = 60 << 16 | 40,
        BASIC_DELIVER = 60 << 16 | 60,
} Method;

static void put_short(Out *o, const char *string) {
        out_u8(o, (uint8_t) strlen(string));
        out_bytes(o, string, strlen(string));
}

static void put_frame_head(Out *o, int type, unsigned channel, size_t size) {
        out_u8(o, (uint8_t) type);
        out_be(o, 2, channel);
        out_be(o, 4, size);
}

static void put_method(Out *o, unsigned channel, Method method, const Out *arguments) {
        put_frame_head(o, FRAME_METHOD, channel, 4 + arguments->size);
        out_be(o, 4, method);
        out_bytes(o, arguments->data, arguments->size);
        out_u8(o, FRAME_END);
}

/* Reads methods until that one; all are small, or else none of ours. */
static int wait_method(Client *c, Method method) {
        uint8_t data[4096];
        uint32_t size, found;
        int r;

        do {
                r = target_receive(c->fd, data, 7);
                if (r < 0)
                        return r;
                size = (uint32_t) data[3] << 24 | (uint32_t) data[4] << 16 | (uint32_t) data[5] << 8 | data[6];
                if (data[0] != FRAME_METHOD || size < 4 || size + 1 > sizeof(data))
                        return -EPROTO;
                r = target_receive(c->fd, data, size + 1);
                if (r < 0)
                        return r;
                found = (uint32_t) data[0] << 24 | (uint32_t) data[1] << 16 | (uint32_t) data[2] << 8 | data[3];
        } while (found != (uint32_t) method);
        return 0;
}

/* The answer to each method has the next number. */
static int call(Client *c, unsigned channel, Method method, const Out *arguments) {
        uint8_t data[METHOD_MAX];
        Out o = { .data = data };
        int r;

        put_method(&o, channel, method, arguments);
        r = target_send(c->fd, o.data, o.size);
        return r < 0 ? r : wait_method(c, (Method) (method + 1));
}

static int log_in(Client *c) {
        uint8_t data[METHOD_MAX], buffer[METHOD_MAX];
        Out o = { .data = data }, a = { .data = buffer };
        int r;

        out_be(&a, 4, 0); /* no properties */
        put_short(&a, "PLAIN");
        out_be(&a, 4, 12);
        out_bytes(&a, "\0guest\0guest", 12);
        put_short(&a, "en_US");
        put_method(&o, 0, CONNECTION_START_OK, &a);
        r = target_send(c->fd, o.data, o.size);
        if (r >= 0)
                r = wait_method(c, CONNECTION_TUNE);
        if (r < 0)
                return r;
        o.size = a.size = 0;
        out_be(&a, 2, 2047);
        out_be(&a, 4, FRAME_MAX);
        out_be(&a, 2, 0); /* no heartbeats */
        put_method(&o, 0, CONNECTION_TUNE_OK, &a);
        r = target_send(c->fd, o.data, o.size);
        if (r < 0)
                return r;
        a.size = 0;
        put_short(&a, "/");
        put_short(&a, "");
        out_u8(&a, 0);
        return call(c, 0, CONNECTION_OPEN, &a);
}

static int open_amqp(Client *c, const Server *server) {
        uint8_t buffer[METHOD_MAX];
        Out a = { .data = buffer };
        int r;

        r = target_connect(server->port, &c->fd);
        if (r < 0)
                return r;
        c->receive_fd = c->fd;
        r = target_send(c->fd, "AMQP\0\0\011\001", 8);
        if (r >= 0)
                r = wait_method(c, CONNECTION_START);
        if (r >= 0)
                r = log_in(c);
        if (r < 0)
                return r;
        put_short(&a, "");
        return call(c, 1, CHANNEL_OPEN, &a);
}

static int join_fanout(Client *c, const char *queue, const char *exchange) {
        uint8_t buffer[METHOD_MAX];
        Out a = { .data = buffer };
        int r;

        out_be(&a, 2, 0);
        put_short(&a, exchange);
        put_short(&a, "fanout");
        out_u8(&a, 4); /* goes with the last queue */
        out_be(&a, 4, 0);
        r = call(c, 1, EXCHANGE_DECLARE, &a);
        if (r < 0)
                return r;
        a.size = 0;
        out_be(&a, 2, 0);
        put_short(&a, queue);
        put_short(&a, exchange);
        put_short(&a, "");
        out_u8(&a, 0);
        out_be(&a, 4, 0);
        return call(c, 1, QUEUE_BIND, &a);
}

static int subscribe(Client *c, TargetSubject subject) {
        uint8_t buffer[METHOD_MAX];
        Out a = { .data = buffer };
        char queue[TARGET_NAME_SIZE + 1], exchange[TARGET_NAME_SIZE + 1];
        int r;

        target_name(queue, c);
        target_name(exchange, NULL);
        out_be(&a, 2, 0);
        put_short(&a, queue);
        out_u8(&a, 4 | 8); /* exclusive, goes with its consumer */
        out_be(&a, 4, 0);
        r = call(c, 1, QUEUE_DECLARE, &a);
        if (r >= 0 && subject == TARGET_ALL)
                r = join_fanout(c, queue, exchange);
        if (r < 0)
                return r;
        a.size = 0;
        out_be(&a, 2, 0);
        put_short(&a, queue);
        put_short(&a, "1");
        out_u8(&a, 2); /* not acknowledged */
        out_be(&a, 4, 0);
        return call(c, 1, BASIC_CONSUME, &a);
}

static void put_content(Out *o, size_t size) {
        put_frame_head(o, FRAME_HEADER, 1, 14);
        out_be(o, 2, 60);
        out_be(o, 2, 0);
        out_be(o, 8, size);
        out_be(o, 2, 0); /* no properties */
        out_u8(o, FRAME_END);
        for (size_t offset = 0, n; offset < size; offset += n) {
                n = size - offset < FRAME_MAX - FRAME_OVERHEAD ? size - offset : FRAME_MAX - FRAME_OVERHEAD;
                put_frame_head(o, FRAME_BODY, 1, n);
                out_payload(o, offset, n);
                out_u8(o, FRAME_END);
        }
}

static void put_destination(Out *a, const Client *to) {
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, to);
        put_short(a, to ? "" : name);
        put_short(a, to ? name : "");
}

static void put_sent(Out *o, const Client *from, const Client *to, size_t size) {
        uint8_t buffer[METHOD_MAX];
        Out a = { .data = buffer };

        out_be(&a, 2, 0);
        put_destination(&a, to);
        out_u8(&a, 0);
        put_method(o, 1, BASIC_PUBLISH, &a);
        put_content(o, size);
}

static void put_delivered(Out *o, const Client *from, const Client *to, size_t size) {
        uint8_t buffer[METHOD_MAX];
        Out a = { .data = buffer };

        put_short(&a, "1");
        out_be(&a, 8, 1); /* the first one */
        out_u8(&a, 0);
        put_destination(&a, to);
        put_method(o, 1, BASIC_DELIVER, &a);
        put_content(o, size);
}

const Target target_amqp = {
        .name = "rabbitmq",
        .in_flight_max = 100, /* with more a message costs the same, and a round takes long */
        .in_flight_total = 20000,
        .idle_max = 1000, /* it takes 10 ms for each that comes */
        .message_max = 128 * 1024 * 1024, /* max_message_size */
        .open = open_amqp,
        .subscribe = subscribe,
        .put_sent = put_sent,
        .put_delivered = put_delivered,
};
