/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A directory with up to four files. "next-id" is one line of text, the first id that nobody has; "resume-key" is the key of
 * the tokens, unless that is a credential (state-key.c); "resumable" is the account of who may resume (state-account.c), and
 * "resumable.lock" is empty. The object owns the directory's descriptor, which is also what is locked for each change, so such
 * a lock never outlives its holder. All access goes through that descriptor: a directory that is renamed meanwhile stays the
 * same directory. The lock of the account is held for as long as the object lives, and needs a file that nobody replaces.
 *
 * next-id is made before all others. So a key or a lock without a counter never comes from a crash of ours; it means that
 * somebody removed the counter, and with it the knowledge which ids were used. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/state-file.h"
#include "service/state.h"
#include "service/token.h"

#define STATE_ID_FILE "next-id"
#define STATE_LOCK_FILE STATE_ACCOUNT_FILE ".lock"

/* Ids are 1 to 2^63-1: bit 63 says group. The counter may rest one above the last. */
#define STATE_NEXT_ID_MAX (UINT64_C(1) << 63)

enum {
        STATE_ID_TEXT_MAX = sizeof("next-id=9223372036854775808\n") - 1,
        STATE_READ_MAX = 64, /* more than the counter has, so that one too long is seen to be so */
};

struct State {
        char *path;
        int fd;
        StateKey key;
        int lock_fd; /* of the account */
        bool is_new; /* there was no service here before */
        StateAccount account;
        StateLoss loss;
};

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

static void free_text(char **text) {
        free(*text);
}

/* Where the state is */

static char *default_path(const char *instance) {
        const char *directory = getenv("STATE_DIRECTORY"), *base;
        const char *of = instance ? "/instances/" : "", *name = instance ? instance : "";
        char *path = NULL;
        int r;

        if (directory && *directory)
                return strndup(directory, strcspn(directory, ":")); /* systemd.exec(5): a list, if the unit names several */
        if (geteuid() == 0)
                r = asprintf(&path, "/var/lib/directserver%s%s", of, name);
        else if ((base = getenv("XDG_STATE_HOME")) && *base == '/')
                r = asprintf(&path, "%s/directserver%s%s", base, of, name);
        else if ((base = getenv("HOME")) && *base == '/')
                r = asprintf(&path, "%s/.local/state/directserver%s%s", base, of, name);
        else
                return strdup("");
        return r < 0 ? NULL : path;
}

/* A directory that was just made is itself an entry in its parent. If a power failure took that entry, ids would begin at 1
 * again. A parent that we may not open is skipped: nothing can be done about it. */
static void sync_parent(int dirfd) {
        __attribute__((cleanup(close_fd))) int fd = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd >= 0)
                (void) fsync(fd);
}

static int make_one_directory(const char *path) {
        __attribute__((cleanup(close_fd))) int fd = -1;

        if (mkdir(path, 0700) < 0)
                return errno == EEXIST ? 0 : -errno;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        sync_parent(fd);
        return 0;
}

/* mkdir -p, 0700. */
static int make_directory(const char *path) {
        __attribute__((cleanup(free_text))) char *partial = strdup(path);

        if (!partial)
                return -ENOMEM;
        for (char *p = partial + strspn(partial, "/"); *p;) {
                char *end = p + strcspn(p, "/"), kept = *end;
                int r;

                *end = '\0';
                r = make_one_directory(partial);
                if (r < 0)
                        return r;
                *end = kept;
                p = end + strspn(end, "/");
        }
        return 0;
}

/* Whoever may write here can give out ids twice and read the key, so nobody else may. */
static int check_directory(const State *s, char **ret_error) {
        struct stat st;

        if (fstat(s->fd, &st) < 0)
                return state_file_fail(ret_error, -errno, "%s: %m", s->path);
        if (st.st_uid != 0 && st.st_uid != geteuid())
                return state_file_fail(ret_error, -EPERM,
                            "%s: belongs to user %u, not to us; give another directory with --state-directory=", s->path,
                            (unsigned) st.st_uid);
        if (st.st_mode & (S_IWGRP | S_IWOTH))
                return state_file_fail(ret_error, -EPERM, "%s: others may write to it; run: chmod go-w %s", s->path, s->path);
        return 0;
}

/* The counter */

/* Exactly "next-id=N\n", with no leading zeros: what else there is was not written by us. */
static int parse_next_id(const uint8_t *data, size_t n, uint64_t *ret) {
        const size_t n_key = sizeof("next-id=") - 1;
        uint64_t v = 0;

        if (n < n_key + 2 || memcmp(data, "next-id=", n_key) != 0 || data[n_key] == '0' || data[n - 1] != '\n')
                return -EUCLEAN;
        for (size_t i = n_key; i < n - 1; i++) {
                if (data[i] < '0' || data[i] > '9' || v > (STATE_NEXT_ID_MAX - (uint64_t) (data[i] - '0')) / 10)
                        return -EUCLEAN;
                v = v * 10 + (uint64_t) (data[i] - '0');
        }
        *ret = v;
        return 0;
}

static int read_next_id(int dirfd, uint64_t *ret) {
        uint8_t data[STATE_READ_MAX];
        ssize_t n = state_file_read(dirfd, STATE_ID_FILE, false, data, sizeof(data));

        return n < 0 ? (int) n : parse_next_id(data, (size_t) n, ret);
}

static int write_next_id(int dirfd, uint64_t next_id) {
        char text[STATE_ID_TEXT_MAX + 1];
        int n = snprintf(text, sizeof(text), "next-id=%" PRIu64 "\n", next_id);

        return state_file_replace(dirfd, STATE_ID_FILE, text, (size_t) n);
}

/* Opening */

static bool has_file(const State *s, const char *name) {
        return faccessat(s->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int load_counter(State *s, char **ret_error) {
        uint64_t next_id;
        int r = read_next_id(s->fd, &next_id);

        if (r != -ENOENT)
                return r < 0 ? state_file_explain(s->path, STATE_ID_FILE, r, ret_error) : 0;
        if (has_file(s, STATE_KEY_FILE) || has_file(s, STATE_LOCK_FILE))
                return state_file_fail(ret_error, -EUCLEAN,
                            "%s/" STATE_ID_FILE " is missing, so nobody knows which ids were used; bring it back from a backup, "
                            "or stop all clients and remove %s",
                            s->path, s->path);
        r = write_next_id(s->fd, 1);
        if (r < 0)
                return state_file_explain(s->path, STATE_ID_FILE, r, ret_error);
        s->is_new = true;
        sync_parent(s->fd); /* the directory may be one that the service manager made a moment ago */
        return 0;
}

/* With another key than the one that they have tokens of, nobody can resume. Nobody should wait for them, then. */
static void get_key_mark(const State *s, char ret[static STATE_ACCOUNT_MARK_SIZE]) {
        uint8_t hash[WIRE_TOKEN_SIZE];

        token_make(s->key.bytes, 0, (WireText) { .data = "" }, "account", hash); /* no client has the id 0 */
        for (size_t i = 0; i < STATE_ACCOUNT_MARK_SIZE / 2; i++)
                sprintf(ret + 2 * i, "%02x", hash[i]);
}

static int load_account(State *s, char **ret_error) {
        char mark[STATE_ACCOUNT_MARK_SIZE];
        int r;

        s->lock_fd = openat(s->fd, STATE_LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (s->lock_fd < 0)
                return state_file_explain(s->path, STATE_LOCK_FILE, -errno, ret_error);
        if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0) {
                s->loss = STATE_LOSS_SHARED;
                return 0;
        }
        get_key_mark(s, mark);
        r = state_account_open(&s->account, s->fd, mark, &s->loss);
        if (r < 0)
                return state_file_explain(s->path, STATE_ACCOUNT_FILE, r, ret_error);
        if (s->loss == STATE_LOSS_MISSING && s->is_new)
                s->loss = STATE_LOSS_NONE;
        return 0;
}

static int load_files(State *s, char **ret_error) {
        __attribute__((cleanup(state_file_unlockp))) int locked = s->fd;
        int r;

        r = state_file_lock(locked);
        if (r < 0)
                return state_file_fail(ret_error, r, "%s: can't be locked: %m", s->path);
        r = load_counter(s, ret_error);
        if (r >= 0)
                r = state_key_load(s->fd, s->path, &s->key, ret_error);
        s->is_new |= s->key.is_new;
        return r >= 0 ? load_account(s, ret_error) : r;
}

static void free_state(State **s) {
        state_free(*s);
}

int state_open(const char *path, const char *instance, State **ret_state, char **ret_error) {
        __attribute__((cleanup(free_state))) State *s = NULL;
        int r;

        *ret_error = NULL;
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->fd = s->lock_fd = -1;
        s->account = STATE_ACCOUNT_NULL;
        s->path = path ? strdup(path) : default_path(instance);
        if (!s->path)
                return -ENOMEM;
        if (!*s->path)
                return state_file_fail(ret_error, -ENOENT,
                            "no place for the state: neither $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME is set; "
                            "give one with --state-directory=");

        s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->fd < 0 && errno == ENOENT) {
                r = make_directory(s->path);
                if (r < 0)
                        return state_file_fail(ret_error, r, "%s: can't be made: %m", s->path);
                s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        if (s->fd < 0)
                return state_file_fail(ret_error, -errno, "%s: %m", s->path);
        r = check_directory(s, ret_error);
        if (r < 0)
                return r;
        r = load_files(s, ret_error);
        if (r < 0)
                return r;

        *ret_state = s;
        s = NULL;
        return 0;
}

State *state_free(State *s) {
        if (!s)
                return NULL;
        state_account_close(&s->account);
        close_fd(&s->lock_fd);
        close_fd(&s->fd);
        explicit_bzero(&s->key, sizeof(s->key));
        free(s->path);
        free(s);
        return NULL;
}

const uint8_t *state_get_key(const State *s) {
        return s->key.bytes;
}

bool state_has_credential(const State *s) {
        return s->key.is_credential;
}

const char *state_get_path(const State *s) {
        return s->path;
}

int state_reserve_ids(State *s, uint64_t n, uint64_t *ret_first) {
        __attribute__((cleanup(state_file_unlockp))) int locked = s->fd;
        uint64_t first;
        int r;

        if (n == 0)
                return -EINVAL;
        r = state_file_lock(locked);
        if (r < 0)
                return r;
        r = read_next_id(s->fd, &first);
        if (r < 0)
                return r;
        if (n > STATE_NEXT_ID_MAX - first)
                return -EOVERFLOW;
        r = write_next_id(s->fd, first + n);
        if (r < 0)
                return r;
        /* Without room in the account, for memory or on the disk, they can't resume. */
        if (state_account_add(&s->account, (IdRange) { first, first + n }) >= 0)
                (void) state_account_settle(&s->account);
        *ret_first = first;
        return 0;
}

const IdRanges *state_get_resumable(const State *s) {
        return &s->account.resumable;
}

StateLoss state_get_loss(const State *s) {
        return s->loss;
}

int state_add_resumable(State *s, IdRange ids) {
        return state_account_add(&s->account, ids);
}

void state_end_ids(State *s, IdRange ids) {
        state_account_end(&s->account, ids);
}

int state_settle(State *s) {
        return state_account_settle(&s->account);
}
