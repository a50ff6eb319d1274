/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs a target once over each file of the directories that are named, so that what a fuzzer has found stays tested, with any
 * compiler. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"

enum { INPUT_MAX = 1 << 20 }; /* as libFuzzer's own default */

static int run_file(int dirfd, const char *directory, const char *name) {
        int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
        uint8_t *data = NULL;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                goto failed;
        if (st.st_size > INPUT_MAX) {
                errno = EFBIG;
                goto failed;
        }
        data = malloc((size_t) st.st_size + !st.st_size); /* of just this size, for the sanitizers */
        if (!data || read(fd, data, (size_t) st.st_size) != st.st_size)
                goto failed;
        close(fd);
        fprintf(stderr, "%s/%s\n", directory, name); /* the last that is named is the one that crashed */
        LLVMFuzzerTestOneInput(data, (size_t) st.st_size);
        free(data);
        return 1;

failed:
        fprintf(stderr, "%s/%s: %s\n", directory, name, strerror(errno));
        free(data);
        if (fd >= 0)
                close(fd);
        return -1;
}

static int run_directory(const char *path) {
        DIR *directory = opendir(path);
        const struct dirent *entry;
        int n = 0;

        if (!directory) {
                fprintf(stderr, "%s: %s\n", path, strerror(errno));
                return -1;
        }
        while (n >= 0 && (entry = readdir(directory)))
                if (entry->d_name[0] != '.')
                        n = run_file(dirfd(directory), path, entry->d_name) < 0 ? -1 : n + 1;
        closedir(directory);
        return n;
}

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                if (run_directory(argv[i]) <= 0) /* an empty corpus tests nothing: a mistake */
                        return EXIT_FAILURE;
        return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
