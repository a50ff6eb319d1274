/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Says that the path of a local socket is taken, to services that are started at the same time: a locked file beside it. */

typedef struct PathLock {
        int fd;
        char *path;
} PathLock;

#define PATH_LOCK_NULL ((PathLock) { .fd = -1 })

/* Takes the lock of `path` without waiting for it. Returns 0; -EADDRINUSE: somebody has it; -EEXIST: there is something else of
 * its name; or another negative errno. */
int path_lock_init(PathLock *ret_lock, const char *path);

/* Removes the file. What was locked is to be gone by then. */
void path_lock_deinit(PathLock *lock);
