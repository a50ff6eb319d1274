/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A process that is one client of the service, written as a user's program would be: directclient.h only. Its parent gives it
 * orders one at a time, and between them it does what every peer does: it answers requests, sends back what is to be echoed, and
 * takes the rest. */

#include <directclient.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "bench/bench-library-histogram.h"

enum {
        PEER_TARGETS_MAX = 64,
        PEER_WAIT_MS = 30 * 1000, /* what takes longer than its order says by so much is stuck */
};

/* Kinds of messages */
enum {
        KIND_PLAIN = 1,
        KIND_LAST, /* like the one before, and nothing comes after it */
        KIND_ECHO, /* comes back as KIND_ANSWER */
        KIND_ANSWER,
};

typedef struct PeerOrder PeerOrder;
typedef struct PeerSelf PeerSelf;

/* Runs in the peer; its result is the peer's report. Peers are forks, so the address of a function is an order. */
typedef int (*PeerTask)(PeerSelf *self, const PeerOrder *order);

struct PeerOrder {
        PeerTask task;
        uint64_t targets[PEER_TARGETS_MAX];
        uint32_t n_targets;
        uint32_t window, deep_window;
        int32_t deep; /* which target gets deep_window; -1: none */
        uint64_t size;
        uint64_t duration_nsec;
        uint32_t spin_usec, pause_usec;
        bool unreliable;
        bool while_moving;
};

/* Written by the peer, read by its parent after a report */
typedef struct PeerFigures {
        uint64_t id;
        uint64_t n_sent;       /* since it was started, KIND_LAST not counted; */
        uint64_t n_taken;      /* nor here, nor are requests and answers */
        uint64_t n_done;       /* of the last order: round trips */
        Histogram round_trips; /* of the last order, nsec */
} PeerFigures;

/* ---- As its parent has it ---- */

typedef struct Peer {
        pid_t pid;
        int fd;
        clockid_t clock;
        PeerFigures *figures;
} Peer;

#define PEER_NULL ((Peer) { .fd = -1 })

/* Returns when the peer is connected to `address`. send_buffer 0: the library's default. `shared` is what the task finds as
 * self->shared. 0, or a negative errno. */
int peer_start(const char *address, uint64_t send_buffer, void *shared, Peer *ret_peer);
void peer_stop(Peer *p);

/* Gives an order; waits until it is carried out; both. */
int peer_order(Peer *p, const PeerOrder *order);
int peer_wait(Peer *p, uint64_t duration_nsec);
int peer_do(Peer *p, const PeerOrder *order);

int peer_get_cpu(const Peer *p, uint64_t *ret_nsec);

/* Resident memory of any process, now, and the most so far; 0: not known. */
uint64_t peer_get_rss_kib(pid_t pid);
uint64_t peer_get_peak_kib(pid_t pid);

/* Memory that is the same for a process and its forks, zero at first. */
void *peer_share(size_t size);

uint64_t peer_now_nsec(void); /* CLOCK_MONOTONIC */

/* ---- As it sees itself ---- */

struct PeerSelf {
        DirectClient *client;
        PeerFigures *figures;
        void *shared;
        void *state;     /* the task's own, kept between orders */
        bool saw_last;   /* KIND_LAST was taken; */
        bool saw_end;    /* and so was the last part of a stream */
        int file_result; /* of direct_send_fd(); 1: not told yet */
        bool is_blocked; /* waits for DIRECT_EVENT_WRITABLE */
        bool has_more;   /* for direct_process() */
        int error;       /* what a handler has met */
        void (*on_answer)(PeerSelf *self, const void *data, size_t size);
};

/* Waits for something to happen, and deals with it; `usec` as in direct_wait(). */
int self_turn(PeerSelf *self, uint64_t usec);

/* Sends, and waits for room as long as there is none. */
int self_send(PeerSelf *self, uint64_t target, uint16_t kind, const void *data, size_t size, bool unreliable);
