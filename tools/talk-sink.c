/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The sink owns the directory's descriptor and the files that are being written. File names are made of a number of our own
 * and the id that the service stamped on the message: nothing that a peer can choose becomes part of a path. A file has its
 * final name only when it is complete, so a script that watches the directory never takes half of one; an existing file is
 * never written over. */

#include "tools/talk-sink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SINK_FILES_MAX = 256 }; /* messages in the middle of which we are at the same time: well below any limit of descriptors */

int sink_open(Sink *sink, const char *path) {
        if (mkdir(path, 0777) < 0 && errno != EEXIST)
                return -errno;
        sink->directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (sink->directory_fd < 0)
                return -errno;
        sink->path = path;
        return 0;
}

static SinkFile *sink_file_free(Sink *sink, SinkFile *file) {
        if (!file)
                return NULL;
        for (SinkFile **p = &sink->files; *p; p = &(*p)->next)
                if (*p == file) {
                        *p = file->next;
                        break;
                }
        if (file->fd >= 0) {
                close(file->fd);
                unlinkat(sink->directory_fd, file->name, 0);
        }
        free(file);
        return NULL;
}

void sink_deinit(Sink *sink) {
        while (sink->files)
                sink_file_free(sink, sink->files);
        if (sink->directory_fd >= 0)
                close(sink->directory_fd);
        *sink = SINK_NULL;
}

static int sink_file_new(Sink *sink, uint64_t source, uint32_t stream, SinkFile **ret_file) {
        SinkFile *file;
        unsigned n = 0;

        for (const SinkFile *f = sink->files; f; f = f->next)
                if (++n >= SINK_FILES_MAX)
                        return -EMFILE;

        file = calloc(1, sizeof(*file));
        if (!file)
                return -ENOMEM;
        *file = (SinkFile) { .source = source, .stream = stream, .fd = -1 };
        do {
                snprintf(file->name, sizeof(file->name), "%06" PRIu64 "-%" PRIu64 ".part", ++sink->number, source);
                file->fd = openat(sink->directory_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        } while (file->fd < 0 && errno == EEXIST);
        if (file->fd < 0) {
                int r = -errno;

                free(file);
                return r;
        }
        file->next = sink->files;
        sink->files = file;
        *ret_file = file;
        return 0;
}

static int sink_file_append(SinkFile *file, const uint8_t *data, size_t size) {
        while (size > 0) {
                ssize_t k = write(file->fd, data, size);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                data += k;
                size -= (size_t) k;
                file->size += (uint64_t) k;
        }
        return 0;
}

/* Gives the file its final name. linkat() refuses to replace what is there, which rename() would do; where the file system has
 * no hard links, the number makes a clash unlikely enough. */
static int sink_file_complete(Sink *sink, SinkFile *file) {
        char name[sizeof(file->name)];
        int fd;

        for (uint64_t number = strtoull(file->name, NULL, 10);; number = ++sink->number) {
                snprintf(name, sizeof(name), "%06" PRIu64 "-%" PRIu64 ".data", number, file->source);
                if (linkat(sink->directory_fd, file->name, sink->directory_fd, name, 0) >= 0) {
                        unlinkat(sink->directory_fd, file->name, 0);
                        break;
                }
                if (errno == EPERM || errno == EOPNOTSUPP) {
                        if (renameat(sink->directory_fd, file->name, sink->directory_fd, name) < 0)
                                return -errno;
                        break;
                }
                if (errno != EEXIST)
                        return -errno;
        }

        /* Some file systems report a full disk only here */
        fd = file->fd;
        file->fd = -1;
        if (close(fd) < 0)
                return -errno;
        memcpy(sink->done, name, sizeof(name));
        return 1;
}

static int sink_write_file(Sink *sink, SinkFile *file, const DirectMessage *message) {
        int r;

        if (direct_message_is_failed(message))
                return -EPIPE;
        r = sink_file_append(file, direct_message_get_data(message), direct_message_get_size(message));
        if (r < 0 || !direct_message_is_last(message))
                return r;
        return sink_file_complete(sink, file);
}

int sink_write(Sink *sink, const DirectMessage *message) {
        uint64_t source = direct_message_get_source(message);
        uint32_t stream = direct_message_get_stream(message);
        SinkFile *file = NULL;
        int r;

        if (stream != 0)
                for (file = sink->files; file; file = file->next)
                        if (file->source == source && file->stream == stream)
                                break;
        if (!file) {
                r = sink_file_new(sink, source, stream, &file);
                if (r < 0)
                        return r;
        }
        r = sink_write_file(sink, file, message);
        sink->written = file->size;
        if (r != 0)
                sink_file_free(sink, file);
        return r;
}
