/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Writes each file that comes to PATH.ID, where ID is who sends it. Parts are noted with their offsets; whether they are complete
 * and in order, the checker says. One stream of each source at a time. No more is taken than the driver allows, all files
 * together: the sender then waits for credit. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "program.h"

#define SOURCES_MAX 64

typedef struct Source {
        uint64_t id, n_received, size; /* size: of the file, as far as it is here */
        int fd;
} Source;

static Source sources[SOURCES_MAX];
static size_t n_sources;
static uint64_t n_taken; /* bytes */
static int is_finished;

static Source *find_source(Program *program, uint64_t id) {
        char path[4096];
        Source *source;

        for (size_t i = 0; i < n_sources; i++)
                if (sources[i].id == id)
                        return &sources[i];
        if (n_sources == SOURCES_MAX)
                program_fail(program, "too many senders", -ENOSPC);

        source = &sources[n_sources++];
        (void)snprintf(path, sizeof(path), "%s.%llu", program->path, (unsigned long long)id);
        *source = (Source){ .id = id, .fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) };
        if (source->fd < 0)
                program_fail(program, path, -errno);
        return source;
}

static void write_part(Program *program, int fd, const char *data, size_t size, uint64_t offset) {
        while (size > 0) {
                ssize_t n = pwrite(fd, data, size, (off_t)offset);

                if (n < 0)
                        program_fail(program, "write", -errno);
                data += n;
                offset += (uint64_t)n;
                size -= (size_t)n;
        }
}

static void file_receive_message(Program *program, const DirectMessage *message) {
        size_t size = direct_message_get_size(message);
        uint64_t offset = direct_message_get_offset(message), id = direct_message_get_source(message);
        int is_last = direct_message_is_last(message), is_failed = direct_message_is_failed(message);
        Source *source = find_source(program, id);
        Record record = { .type = RECORD_PART, .reason = (uint16_t)direct_message_get_stream(message), .value = (int32_t)size,
                          .own = program->id, .peer = id, .sequence = offset };

        record.flags = (is_last ? RECORD_LAST : 0) | (is_failed ? RECORD_FAILED : 0);
        if (offset == 0 && !is_failed) {
                if (ftruncate(source->fd, 0) < 0)
                        program_fail(program, "truncate", -errno);
                n_taken -= source->size;
                source->size = 0;
        }
        write_part(program, source->fd, direct_message_get_data(message), size, offset);
        n_taken += size;
        source->size += size;
        record_log_add(&program->log, record);
        if (!is_last || is_failed)
                return;
        record_log_add(&program->log, (Record){ .type = RECORD_RECEIPT, .flags = RECORD_LARGE, .own = program->id, .peer = id,
                                                .sequence = ++source->n_received });
        is_finished = 1;
        program_finish(program);
}

/* The receipt of each is with the kernel before the library gets the control back. */
static int file_receive_turn(Program *program) {
        DirectMessage *message;
        int n = 0;

        while (n_taken < program->n_messages && direct_receive(program->client, 0, &message) == 0) {
                file_receive_message(program, message);
                record_log_write(&program->log);
                direct_message_free(message);
                n = 1;
        }
        return n;
}

static void file_receive_more(Program *program) {
        if (is_finished)
                program_finish(program);
}

static void file_receive_start(Program *program) {
        if (!program->path)
                program_fail(program, "--file=", -EINVAL);
}

const Mode file_receive_mode = {
        .name = "file-receive",
        .start = file_receive_start,
        .more = file_receive_more,
        .turn = file_receive_turn,
};
