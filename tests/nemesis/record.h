/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef NEMESIS_RECORD_H
#define NEMESIS_RECORD_H

/* What a client of the nemesis notes for the checker. records.py reads the same layout. */

#include <stddef.h>
#include <stdint.h>

enum {
        RECORD_STARTED = 1,      /* sequence: pid */
        RECORD_CONNECTED = 2,    /* flags: resumed */
        RECORD_DISCONNECTED = 3, /* reason */
        RECORD_LEFT = 4,         /* peer, reason */
        RECORD_SEND = 5,         /* own, peer, sequence; value: size. Before the library is given it */
        RECORD_OUTCOME = 6,      /* own, peer, sequence; value: result */
        RECORD_RECEIPT = 7,      /* own: for whom it was; peer: from whom; sequence; value: size */
        RECORD_PART = 8,         /* of a file; peer, sequence: offset, value: size, reason: stream modulo 65536 */
        RECORD_FINISHED = 9,     /* nothing more that it may send, and each message has its outcome */
        RECORD_ENDED = 10,       /* the process has lived to its end; sequence: bytes handed to the kernel */
        RECORD_AGAIN = 11        /* peer; sequence: the last frame that was, reason: stream modulo 65536, value: bytes sent again,
                                    at once */
};

enum {
        RECORD_RESUMED = 1, /* CONNECTED */
        RECORD_LARGE = 1,   /* SEND, RECEIPT: does not fit one frame, so it may be passed */
        RECORD_REFUSED = 2, /* OUTCOME: the library did not take it */
        RECORD_DAMAGED = 4, /* RECEIPT: wrong checksum or length, or not from whom it says */
        RECORD_LAST = 8,    /* PART */
        RECORD_FAILED = 16, /* PART */
        RECORD_MORTAL = 32  /* SEND: has a time to live, so it may fail with -ETIME */
};

/* As it stands in the file: little-endian, 40 bytes */
typedef struct Record {
        uint8_t type, flags;
        uint16_t reason;
        int32_t value;
        uint64_t time_nsec; /* filled in by record_log_add(): CLOCK_MONOTONIC, so that logs of one machine compare */
        uint64_t own, peer, sequence;
} Record;

#define RECORD_LOG_MAX 256 /* records held back; 10 KiB, three pages of the kernel's in one write */

typedef struct RecordLog {
        int fd;
        size_t n;
        Record records[RECORD_LOG_MAX];
} RecordLog;

/* Both end the process with a message when the file can't be written: a log with a hole is worse than none. */
void record_log_open(RecordLog *log, const char *path);
void record_log_write(RecordLog *log);

void record_log_add(RecordLog *log, Record record);

#endif
