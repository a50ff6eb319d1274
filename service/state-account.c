/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The first line of the file says when it counts, "boot=" and the id of the boot of this machine, the second, "key=", with
 * which key the tokens of clients were made; "+FIRST-LAST" lines say which ids may resume, "-FIRST-LAST" lines which no more.
 * Lines are appended; when they have become many more than what they come to, the file is written anew. So an end costs a few
 * bytes, and the file has about a line for each client that is there.
 *
 * What is appended outlives this process as soon as write() has returned, and the machine only when the kernel has taken it to
 * the disk. To wait for that would stop all messages for as long as the disk takes, for each client that leaves. So a file that
 * was not closed counts only for the boot that it was written in: after a crash of the machine nobody resumes, rather than
 * somebody who is said to be gone. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/state-account.h"
#include "service/state-file.h"

#define ACCOUNT_CLOSED "closed" /* instead of a boot */
#define ACCOUNT_KEY "key="
#define ACCOUNT_BOOT_FILE "/proc/sys/kernel/random/boot_id"

enum {
        ACCOUNT_BOOT_MAX = 64, /* an id has 32 digits, in the kernel's form 4 hyphens as well */
        ACCOUNT_LINE_MAX = sizeof("+9223372036854775807-9223372036854775807\n") - 1,
        /* … and twice what it was, between two whole writes: that is some 65,000 ends, so there are about as many as blocks of
         * ids are reserved, and reading it takes a moment. */
        ACCOUNT_APPENDED_MAX = 1024 * 1024,
};

/* The unit passes it on, because a service in its sandbox does not see that file. Empty: not known, and like no other. */
static void get_boot(char ret[static ACCOUNT_BOOT_MAX + 1]) {
        const char *given = getenv("DIRECTSERVER_BOOT_ID");
        ssize_t n = 0;
        int fd;

        if (given && *given)
                n = snprintf(ret, ACCOUNT_BOOT_MAX + 1, "%s", given);
        else if ((fd = open(ACCOUNT_BOOT_FILE, O_RDONLY | O_CLOEXEC)) >= 0) {
                n = read(fd, ret, ACCOUNT_BOOT_MAX);
                close(fd);
        }
        ret[n < 0 || n > ACCOUNT_BOOT_MAX ? 0 : n] = '\0';
        ret[strspn(ret, "0123456789abcdef-")] = '\0';
}

/* Reading */

/* "FIRST-LAST\n" */
static const char *parse_range(const char *p, const char *end, IdRange *ret) {
        uint64_t numbers[2] = {};

        for (size_t i = 0; i < 2; i++) {
                if (p == end || *p < '1' || *p > '9')
                        return NULL;
                for (; p < end && *p >= '0' && *p <= '9'; p++) {
                        if (numbers[i] > (INT64_MAX - (uint64_t) (*p - '0')) / 10)
                                return NULL;
                        numbers[i] = numbers[i] * 10 + (uint64_t) (*p - '0');
                }
                if (p == end || *p++ != "-\n"[i])
                        return NULL;
        }
        if (numbers[0] > numbers[1])
                return NULL;
        *ret = (IdRange) { numbers[0], numbers[1] + 1 };
        return p;
}

static int parse_lines(const char *p, const char *end, IdRanges *ret) {
        while (p < end) {
                char sign = *p++;
                IdRange range;

                p = parse_range(p, end, &range);
                if (!p || (sign != '+' && sign != '-'))
                        return -EUCLEAN;
                if (sign == '-')
                        (void) idranges_remove(ret, range);
                else if (idranges_add(ret, range) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* Does a file that says this as its boot say what is so now? */
static bool is_current(const char *boot, size_t n) {
        char now[ACCOUNT_BOOT_MAX + 1];

        get_boot(now);
        return (n == strlen(ACCOUNT_CLOSED) && memcmp(boot, ACCOUNT_CLOSED, n) == 0) ||
               (n > 0 && n == strlen(now) && memcmp(boot, now, n) == 0);
}

/* A file of a service that knew of no other keys has no such line. Returns what follows it, or NULL: it is another key. */
static const char *skip_key(const char *p, const char *end, const char *mark) {
        const size_t n_word = strlen(ACCOUNT_KEY), n = n_word + strlen(mark);

        if ((size_t) (end - p) < n_word || memcmp(p, ACCOUNT_KEY, n_word) != 0)
                return p;
        return (size_t) (end - p) > n && memcmp(p + n_word, mark, n - n_word) == 0 && p[n] == '\n' ? p + n + 1 : NULL;
}

static int parse(const char *text, size_t n, const char *mark, IdRanges *ret, StateLoss *ret_loss) {
        static const char key[] = "boot=";
        const char *newline = memchr(text, '\n', n), *boot = text + sizeof(key) - 1, *end, *p;

        if (!newline || newline < boot || memcmp(text, key, sizeof(key) - 1) != 0)
                return -EUCLEAN;
        if (!is_current(boot, (size_t) (newline - boot))) {
                *ret_loss = STATE_LOSS_MACHINE;
                return 0;
        }
        /* What is behind the last whole line was being written when its writer was killed, so nobody was told. */
        end = memrchr(text, '\n', n);
        p = skip_key(newline + 1, end + 1, mark);
        if (!p) {
                *ret_loss = STATE_LOSS_KEY;
                return 0;
        }
        return parse_lines(p, end + 1, ret);
}

static void free_text(char **text) {
        free(*text);
}

static int load(StateAccount *a, StateLoss *ret_loss) {
        __attribute__((cleanup(free_text))) char *text = NULL;
        struct stat st;
        ssize_t n;
        int r;

        if (fstatat(a->dirfd, STATE_ACCOUNT_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                if (errno != ENOENT)
                        return -errno;
                *ret_loss = STATE_LOSS_MISSING;
                return 0;
        }
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        n = state_file_read(a->dirfd, STATE_ACCOUNT_FILE, false, (uint8_t *) text, (size_t) st.st_size);
        if (n < 0)
                return (int) n;
        r = parse(text, (size_t) n, a->mark, &a->resumable, ret_loss);
        if (r == -EUCLEAN)
                *ret_loss = STATE_LOSS_DAMAGED;
        if (*ret_loss != STATE_LOSS_NONE)
                idranges_deinit(&a->resumable);
        return r == -EUCLEAN ? 0 : r;
}

/* Writing */

static size_t print_line(char *p, char sign, IdRange ids) {
        return (size_t) sprintf(p, "%c%" PRIu64 "-%" PRIu64 "\n", sign, ids.first, ids.end - 1);
}

/* No file, no resuming: what is on the disk must not say more than is so. */
static int give_up(StateAccount *a, int error) {
        if (a->fd >= 0)
                close(a->fd);
        a->fd = -1;
        a->n_text = 0;
        a->has_lost_text = true;
        if (unlinkat(a->dirfd, STATE_ACCOUNT_FILE, 0) < 0 && errno != ENOENT)
                return -errno;
        return error;
}

typedef int (*ReplaceFunction)(int dirfd, const char *name, const void *data, size_t size);

static int write_whole(StateAccount *a, const char *boot, ReplaceFunction replace) {
        __attribute__((cleanup(free_text))) char *text = NULL;
        size_t n = 0;
        int r;

        text = malloc(sizeof("boot=\n" ACCOUNT_KEY "\n") + ACCOUNT_BOOT_MAX + STATE_ACCOUNT_MARK_SIZE +
                      a->resumable.n * ACCOUNT_LINE_MAX + 1);
        if (!text)
                return -ENOMEM;
        n += (size_t) sprintf(text, "boot=%s\n" ACCOUNT_KEY "%s\n", boot, a->mark);
        for (size_t i = 0; i < a->resumable.n; i++)
                n += print_line(text + n, '+', a->resumable.ranges[i]);
        r = replace(a->dirfd, STATE_ACCOUNT_FILE, text, n);
        if (r < 0)
                return r;
        if (a->fd >= 0)
                close(a->fd);
        a->fd = openat(a->dirfd, STATE_ACCOUNT_FILE, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
        if (a->fd < 0)
                return -errno;
        a->n_file = a->n_rewritten = n;
        a->n_text = 0;
        a->has_lost_text = false;
        return 0;
}

static int write_anew(StateAccount *a, ReplaceFunction replace) {
        char boot[ACCOUNT_BOOT_MAX + 1];
        int r;

        get_boot(boot);
        r = write_whole(a, boot, replace);
        return r < 0 ? give_up(a, r) : 0;
}

int state_account_settle(StateAccount *a) {
        int r;

        if (!a->is_kept || (a->n_text == 0 && !a->has_lost_text))
                return 0;
        if (a->fd < 0 || a->has_lost_text || a->n_file + a->n_text > ACCOUNT_APPENDED_MAX + 3 * a->n_rewritten)
                return write_anew(a, state_file_replace_unsynced);
        r = state_file_append(a->fd, a->text, a->n_text);
        if (r < 0)
                return give_up(a, r); /* some of it, and half a line, may be there */
        a->n_file += a->n_text;
        a->n_text = 0;
        return 0;
}

/* Changes */

static void note(StateAccount *a, char sign, IdRange ids) {
        if (a->has_lost_text)
                return;
        if (a->n_text + ACCOUNT_LINE_MAX + 1 > a->n_text_allocated) {
                size_t n = a->n_text_allocated * 2 + 1024;
                char *text = realloc(a->text, n);

                if (!text) {
                        a->has_lost_text = true;
                        return;
                }
                a->text = text;
                a->n_text_allocated = n;
        }
        a->n_text += print_line(a->text + a->n_text, sign, ids);
}

int state_account_add(StateAccount *a, IdRange ids) {
        int r;

        if (!a->is_kept)
                return 0;
        r = idranges_add(&a->resumable, ids);
        if (r >= 0)
                note(a, '+', ids);
        return r;
}

void state_account_end(StateAccount *a, IdRange ids) {
        if (a->is_kept)
                note(a, '-', idranges_remove(&a->resumable, ids));
}

/* Beginning and end */

int state_account_open(StateAccount *a, int dirfd, const char *mark, StateLoss *ret_loss) {
        StateLoss loss = STATE_LOSS_NONE;
        int r;

        a->dirfd = dirfd;
        snprintf(a->mark, sizeof(a->mark), "%s", mark);
        r = load(a, &loss);
        /* On the disk before anything happens: a file that says "closed" would be believed after a crash of the machine. */
        if (r >= 0)
                r = write_anew(a, state_file_replace);
        if (r < 0)
                return r;
        a->is_kept = true;
        *ret_loss = loss;
        return 0;
}

void state_account_close(StateAccount *a) {
        if (state_account_settle(a) >= 0 && a->is_kept)
                (void) write_whole(a, ACCOUNT_CLOSED, state_file_replace); /* else it counts for this boot only */
        if (a->fd >= 0)
                close(a->fd);
        idranges_deinit(&a->resumable);
        free(a->text);
        *a = STATE_ACCOUNT_NULL;
}
