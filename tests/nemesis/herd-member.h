/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef HERD_MEMBER_H
#define HERD_MEMBER_H

/* A process of the herd: some clients in one loop. What they see they note for the driver. */

#include <stdatomic.h>
#include <stdint.h>

typedef enum HerdNoteType {
        HERD_CONNECTED, /* value: the id */
        HERD_DELIVERED, /* value: the round that the message was of */
        HERD_WRONG,     /* what must not be; said on stderr by then */
} HerdNoteType;

/* Small enough for a pipe that many write to */
typedef struct HerdNote {
        HerdNoteType type;
        uint32_t client;
        uint64_t usec; /* by the monotonic clock */
        uint64_t value;
} HerdNote;

/* Shared by all processes */
typedef struct HerdCounters {
        _Atomic uint64_t n_connects; /* calls of connect(2) */
        _Atomic uint64_t n_full;     /* ... of them refused because a local socket's queue was full */
} HerdCounters;

typedef struct HerdMember {
        const char *address;
        uint32_t first, n_clients; /* the numbers of its clients */
        int commands;              /* each byte begins a round: all clients send the next one a message; ends with the pipe */
        int notes;
} HerdMember;

uint64_t herd_now(void);

/* Called once by each process, before it makes a client. */
void herd_member_count(HerdCounters *counters);

/* Returns when `commands` has ended. */
void herd_member_run(const HerdMember *member);

#endif
