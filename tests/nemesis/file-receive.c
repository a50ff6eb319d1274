/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Writes each file that comes to PATH.ID, where ID is who sends it. Parts are noted with their offsets; whether they are complete and in
 * order, the checker says. One stream of each source at a time. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "program.h"

#define SOURCES_MAX 64

typedef struct Source {
        uint64_t id, n_received;
        int fd;
} Source;

static Source sources[SOURCES_MAX];
static size_t n_sources;

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
        if (offset == 0 && !is_failed && ftruncate(source->fd, 0) < 0)
                program_fail(program, "truncate", -errno);
        write_part(program, source->fd, direct_message_get_data(message), size, offset);
        record_log_add(&program->log, record);
        if (!is_last || is_failed)
                return;
        record_log_add(&program->log, (Record){ .type = RECORD_RECEIPT, .flags = RECORD_LARGE, .own = program->id, .peer = id,
                                                .sequence = ++source->n_received });
        program_finish(program);
}

static void file_receive_start(Program *program) {
        if (!program->path)
                program_fail(program, "--file=", -EINVAL);
}

const Mode file_receive_mode = {
        .name = "file-receive",
        .start = file_receive_start,
        .message = file_receive_message,
};
