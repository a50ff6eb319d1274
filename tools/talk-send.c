/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* send and broadcast. What is small goes as one message; a large file is read by the library as it goes out; anything else that
 * is large, a pipe for instance, is a stream of pieces. None of them is ever held in memory as a whole, but for a broadcast,
 * which has to be one message.
 *
 * A message has been sent when the program that it is for has taken it: the verb waits for that before it leaves, and goes on
 * when the service was restarted meanwhile. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/talk-session.h"

enum {
        SEND_SMALL = 65536, /* one frame: beyond it there is something to gain from not waiting for the end of the input */
};
#define BROADCAST_MAX (UINT64_C(64) << 20) /* the default max_message of those who receive it */
#define PROGRESS_TURN_USEC UINT64_C(100000)

static inline void close_fd(int *fd) {
        if (*fd > STDIN_FILENO)
                close(*fd);
}
#define _cleanup_input_ __attribute__((cleanup(close_fd)))

static inline void free_buffer(uint8_t **p) {
        free(*p);
}
#define _cleanup_buffer_ __attribute__((cleanup(free_buffer)))

/* Opens the argument, or takes stdin. *ret_regular is the size if it is a regular file that is read from its start, else 0. */
static int input_open(Talk *talk, const char *path, int *ret_fd, uint64_t *ret_regular) {
        struct stat st;
        int fd = STDIN_FILENO;

        if (path) {
                fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
                if (fd < 0) {
                        talk_say(talk, "cannot open '%s': %s", path, strerror(errno));
                        return TALK_EXIT_FAILURE;
                }
        }
        if (fstat(fd, &st) < 0 || S_ISDIR(st.st_mode)) {
                talk_say(talk, "cannot read '%s': %s", path ?: "stdin", S_ISDIR(st.st_mode) ? strerror(EISDIR) : strerror(errno));
                close_fd(&fd);
                return TALK_EXIT_FAILURE;
        }
        *ret_regular = S_ISREG(st.st_mode) && (path || lseek(fd, 0, SEEK_CUR) == 0) ? (uint64_t) st.st_size : 0;
        *ret_fd = fd;
        return 0;
}

/* Reads until the buffer is full or the input ends, and goes on with the loop meanwhile. Returns the number of bytes, or as
 * talk_turn(); -EIO if the input cannot be read, which has been said then. */
static ssize_t input_read(Talk *talk, int fd, uint8_t *buffer, size_t size) {
        size_t n = 0;

        while (n < size) {
                ssize_t k;
                int r;

                /* A regular file is always readable; for the rest, the wait is here and not in read() */
                r = talk_turn(talk, fd, DIRECT_FOREVER);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;
                k = read(fd, buffer + n, size - n);
                if (k < 0 && (errno == EAGAIN || errno == EINTR))
                        continue;
                if (k < 0) {
                        talk_say(talk, "cannot read the input: %s", strerror(errno));
                        return -EIO;
                }
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        return (ssize_t) n;
}

static int send_piece(Talk *talk, uint32_t stream, const uint8_t *data, size_t size) {
        for (;;) {
                int r = direct_stream_write(talk->client, stream, data, size);

                if (r != -EAGAIN)
                        return r;
                r = talk_turn(talk, -1, DIRECT_FOREVER); /* DIRECT_EVENT_WRITABLE ends it */
                if (r < 0)
                        return r;
        }
}

/* The rest of the input behind the `n` bytes that were read already */
static int send_stream(Talk *talk, uint64_t target, const char *label, int fd, uint8_t *buffer, size_t n) {
        uint64_t done = 0;
        uint32_t stream;
        int r;

        r = direct_stream_begin(talk->client, target, talk->kind, DIRECT_SIZE_UNKNOWN, &stream);
        if (r < 0)
                return r;
        progress_begin(&talk->progress, label, DIRECT_SIZE_UNKNOWN, talk_now());
        while (n > 0) {
                ssize_t k;

                r = send_piece(talk, stream, buffer, n);
                if (r < 0)
                        return r;
                if (talk->undelivered < 0)
                        return talk->undelivered;
                done += n;
                progress_update(&talk->progress, done, talk_now());
                k = input_read(talk, fd, buffer, SEND_SMALL);
                if (k < 0)
                        return (int) k;
                n = (size_t) k;
        }
        return direct_stream_end(talk->client, stream);
}

static int send_file(Talk *talk, uint64_t target, const char *label, int fd, uint64_t size) {
        int r;

        talk->answer = (TalkAnswer) {};
        r = direct_send_fd(talk->client, target, talk->kind, fd, size, talk_on_sent, talk);
        if (r < 0)
                return r;
        progress_begin(&talk->progress, label, size, talk_now());
        while (!talk->answer.done) {
                r = talk_turn(talk, -1, talk_now() + PROGRESS_TURN_USEC);
                if (r < 0 && r != -ETIMEDOUT)
                        return r;
                if (talk->undelivered < 0)
                        return talk->undelivered;
                progress_update(&talk->progress, direct_get_sent(talk->client), talk_now());
        }
        if (talk->answer.result == -EIO)
                talk_say(talk, "cannot read '%s' to its end", label);
        return talk->answer.result;
}

static int send_input(Talk *talk, uint64_t target, const char *label, int fd, uint64_t regular) {
        _cleanup_buffer_ uint8_t *buffer = NULL;
        ssize_t n;
        int r;

        if (regular > SEND_SMALL)
                r = send_file(talk, target, label, fd, regular);
        else {
                buffer = malloc(SEND_SMALL);
                if (!buffer)
                        return -ENOMEM;
                n = input_read(talk, fd, buffer, SEND_SMALL);
                if (n < 0)
                        return (int) n;
                r = n == SEND_SMALL ? send_stream(talk, target, label, fd, buffer, SEND_SMALL) :
                                      direct_send(talk->client, target, talk->kind, buffer, (size_t) n);
        }
        return r < 0 ? r : talk_settle(talk, DIRECT_FOREVER);
}

int talk_send(Talk *talk, int argc, char **argv) {
        _cleanup_input_ int fd = -1;
        char what[128];
        DirectAlive peer = {};
        uint64_t regular;
        int r;

        r = input_open(talk, argv[1], &fd, &regular);
        if (r > 0)
                return r;
        talk->stays = true; /* what is under way goes on when the connection is back */
        r = talk_connect(talk);
        if (r > 0)
                return r;

        snprintf(what, sizeof(what), "cannot send to '%.64s'", argv[0]);
        r = talk_find(talk, argv[0], &peer);
        if (r < 0)
                return talk_fail(talk, r, what);

        talk->delivering = peer.id;
        r = send_input(talk, peer.id, argv[1] ? basename(argv[1]) : "stdin", fd, regular);
        progress_end(&talk->progress);
        return r < 0 ? talk_fail(talk, r, what) : TALK_EXIT_SUCCESS;
}

/* Grows up to BROADCAST_MAX: memory is used as the input comes, not before. */
static int read_whole(Talk *talk, int fd, uint8_t **ret_data, size_t *ret_size) {
        _cleanup_buffer_ uint8_t *data = NULL;
        size_t size = 0, room = SEND_SMALL;

        for (;; room *= 2) {
                uint8_t *p = realloc(data, room + 1); /* one more byte tells the end from the limit */
                ssize_t n;

                if (!p)
                        return -ENOMEM;
                data = p;
                n = input_read(talk, fd, data + size, room + 1 - size);
                if (n < 0)
                        return (int) n;
                size += (size_t) n;
                if (size <= room)
                        break;
                if (room >= BROADCAST_MAX)
                        return -EMSGSIZE;
        }
        *ret_data = data;
        *ret_size = size;
        data = NULL;
        return 0;
}

int talk_broadcast(Talk *talk, int argc, char **argv) {
        _cleanup_input_ int fd = -1;
        _cleanup_buffer_ uint8_t *data = NULL;
        uint64_t regular;
        size_t size = 0;
        int r;

        r = input_open(talk, argv[0], &fd, &regular);
        if (r > 0)
                return r;
        talk->stays = true; /* what is under way goes on when the connection is back */
        r = talk_connect(talk);
        if (r > 0)
                return r;

        r = read_whole(talk, fd, &data, &size);
        if (r >= 0)
                r = direct_broadcast(talk->client, talk->kind, data, size);
        if (r >= 0)
                r = talk_settle(talk, DIRECT_FOREVER);
        if (r == -EMSGSIZE) {
                talk_say(talk, "cannot broadcast: at most 64 MiB go to everyone at once");
                return TALK_EXIT_FAILURE;
        }
        return r < 0 ? talk_fail(talk, r, "cannot broadcast") : TALK_EXIT_SUCCESS;
}
