/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where listen --output puts messages: each into a file of its own, written as its parts arrive. */

#include <stdbool.h>
#include <stdint.h>

#include "directclient.h"

typedef struct SinkFile {
        struct SinkFile *next;
        uint64_t source;
        uint32_t stream;
        int fd;
        uint64_t size;
        char name[48]; /* while it is written: "NUMBER-ID.part" */
} SinkFile;

typedef struct Sink {
        const char *path;
        int directory_fd;
        uint64_t number;  /* of the last file */
        SinkFile *files;  /* those that are being written */
        uint64_t written; /* of the last message that was given to it: bytes so far */
        char done[48];    /* the name of the file that was completed last */
} Sink;

#define SINK_NULL ((Sink) { .directory_fd = -1 })

/* The directory is made if it is not there. 0 or a negative errno. */
int sink_open(Sink *sink, const char *path);

/* Incomplete files are removed. */
void sink_deinit(Sink *sink);

/* Writes a message, or a part of one. Returns 1 when the message is complete in a file (see `done`), 0 when there is more to
 * come, -EPIPE when its sender has left in the middle (the file is removed), or another negative errno. */
int sink_write(Sink *sink, const DirectMessage *message);
