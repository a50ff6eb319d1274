/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The network between clients and the service, with the kernels at both ends: bytes that take their time and come in any pieces,
 * and connections that break. */

#include <sys/uio.h>

#include "tests/sim/tap.h"
#include "tests/sim/world.h"

typedef struct FakeLink FakeLink;
typedef struct Actor Actor;

/* One way of a connection */
typedef struct Pipe {
        uint8_t *data;
        size_t start, end, n_allocated; /* of what was written and not read */
        size_t n_arrived;               /* of it, from the start */
        uint64_t n_written;
        uint64_t last_arrival;
        bool finished;     /* no more will be written */
        bool fin_arrived;  /* … and the reader's kernel knows */
        Tap tap;
} Pipe;

typedef enum ConnState {
        CONN_OPENING,
        CONN_UP,
        CONN_FAILED, /* the client's kernel knows: error says why */
        CONN_CLOSED, /* by the client */
} ConnState;

typedef struct Conn {
        struct Conn *next;
        unsigned number;
        Actor *actor;
        ConnState state;
        int error;
        bool broken;       /* nothing gets through any more, whether or not the ends know */
        uint64_t broken_usec;
        bool muted;        /* its client is dead: what it writes goes nowhere */
        bool service_done; /* closed by the service, or never accepted */
        bool is_in_backlog; /* open, and not accepted yet */
        bool was_handed_over; /* by the last handover, and was up */
        unsigned service_number; /* the start of the service that has accepted it */
        FakeLink *link;
        Pipe up, down;
        Rng rng;
        struct Ledger *ledger; /* what the two taps have seen */
} Conn;

/* Faults that hold for a client's host */
typedef struct Host {
        uint64_t partition_until; /* 0: none */
        uint64_t partition_since;
} Host;

void net_init(uint64_t delay_max, size_t pipe_size);
void net_deinit(void);
Conn *net_first(void);

/* For the client's link. It is told of changes with actor_wake(). */
Conn *conn_open(Actor *actor, bool *ret_connected);
Conn *conn_find(int number);
void conn_close(Conn *c);
/* As recv(2) and send(2): a count; 0: end of file; or a negative errno. */
ssize_t conn_read(Conn *c, uint8_t *data, size_t size);
ssize_t conn_write(Conn *c, const struct iovec *iov, size_t n_iov);
bool conn_can_read(const Conn *c); /* or is at its end */
bool conn_can_write(const Conn *c);
/* All that was written has been acknowledged by the other kernel; else since when there is silence. */
bool conn_is_acknowledged(const Conn *c);
uint64_t conn_silent_since(const Conn *c);

/* Faults */
void conn_reset(Conn *c, unsigned how);
/* The client's program has died; with EOF or, by chance, a reset. */
void conn_die(Conn *c, unsigned how);
void net_partition(Actor *actor, uint64_t duration);

/* For the service: what has arrived goes into its links, what they have written on its way. True if something moved. */
bool conn_feed(Conn *c);
void conn_collect(Conn *c);
/* There is something for the service that it has not read: a kernel that closes then resets. */
bool conn_is_unread(const Conn *c);
/* The service has closed it, or is gone: with the end of the file, or a reset. */
void conn_service_closed(Conn *c, bool reset);
