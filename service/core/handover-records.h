/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is handed over, as bytes: a head, records, and a checksum. Integers are little-endian.
 *
 *      head      8 bytes magic, u16 version of the writer, u16 the oldest reader that understands it, u32 0, u64 size of it all
 *      record    u32 type, u32 length, and so many bytes: fields in order
 *      end       u32 CRC-32C of all that stands before it
 *
 * Old and new read each other: a reader skips records that it does not know and ignores what follows the last field that it
 * knows; fields that came later are at the end of their record and have a default, and so have records. Whoever changes what a
 * field means gives the record a new type; whoever writes what an older reader must not skip raises RECORDS_READER_MIN. */

#include "protocol/wire.h"
#include "service/core/timers.h"

enum {
        RECORDS_VERSION = 1,
        RECORDS_READER_MIN = 1, /* of readers, for what is written here */
        RECORDS_WRITER_MIN = 1, /* of writers, for what is read here */
};

/* What refers to another is written behind it. A number keeps its meaning for ever. */
typedef enum RecordType {
        RECORD_ROUTER = 1, /* once, the first */
        RECORD_FORMER = 2,
        RECORD_SESSION = 3,
        RECORD_WATCH = 4,
        RECORD_WATCH_LEFT = 5,
        RECORD_LINK = 6,
        RECORD_WAITING = 7, /* the link waits for its name: the first in line in front */
        RECORD_TAIL = 8,
        RECORD_OUTPUT = 9,
        RECORD_PAUSE = 10,
        RECORD_SHARE = 11,
        RECORD_LOAD = 12,
        RECORD_LOAD_SAMPLE = 13, /* the oldest in front */
        RECORD_ROUTING_TIME = 14,
} RecordType;

/* u8 of RECORD_SESSION */
enum {
        RECORD_SESSION_GHOST = 1,
        RECORD_SESSION_WATCHES_EVERYONE = 2,
        RECORD_SESSION_MISSED_PRESENCE = 4,
        RECORD_SESSION_MISSED_BROADCASTS = 8,
};

/* u16 of RECORD_LINK */
enum {
        RECORD_LINK_BLOCKED = 1,
        RECORD_LINK_STALLED = 2,
        RECORD_LINK_STALL_TIMER = 4,
        RECORD_LINK_FULL = 8,
        RECORD_LINK_SKIPS_BROADCASTS = 16,
        RECORD_LINK_PINGED = 32,
        RECORD_LINK_PROBED = 64,
        RECORD_LINK_LEAVING = 128,
        RECORD_LINK_OPENED = 256, /* something has been written to it */
        RECORD_LINK_UNCONFIRMED = 512,
};

/* u8 of RECORD_OUTPUT */
enum {
        RECORD_OUTPUT_BEGUN = 1,
        RECORD_OUTPUT_URGENT = 2,
};

/* A growing buffer. Without memory it is `failed`, and takes no more. */
typedef struct RecordWriter {
        uint8_t *data;
        size_t size;
        size_t n_allocated;
        size_t record; /* where the present one begins */
        bool failed;
} RecordWriter;

/* `expected`: of so many bytes, or a few more */
void records_begin(RecordWriter *w, size_t expected);
/* Returns 0 and what is to be freed, or a negative errno; frees what it does not return. */
int records_end(RecordWriter *w, uint8_t **ret_data, size_t *ret_size);

void record_begin(RecordWriter *w, uint32_t type);
void record_end(RecordWriter *w);
void record_put_u8(RecordWriter *w, uint8_t v);
void record_put_u16(RecordWriter *w, uint16_t v);
void record_put_u32(RecordWriter *w, uint32_t v);
void record_put_u64(RecordWriter *w, uint64_t v);
void record_put_bytes(RecordWriter *w, const void *data, size_t size); /* to the end of the record */
void record_put_text8(RecordWriter *w, const char *text, size_t size);
void record_put_text16(RecordWriter *w, const char *text, size_t size);
/* How long ago that was, and how long it is till then, or TIMERS_NEVER; 0 if that is the wrong way round. */
void record_put_age(RecordWriter *w, uint64_t now, uint64_t then);
void record_put_rest(RecordWriter *w, uint64_t now, uint64_t when);

/* Checks the head and the checksum. *ret_reader: all records. Returns 0 or -EBADMSG. */
int records_open(const uint8_t *data, size_t size, WireReader *ret_reader);

/* The next record: 1, its type, and its fields; 0: there is none; or -EBADMSG. */
int records_next(WireReader *r, uint32_t *ret_type, WireReader *ret_fields);

/* Of the fields: how many bytes are left. */
static inline size_t record_get_rest(const WireReader *in) {
        return (size_t) (in->end - in->p);
}

/* The time that was so long ago, and the time that is so far off, or TIMERS_NEVER. */
uint64_t record_read_age(WireReader *in, uint64_t now);
uint64_t record_read_rest(WireReader *in, uint64_t now);
