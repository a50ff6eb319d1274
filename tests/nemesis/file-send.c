/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One file to one client, from its beginning again whenever it has failed, until it is delivered. */

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "program.h"

#define KIND 8

static struct {
        int fd, is_under_way, is_finished;
        uint64_t found, gone;          /* the highest id of the target's name that was seen; the highest of those that are gone */
        uint64_t own, target, n_sent; /* of the pair that is sending, how many times */
} file;

static void note(Program *program, Record record) {
        record.own = file.own;
        record.peer = file.target;
        record.sequence = file.n_sent;
        record_log_add(&program->log, record);
}

static void on_outcome(DirectClient *client, int result, void *userdata) {
        Program *program = userdata;

        note(program, (Record){ .type = RECORD_OUTCOME, .value = result });
        file.is_under_way = 0;
        if (result == -ENXIO)
                file.gone = file.target;
        file.is_finished = result == 0;
        if (file.is_finished)
                program_finish(program);
}

static int file_send_turn(Program *program) {
        int r;

        if (file.is_finished || file.is_under_way || file.found <= file.gone || !direct_is_connected(program->client))
                return 0;
        if (file.own != program->id || file.target != file.found) {
                file.own = program->id;
                file.target = file.found;
                file.n_sent = 0;
        }
        file.n_sent++;
        note(program, (Record){ .type = RECORD_SEND, .flags = RECORD_LARGE });
        record_log_write(&program->log);
        r = direct_send_fd(program->client, file.target, KIND, file.fd, DIRECT_SIZE_UNKNOWN, on_outcome, program);
        if (r < 0)
                program_fail(program, "direct_send_fd", r);
        file.is_under_way = 1;
        return 0;
}

static void file_send_joined(Program *program, const char *name, uint64_t id) {
        if (strcmp(name, program->target) == 0 && id > file.found)
                file.found = id;
}

static void file_send_start(Program *program) {
        if (!program->target || !program->path)
                program_fail(program, "--target= and --file=", -EINVAL);
        file.fd = open(program->path, O_RDONLY | O_CLOEXEC);
        if (file.fd < 0)
                program_fail(program, program->path, -errno);
}

const Mode file_send_mode = {
        .name = "file-send",
        .start = file_send_start,
        .joined = file_send_joined,
        .turn = file_send_turn,
};
