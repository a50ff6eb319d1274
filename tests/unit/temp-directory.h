/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A private directory for one test, and small files in it. */

#include <check.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMP_PATH_MAX = 512, TEMP_N_PATHS = 16 };

static char temp_directory[TEMP_PATH_MAX];

static inline void temp_directory_make(void) {
        const char *base = getenv("TMPDIR");

        snprintf(temp_directory, sizeof(temp_directory), "%s/directserver-test-XXXXXX", base && *base ? base : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(temp_directory));
}

static inline int temp_remove_one(const char *path, const struct stat *st, int type, struct FTW *walk) {
        return remove(path);
}

static inline void temp_directory_remove(void) {
        ck_assert_int_eq(nftw(temp_directory, temp_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* The path of `name` in the directory; valid for the next TEMP_N_PATHS - 1 calls. */
static inline const char *temp_path(const char *name) {
        static char paths[TEMP_N_PATHS][TEMP_PATH_MAX + 64];
        static unsigned i;

        i = (i + 1) % TEMP_N_PATHS;
        snprintf(paths[i], sizeof(paths[i]), "%s/%s", temp_directory, name);
        return paths[i];
}

static inline const char *temp_write_bytes(const char *name, const void *data, size_t size) {
        const char *path = temp_path(name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(write(fd, data, size), (ssize_t) size);
        close(fd);
        return path;
}

static inline const char *temp_write(const char *name, const char *text) {
        return temp_write_bytes(name, text, strlen(text));
}

static inline void temp_mkdir(const char *name) {
        ck_assert_int_eq(mkdir(temp_path(name), 0700), 0);
}
