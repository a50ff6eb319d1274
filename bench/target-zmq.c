/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* ZeroMQ through its ordinary broker (zmq-broker.c), in ZMTP 3.0. A message begins with its topic. Who sends and receives has
 * two connections, as it has two sockets with libzmq. A publisher hears of each topic that somebody wants, once: so that all
 * who want the same can be waited for, each wants one of its own as well. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bench/target.h"

enum {
        GREETING_SIZE = 64,
        TOPIC_MESSAGE_SIZE = 2 + 1 + TARGET_NAME_SIZE,
        SHORT_MAX = 255,
};

static void put_greeting(Out *o) {
        static const uint8_t begin[] = { 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0, 'N', 'U', 'L', 'L' };
        static const uint8_t rest[GREETING_SIZE - sizeof(begin)];

        out_bytes(o, begin, sizeof(begin));
        out_bytes(o, rest, sizeof(rest));
}

static void put_ready(Out *o, const char *type) {
        out_u8(o, 4);
        out_u8(o, (uint8_t) (6 + 12 + 4 + strlen(type)));
        out_format(o, "\005READY\013Socket-Type");
        out_be(o, 4, strlen(type));
        out_format(o, "%s", type);
}

static int open_socket(uint16_t port, const char *type, int *ret_fd) {
        uint8_t data[128], ready[2 + SHORT_MAX];
        Out o = { .data = data };
        int fd, r;

        r = target_connect(port, &fd);
        if (r < 0)
                return r;
        put_greeting(&o);
        put_ready(&o, type);
        r = target_send(fd, o.data, o.size);
        if (r >= 0)
                r = target_receive(fd, data, GREETING_SIZE);
        if (r >= 0)
                r = target_receive(fd, ready, 2);
        if (r >= 0 && (data[0] != 0xff || data[10] < 3 || ready[0] != 4))
                r = -EPROTO;
        if (r >= 0)
                r = target_receive(fd, ready + 2, ready[1]);
        if (r < 0) {
                close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

static int open_zmq(Client *c, const Server *server) {
        int r = 0;

        if (c->sends)
                r = open_socket(server->port, "PUB", &c->fd);
        if (r >= 0 && c->receives)
                r = open_socket(server->receive_port, "SUB", &c->receive_fd);
        if (!c->sends)
                c->fd = c->receive_fd;
        if (!c->receives)
                c->receive_fd = c->fd;
        return r;
}

static int ask_for(Client *c, const Client *topic) {
        uint8_t data[TOPIC_MESSAGE_SIZE];
        Out o = { .data = data };
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, topic);
        out_u8(&o, 0);
        out_u8(&o, 1 + TARGET_NAME_SIZE);
        out_u8(&o, 1);
        out_bytes(&o, name, TARGET_NAME_SIZE);
        return target_send(c->receive_fd, o.data, o.size);
}

static int subscribe(Client *c, TargetSubject subject) {
        int r = 0;

        if (subject == TARGET_ALL)
                r = ask_for(c, NULL);
        return r < 0 ? r : ask_for(c, c);
}

static int settle(Client *c, TargetSubject subject, uint32_t n_receivers) {
        uint8_t data[TOPIC_MESSAGE_SIZE];
        int r = 0;

        for (uint32_t i = 0; r >= 0 && i < n_receivers + (subject == TARGET_ALL ? 1 : 0); i++)
                r = target_receive(c->fd, data, sizeof(data));
        return r;
}

static void put(Out *o, const Client *from, const Client *to, size_t size) {
        char name[TARGET_NAME_SIZE + 1];
        size_t body = TARGET_NAME_SIZE + size;

        target_name(name, to);
        out_u8(o, body > SHORT_MAX ? 2 : 0);
        out_be(o, body > SHORT_MAX ? 8 : 1, body);
        out_bytes(o, name, TARGET_NAME_SIZE);
        out_payload(o, 0, size);
}

const Target target_zmq = {
        .name = "zeromq",
        .in_flight_max = 500, /* half of ZMQ_SNDHWM: it learns by halves how much has been taken */
        .drops = true,
        .open = open_zmq,
        .subscribe = subscribe,
        .settle = settle,
        .put_sent = put,
        .put_delivered = put,
};
