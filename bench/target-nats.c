/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* NATS: lines of text. The server asks each client for a PONG some 2 s after it has come, and then every 2 minutes. */

#include <errno.h>
#include <string.h>

#include "bench/target.h"

enum { LINE_MAX_SIZE = 4096 }; /* INFO is the longest */

static int wait_pong(Client *c) {
        char line[LINE_MAX_SIZE];
        int r;

        do {
                r = target_receive_line(c->fd, line, sizeof(line));
                if (r < 0)
                        return r;
                if (strncmp(line, "-ERR", 4) == 0)
                        return -EPROTO;
        } while (strcmp(line, "PONG\r") != 0);
        return 0;
}

static int open_nats(Client *c, const Server *server) {
        static const char hello[] = "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\"}\r\nPING\r\n";
        int r;

        r = target_connect(server->port, &c->fd);
        if (r < 0)
                return r;
        c->receive_fd = c->fd;
        r = target_send(c->fd, hello, sizeof(hello) - 1);
        return r < 0 ? r : wait_pong(c);
}

static int subscribe(Client *c, TargetSubject subject) {
        uint8_t data[64];
        Out o = { .data = data };
        char name[TARGET_NAME_SIZE + 1];
        int r;

        target_name(name, subject == TARGET_ALL ? NULL : c);
        out_format(&o, "SUB %s 1\r\nPING\r\n", name);
        r = target_send(c->fd, o.data, o.size);
        return r < 0 ? r : wait_pong(c);
}

static void put_sent(Out *o, const Client *from, const Client *to, size_t size) {
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, to);
        out_format(o, "PUB %s %zu\r\n", name, size);
        out_payload(o, 0, size);
        out_format(o, "\r\n");
}

static void put_delivered(Out *o, const Client *from, const Client *to, size_t size) {
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, to);
        out_format(o, "MSG %s 1 %zu\r\n", name, size);
        out_payload(o, 0, size);
        out_format(o, "\r\n");
}

const Target target_nats = {
        .name = "nats",
        .message_max = 1024 * 1024, /* max_payload of the server */
        .stray = "PING\r\n",
        .stray_answer = "PONG\r\n",
        .open = open_nats,
        .subscribe = subscribe,
        .put_sent = put_sent,
        .put_delivered = put_delivered,
};
