/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where the key of the resume tokens comes from. A credential goes before the state directory's file: systemd may have unsealed
 * it with the machine's TPM, and it need not be what lies on a disk or in a backup. It is not checked who else may read it: it
 * lies in memory that systemd has closed to others, and its mode there says nothing, because the access list counts as a
 * group. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "service/state-file.h"
#include "service/state-key.h"

enum {
        READ_SIZE = 2 * STATE_KEY_SIZE, /* so that one too long is seen to be so */
};

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

/* Returns 0, or -EUCLEAN where it has another size. */
static int read_key(int dirfd, const char *name, bool secret, StateKey *key) {
        uint8_t data[READ_SIZE];
        ssize_t n = state_file_read(dirfd, name, secret, data, sizeof(data));

        if (n == STATE_KEY_SIZE)
                memcpy(key->bytes, data, STATE_KEY_SIZE);
        explicit_bzero(data, sizeof(data));
        return n < 0 ? (int) n : n == STATE_KEY_SIZE ? 0 : -EUCLEAN;
}

/* Returns 1 if there is one, 0 if not. */
static int load_credential(StateKey *key, char **ret_error) {
        __attribute__((cleanup(close_fd))) int fd = -1;
        const char *directory = getenv("CREDENTIALS_DIRECTORY");
        int r;

        if (!directory || directory[0] != '/')
                return 0;
        fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == ENOENT)
                return 0;
        if (fd < 0)
                return state_file_fail(ret_error, -errno, "%s: %m", directory);
        r = read_key(fd, STATE_KEY_CREDENTIAL, false, key);
        if (r == -ENOENT)
                return 0;
        if (r == -EUCLEAN)
                return state_file_fail(ret_error, r,
                                       "%s/" STATE_KEY_CREDENTIAL " does not have 32 bytes, so it is no key; make the file "
                                       "that it is loaded from with: head -c 32 /dev/urandom >FILE; chmod 600 FILE",
                                       directory);
        if (r < 0)
                return state_file_explain(directory, STATE_KEY_CREDENTIAL, r, ret_error);
        key->is_credential = true;
        return 1;
}

static int make_key(int dirfd, const char *path, StateKey *key, char **ret_error) {
        int r;

        if (getrandom(key->bytes, sizeof(key->bytes), 0) != sizeof(key->bytes))
                return state_file_fail(ret_error, -errno, "no random numbers from the kernel: %m");
        key->is_new = true;
        r = state_file_replace(dirfd, STATE_KEY_FILE, key->bytes, sizeof(key->bytes));
        return r < 0 ? state_file_explain(path, STATE_KEY_FILE, r, ret_error) : 0;
}

int state_key_load(int dirfd, const char *path, StateKey *ret_key, char **ret_error) {
        StateKey key = {};
        int r;

        r = load_credential(&key, ret_error);
        if (r == 0) {
                r = read_key(dirfd, STATE_KEY_FILE, true, &key);
                if (r == -ENOENT)
                        r = make_key(dirfd, path, &key, ret_error);
                else if (r < 0)
                        r = state_file_explain(path, STATE_KEY_FILE, r, ret_error);
        }
        if (r >= 0)
                *ret_key = key;
        explicit_bzero(&key, sizeof(key));
        return r < 0 ? r : 0;
}
