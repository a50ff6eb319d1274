/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Redis: PUBLISH and SUBSCRIBE. RESP3, which lets a connection do both; and no replies to PUBLISH (CLIENT REPLY OFF), which is
 * what Redis does best: each would be a message of its own to its sender. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/target.h"

/* The answer to HELLO 3 is a map of seven; CLIENT REPLY OFF is not answered. To know where the first ends, it is followed by a
 * PING. */
static int open_redis(Client *c, const Server *server) {
        static const char hello[] = "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*1\r\n$4\r\nPING\r\n";
        static const char silence[] = "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n";
        char line[256];
        int r;

        r = target_connect(server->port, &c->fd);
        if (r < 0)
                return r;
        c->receive_fd = c->fd;
        r = target_send(c->fd, hello, sizeof(hello) - 1);
        while (r >= 0) {
                r = target_receive_line(c->fd, line, sizeof(line));
                if (r >= 0 && line[0] == '-')
                        return -EPROTO;
                if (r >= 0 && strcmp(line, "+PONG\r") == 0)
                        break;
        }
        return r < 0 ? r : target_send(c->fd, silence, sizeof(silence) - 1);
}

static int subscribe(Client *c, TargetSubject subject) {
        uint8_t data[128];
        char answer[128], name[TARGET_NAME_SIZE + 1];
        Out o = { .data = data };
        int n;

        target_name(name, subject == TARGET_ALL ? NULL : c);
        out_format(&o, "*2\r\n$9\r\nSUBSCRIBE\r\n$6\r\n%s\r\n", name);
        n = snprintf(answer, sizeof(answer), ">3\r\n$9\r\nsubscribe\r\n$6\r\n%s\r\n:1\r\n", name);
        return target_exchange(c->fd, &o, answer, (size_t) n);
}

static void put_sent(Out *o, const Client *from, const Client *to, size_t size) {
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, to);
        out_format(o, "*3\r\n$7\r\nPUBLISH\r\n$6\r\n%s\r\n$%zu\r\n", name, size);
        out_payload(o, 0, size);
        out_format(o, "\r\n");
}

static void put_delivered(Out *o, const Client *from, const Client *to, size_t size) {
        char name[TARGET_NAME_SIZE + 1];

        target_name(name, to);
        out_format(o, ">3\r\n$7\r\nmessage\r\n$6\r\n%s\r\n$%zu\r\n", name, size);
        out_payload(o, 0, size);
        out_format(o, "\r\n");
}

const Target target_redis = {
        .name = "redis",
        .message_max = 512 * 1024 * 1024, /* proto-max-bulk-len */
        .open = open_redis,
        .subscribe = subscribe,
        .put_sent = put_sent,
        .put_delivered = put_delivered,
};
