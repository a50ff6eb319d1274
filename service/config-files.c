/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* econf_readDirs() of libeconf 0.5.1 was measured and does not serve: it reads all drop-ins of the vendor before all of the
 * administrator, so that 15-x.conf of the one beats 20-y.conf of the other; it fails on a drop-in that is masked by a link to
 * /dev/null; it forgets which file a value came from; and it crashes on a file that holds nothing but a section. So the files
 * are found here, in the order that `systemd-analyze cat-config` shows. Owns nothing but the list that it returns. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "service/config-files.h"

static void free_text(char **text) {
        free(*text);
}

static void close_directory(DIR **directory) {
        if (*directory)
                closedir(*directory);
}

static int fail(char **ret_error, int error, const char *path, const char *what) {
        if (asprintf(ret_error, "%s: %s", path, what) < 0) {
                *ret_error = NULL;
                return -ENOMEM;
        }
        return error;
}

void config_files_deinit(ConfigFiles *files) {
        for (size_t i = 0; i < files->n; i++)
                free(files->paths[i]);
        free(files->paths);
        *files = CONFIG_FILES_NULL;
}

static const char *base_name(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static bool files_have(const ConfigFiles *files, const char *name) {
        for (size_t i = 0; i < files->n; i++)
                if (strcmp(base_name(files->paths[i]), name) == 0)
                        return true;
        return false;
}

/* Takes the path over, also when it fails. */
static int files_add(ConfigFiles *files, char *path) {
        char **grown = path ? reallocarray(files->paths, files->n + 1, sizeof(*grown)) : NULL;

        if (!grown) {
                free(path);
                return -ENOMEM;
        }
        files->paths = grown;
        files->paths[files->n++] = path;
        return 0;
}

static char *join(const char *directory, const char *name) {
        char *path;

        return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

static bool is_dropin_name(const char *name) {
        size_t n = strlen(name);

        return name[0] != '.' && n > 5 && strcmp(name + n - 5, ".conf") == 0;
}

/* Adds the drop-ins of base.d/ but for names that are there already: the directory that is collected first goes before. */
static int collect(ConfigFiles *files, const char *base, char **ret_error) {
        __attribute__((cleanup(close_directory))) DIR *directory = NULL;
        __attribute__((cleanup(free_text))) char *path = NULL;
        const struct dirent *entry;

        if (asprintf(&path, "%s.d", base) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        directory = opendir(path);
        if (!directory)
                return errno == ENOENT ? 0 : fail(ret_error, -errno, path, strerror(errno));
        while ((errno = 0, entry = readdir(directory))) {
                int r;

                if (!is_dropin_name(entry->d_name) || files_have(files, entry->d_name))
                        continue;
                r = files_add(files, join(path, entry->d_name));
                if (r < 0)
                        return r;
        }
        return errno != 0 ? fail(ret_error, -errno, path, strerror(errno)) : 0;
}

static int compare_names(const void *a, const void *b) {
        return strcmp(base_name(*(char *const *) a), base_name(*(char *const *) b));
}

static bool exists(const char *path) {
        return faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The paths without regard to what they are: the base first, if there is one, then the drop-ins. */
static int list_paths(const char *base, const char *vendor_base, ConfigFiles *files, char **ret_error) {
        __attribute__((cleanup(config_files_deinit))) ConfigFiles dropins = CONFIG_FILES_NULL;
        int r = 0;

        if (!vendor_base || exists(base))
                r = files_add(files, strdup(base));
        else if (exists(vendor_base))
                r = files_add(files, strdup(vendor_base));
        if (r >= 0)
                r = collect(&dropins, base, ret_error);
        if (r >= 0 && vendor_base)
                r = collect(&dropins, vendor_base, ret_error);
        if (r < 0)
                return r;
        if (dropins.n > 0)
                qsort(dropins.paths, dropins.n, sizeof(*dropins.paths), compare_names);
        for (size_t i = 0; i < dropins.n; i++) {
                char *path = dropins.paths[i];

                dropins.paths[i] = NULL;
                r = files_add(files, path);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* What libeconf can't tell: it reads a directory as an empty file and calls one that it may not read missing. Returns 1 if the
 * file is to be read, 0 if it is masked. */
static int check_file(const char *path, char **ret_error) {
        struct stat st;
        int fd, r;

        fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0)
                return fail(ret_error, -errno, path, strerror(errno));
        r = fstat(fd, &st) < 0 ? -errno : 0;
        close(fd);
        if (r < 0)
                return fail(ret_error, r, path, strerror(-r));
        if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3)) /* /dev/null, see null(4) */
                return 0;
        return S_ISREG(st.st_mode) ? 1 : fail(ret_error, -EINVAL, path, "this is not a file");
}

int config_files_find(const char *base, const char *vendor_base, ConfigFiles *ret_files, char **ret_error) {
        __attribute__((cleanup(config_files_deinit))) ConfigFiles files = CONFIG_FILES_NULL;
        size_t n = 0;
        int r;

        r = list_paths(base, vendor_base, &files, ret_error);
        if (r < 0)
                return r;
        for (size_t i = 0; i < files.n; i++) {
                r = check_file(files.paths[i], ret_error);
                if (r < 0)
                        return r;
                if (r > 0) {
                        char *path = files.paths[n];

                        files.paths[n++] = files.paths[i];
                        files.paths[i] = path;
                }
        }
        while (files.n > n)
                free(files.paths[--files.n]);
        *ret_files = files;
        files = CONFIG_FILES_NULL;
        return 0;
}
