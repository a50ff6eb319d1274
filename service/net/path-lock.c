/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the file and its descriptor. The kernel frees the lock of a process that was killed; the file stays then, as the socket
 * does, and the next service takes both over. It waits for nobody, and writes nothing into the file. */

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/net/path-lock.h"

enum { TRIES_MAX = 100 }; /* each is lost to a service that stops at this very moment */

static void cleanup_lock(PathLock *lock) {
        if (lock->fd >= 0)
                close(lock->fd);
        free(lock->path);
}

/* False: its last owner has removed it before it was locked here, and the next one would lock another. */
static bool is_there(const PathLock *lock, const struct stat *locked) {
        struct stat st;

        return lstat(lock->path, &st) >= 0 && st.st_dev == locked->st_dev && st.st_ino == locked->st_ino;
}

/* Returns 0, or -EAGAIN if it is to be tried again. */
static int try_to_lock(PathLock *lock) {
        struct stat st;

        if (lock->fd >= 0)
                close(lock->fd);
        lock->fd = open(lock->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        if (lock->fd < 0)
                return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EEXIST : -errno;
        if (fstat(lock->fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size > 0)
                return -EEXIST;
        if (flock(lock->fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
        return is_there(lock, &st) ? 0 : -EAGAIN;
}

int path_lock_init(PathLock *ret_lock, const char *path) {
        __attribute__((cleanup(cleanup_lock))) PathLock lock = PATH_LOCK_NULL;
        int r = -EAGAIN;

        if (asprintf(&lock.path, "%s.lock", path) < 0) {
                lock.path = NULL;
                return -ENOMEM;
        }
        for (size_t i = 0; r == -EAGAIN && i < TRIES_MAX; i++)
                r = try_to_lock(&lock);
        if (r < 0)
                return r == -EAGAIN ? -EADDRINUSE : r;
        *ret_lock = lock;
        lock = PATH_LOCK_NULL;
        return 0;
}

void path_lock_deinit(PathLock *lock) {
        if (lock->path)
                unlink(lock->path);
        cleanup_lock(lock);
        *lock = PATH_LOCK_NULL;
}
