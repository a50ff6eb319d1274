/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The log of one client. Records are gathered, and are with the kernel when record_log_write() returns: from then on kill -9
 * can't take them back. Whoever uses it writes before it calls anything that could make others know of what is noted. No
 * fsync(2): the machine itself is not what is killed. */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "record.h"

static_assert(sizeof(Record) == 40, "what records.py unpacks");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are written as they are in memory");

static void fail(const char *what) {
        fprintf(stderr, "nemesis-client: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

void record_log_open(RecordLog *log, const char *path) {
        log->n = 0;
        log->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
        if (log->fd < 0)
                fail(path);
}

void record_log_write(RecordLog *log) {
        const char *data = (const char *)log->records;
        size_t left = log->n * sizeof(Record);

        while (left > 0) {
                ssize_t n = write(log->fd, data, left);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        fail("the log");
                }
                data += n;
                left -= (size_t)n;
        }
        log->n = 0;
}

void record_log_add(RecordLog *log, Record record) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        record.time_nsec = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
        log->records[log->n++] = record;
        if (log->n == RECORD_LOG_MAX)
                record_log_write(log);
}
