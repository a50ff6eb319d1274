/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Small files in a directory that is given by its descriptor. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Leaves one line for people in *ret_error and returns `error`. */
int state_file_fail(char **ret_error, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same about a file that could not be read or written. */
int state_file_explain(const char *directory, const char *name, int error, char **ret_error);

/* The directory itself is locked, so a lock never outlives its holder and leaves no file behind. Blocks until it is free. */
int state_file_lock(int dirfd);
void state_file_unlockp(const int *dirfd); /* for __attribute__((cleanup)) */

/* Reads up to `size` bytes: their number, or a negative errno; -EPERM if it is not a plain file that only its owner (we, or root)
 * can change, and with `secret` read. */
ssize_t state_file_read(int dirfd, const char *name, bool secret, uint8_t *buffer, size_t size);

/* Under the lock, or of a file that nobody else writes. After a crash at any point the file has either its old content or the new
 * one. 0 or a negative errno. */
int state_file_replace(int dirfd, const char *name, const void *data, size_t size);
/* The same for a crash of this process; what is there after one of the machine is open. For what is not worth waiting for
 * the disk. */
int state_file_replace_unsynced(int dirfd, const char *name, const void *data, size_t size);

/* Puts it all at the end of an open file. 0 or a negative errno, and then some of it may be there. */
int state_file_append(int fd, const void *data, size_t size);
