/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A target is a kind of server under measurement: how a client of it comes and says what it wants to receive, what a message
 * looks like that is sent, and what it looks like when it arrives. All messages of one size have one size on the wire, so
 * whoever receives need only count bytes. How the server is started is not said here but in peers_servers.py. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        TARGET_NAME_SIZE = 6,         /* "c00042": names have one length, so that frames do */
        TARGET_CLIENTS_MAX = 100000,  /* what fits into it */
};

typedef struct Server {
        uint16_t port;
        uint16_t receive_port; /* where receivers connect; the same, but for ZeroMQ */
} Server;

typedef struct Client {
        int fd;         /* for both ways; or what it sends by */
        int receive_fd; /* the same, but for ZeroMQ */
        bool sends, receives;
        uint32_t index;
        uint64_t id;    /* that the server gave it, where it does */
} Client;

#define CLIENT_NULL ((Client) { .fd = -1, .receive_fd = -1 })

/* Bytes that are written; or only counted, if there is no buffer */
typedef struct Out {
        uint8_t *data;
        size_t size;
} Out;

typedef enum TargetSubject { TARGET_ONE, TARGET_ALL } TargetSubject;

/* One message as `from` sends it, or as `to` receives it (the first that it receives). `to` is NULL for all. */
typedef void TargetPut(Out *o, const Client *from, const Client *to, size_t size);

typedef struct Target {
        const char *name;
        uint32_t in_flight_max;   /* messages for one receiver: none is dropped, or more only take longer; 0: any */
        uint32_t in_flight_total; /* the same for all receivers together */
        uint32_t idle_max;        /* so many say what an idle one takes, where to connect takes long; 0: any number */
        uint64_t message_max;     /* what is larger is cut by its senders; 0: nothing is */
        bool drops;               /* what a receiver is too slow for */
        bool polls;               /* if asked, before it sleeps: then the load does so as well */
        const char *stray;        /* what may come between two messages, and the answer to that */
        const char *stray_answer;

        /* All three wait. 0 or a negative errno. `settle` is for clients that send, and returns when the server knows what the
         * `n_receivers` want, if subscribe did not. */
        int (*open)(Client *c, const Server *server);
        int (*subscribe)(Client *c, TargetSubject subject);
        int (*settle)(Client *c, TargetSubject subject, uint32_t n_receivers);

        TargetPut *put_sent, *put_delivered;
} Target;

extern const Target target_amqp, target_direct, target_mqtt, target_nats, target_redis, target_relay, target_splice, target_zmq;

/* NULL if there is none of that name. */
const Target *target_find(const char *name);

/* For targets */
int target_connect(uint16_t port, int *ret_fd);
/* … as its client library does: `congestion` is for TCP_CONGESTION. */
int target_connect_with(uint16_t port, const char *congestion, int *ret_fd);
int target_send(int fd, const void *data, size_t size);
int target_receive(int fd, void *buffer, size_t size);
int target_receive_line(int fd, char *line, size_t size);
/* Sends, and waits for exactly that answer; a mismatch is -EPROTO. */
int target_exchange(int fd, const Out *question, const void *answer, size_t answer_size);

void target_name(char name[static TARGET_NAME_SIZE + 1], const Client *to);

void out_bytes(Out *o, const void *data, size_t size);
void out_format(Out *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
void out_u8(Out *o, uint8_t value);
void out_be(Out *o, unsigned n_bytes, uint64_t value);
/* What the message says: a pattern that does not repeat where frames or buffers do. `offset` is where in the message. */
void out_payload(Out *o, size_t offset, size_t size);
