/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What targets have in common: the table of them, sockets that wait, and bytes that are put together. Nothing in here runs while
 * something is measured. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "bench/target.h"

enum {
        ANSWER_SEC = 20,
        ANSWER_MAX = 256,
        PAYLOAD_PRIME = 251, /* the pattern's period */
};

static const Target *const targets[] = {
        &target_direct, &target_relay, &target_splice, &target_nats, &target_redis, &target_mqtt, &target_zmq, &target_amqp,
};

const Target *target_find(const char *name) {
        for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
                if (strcmp(targets[i]->name, name) == 0)
                        return targets[i];
        return NULL;
}

int target_connect_with(uint16_t port, const char *congestion, int *ret_fd) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        struct timeval timeout = { .tv_sec = ANSWER_SEC };
        int fd, on = 1;

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (congestion)
                setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, strlen(congestion));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

int target_connect(uint16_t port, int *ret_fd) {
        return target_connect_with(port, NULL, ret_fd);
}

int target_send(int fd, const void *data, size_t size) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t k = send(fd, p, size, MSG_NOSIGNAL);

                if (k < 0)
                        return errno == EAGAIN ? -ETIMEDOUT : -errno;
                p += k;
                size -= (size_t) k;
        }
        return 0;
}

int target_receive(int fd, void *buffer, size_t size) {
        uint8_t *p = buffer;

        while (size > 0) {
                ssize_t k = recv(fd, p, size, 0);

                if (k <= 0)
                        return k == 0 ? -ECONNRESET : errno == EAGAIN ? -ETIMEDOUT : -errno;
                p += k;
                size -= (size_t) k;
        }
        return 0;
}

int target_receive_line(int fd, char *line, size_t size) {
        for (size_t n = 0; n + 1 < size; n++) {
                int r = target_receive(fd, line + n, 1);

                if (r < 0)
                        return r;
                if (line[n] == '\n') {
                        line[n] = '\0';
                        return 0;
                }
        }
        return -EMSGSIZE;
}

int target_exchange(int fd, const Out *question, const void *answer, size_t answer_size) {
        uint8_t buffer[ANSWER_MAX];
        int r;

        if (answer_size > sizeof(buffer))
                return -EMSGSIZE;
        r = target_send(fd, question->data, question->size);
        if (r >= 0)
                r = target_receive(fd, buffer, answer_size);
        return r < 0 ? r : memcmp(buffer, answer, answer_size) == 0 ? 0 : -EPROTO;
}

void target_name(char name[static TARGET_NAME_SIZE + 1], const Client *to) {
        if (to)
                snprintf(name, TARGET_NAME_SIZE + 1, "c%05u", to->index % TARGET_CLIENTS_MAX);
        else
                memcpy(name, "all000", TARGET_NAME_SIZE + 1);
}

void out_bytes(Out *o, const void *data, size_t size) {
        if (o->data)
                memcpy(o->data + o->size, data, size);
        o->size += size;
}

void out_format(Out *o, const char *format, ...) {
        char text[ANSWER_MAX];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (n > 0 && (size_t) n < sizeof(text))
                out_bytes(o, text, (size_t) n);
}

void out_u8(Out *o, uint8_t value) {
        out_bytes(o, &value, 1);
}

void out_be(Out *o, unsigned n_bytes, uint64_t value) {
        while (n_bytes-- > 0)
                out_u8(o, (uint8_t) (value >> (8 * n_bytes)));
}

void out_payload(Out *o, size_t offset, size_t size) {
        if (o->data)
                for (size_t i = 0; i < size; i++)
                        o->data[o->size + i] = (uint8_t) ((offset + i) % PAYLOAD_PRIME);
        o->size += size;
}
