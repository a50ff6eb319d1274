/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reading is strict, since what somebody else could have written would be believed; writing goes aside first. Owns nothing. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/state-file.h"

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

int state_file_fail(char **ret_error, int error, const char *format, ...) {
        va_list ap;

        errno = -error; /* for %m */
        va_start(ap, format);
        if (vasprintf(ret_error, format, ap) < 0)
                *ret_error = NULL;
        va_end(ap);
        return *ret_error ? error : -ENOMEM;
}

int state_file_explain(const char *directory, const char *name, int error, char **ret_error) {
        switch (error) {
        case -EPERM:
                return state_file_fail(ret_error, error,
                                       "%s/%s is not a plain file of ours that nobody else can change (or, the key, read)",
                                       directory, name);
        case -EUCLEAN:
                return state_file_fail(ret_error, error,
                                       "%s/%s is damaged; bring it back from a backup, or stop all clients and remove %s",
                                       directory, name, directory);
        default:
                return state_file_fail(ret_error, error, "%s/%s: %m", directory, name);
        }
}

int state_file_lock(int fd) {
        while (flock(fd, LOCK_EX) < 0)
                if (errno != EINTR)
                        return -errno;
        return 0;
}

void state_file_unlockp(const int *fd) {
        flock(*fd, LOCK_UN);
}

ssize_t state_file_read(int dirfd, const char *name, bool secret, uint8_t *buffer, size_t size) {
        __attribute__((cleanup(close_fd))) int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        struct stat st;
        size_t n = 0;

        if (fd < 0)
                return errno == ELOOP ? -EPERM : -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) ||
            (st.st_mode & (secret ? S_IRWXG | S_IRWXO : S_IWGRP | S_IWOTH)))
                return -EPERM;
        while (n < size) {
                ssize_t k = read(fd, buffer + n, size - n);

                if (k == 0)
                        break;
                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k > 0)
                        n += (size_t) k;
        }
        return (ssize_t) n;
}

int state_file_append(int fd, const void *data, size_t size) {
        const uint8_t *p = data;

        while (size > 0) {
                ssize_t k = write(fd, p, size);

                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k > 0) {
                        p += k;
                        size -= (size_t) k;
                }
        }
        return 0;
}

static int write_aside(int dirfd, const char *aside, const void *data, size_t size, bool sync) {
        __attribute__((cleanup(close_fd))) int fd = -1;
        int r;

        fd = openat(dirfd, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        r = state_file_append(fd, data, size);
        if (r < 0)
                return r;
        return sync && fsync(fd) < 0 ? -errno : 0;
}

static int replace(int dirfd, const char *name, const void *data, size_t size, bool sync) {
        char aside[NAME_MAX + 1];
        int r;

        if (snprintf(aside, sizeof(aside), "%s.new", name) >= (int) sizeof(aside))
                return -ENAMETOOLONG;
        if (unlinkat(dirfd, aside, 0) < 0 && errno != ENOENT) /* one that a crash has left */
                return -errno;
        r = write_aside(dirfd, aside, data, size, sync);
        if (r >= 0 && renameat(dirfd, aside, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                unlinkat(dirfd, aside, 0);
                return r;
        }
        return sync && fsync(dirfd) < 0 ? -errno : 0;
}

int state_file_replace(int dirfd, const char *name, const void *data, size_t size) {
        return replace(dirfd, name, data, size, true);
}

int state_file_replace_unsynced(int dirfd, const char *name, const void *data, size_t size) {
        return replace(dirfd, name, data, size, false);
}
