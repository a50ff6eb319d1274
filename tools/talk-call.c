/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* call: a request, and its reply on stdout. Without --timeout= it waits as long as the other program computes: its death ends
 * the wait at once, so there is nothing that a time-out would have to guard against. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/talk-session.h"

#define CALL_MAX ((size_t) 64 << 20) /* a request is one message, held in memory on both sides */

static inline void free_buffer(uint8_t **p) {
        free(*p);
}
#define _cleanup_buffer_ __attribute__((cleanup(free_buffer)))

static int read_all(int fd, uint8_t **ret_data, size_t *ret_size) {
        _cleanup_buffer_ uint8_t *data = NULL;
        size_t size = 0, room = 0;

        for (;;) {
                ssize_t n;

                if (size == room) {
                        uint8_t *p;

                        if (room > CALL_MAX)
                                return -EFBIG;
                        room = room ? room * 2 : 65536;
                        p = realloc(data, room);
                        if (!p)
                                return -ENOMEM;
                        data = p;
                }
                n = read(fd, data + size, room - size);
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        *ret_data = data;
        *ret_size = size;
        data = NULL;
        return 0;
}

/* DATA as it stands, @FILE the contents of a file, - or nothing stdin */
static int call_read(Talk *talk, const char *argument, uint8_t **ret_data, size_t *ret_size) {
        int fd = STDIN_FILENO, r;

        if (argument && argument[0] != '@' && strcmp(argument, "-") != 0) {
                *ret_data = (uint8_t *) strdup(argument);
                *ret_size = strlen(argument);
                return *ret_data ? 0 : talk_fail(talk, -ENOMEM, "cannot call");
        }
        if (argument && argument[0] == '@') {
                fd = open(argument + 1, O_RDONLY | O_CLOEXEC | O_NOCTTY);
                if (fd < 0) {
                        talk_say(talk, "cannot open '%s': %s", argument + 1, strerror(errno));
                        return TALK_EXIT_FAILURE;
                }
        }
        r = read_all(fd, ret_data, ret_size);
        if (fd != STDIN_FILENO)
                close(fd);
        if (r < 0) {
                talk_say(talk, "cannot read '%s': %s", argument ? argument + (fd != STDIN_FILENO) : "stdin", strerror(-r));
                return TALK_EXIT_FAILURE;
        }
        return 0;
}

static int call_print(Talk *talk, const DirectMessage *reply) {
        const uint8_t *data = direct_message_get_data(reply);
        size_t size = direct_message_get_size(reply);

        if (isatty(STDOUT_FILENO) && !talk->raw) {
                if (!talk_is_text(data, size))
                        printf("(%zu bytes that are not text; --raw, a pipe or a file take them)", size);
                else
                        fwrite(data, 1, size, stdout);
                if (size == 0 || data[size - 1] != '\n')
                        putchar('\n');
        } else
                fwrite(data, 1, size, stdout);

        if (fflush(stdout) < 0 || ferror(stdout)) {
                talk_say(talk, "cannot write the reply to stdout: %s", strerror(errno));
                return TALK_EXIT_FAILURE;
        }
        return TALK_EXIT_SUCCESS;
}

static int call_failed(Talk *talk, int error, const char *what) {
        if (error == -EREMOTEIO) {
                talk_say(talk, "%s: it replied with an error: %s", what, direct_get_error(talk->client));
                return TALK_EXIT_PEER;
        }
        if (error == -ETIMEDOUT) {
                talk_say(talk, "%s: no reply in time; 'directclient alive' tells how it is", what);
                return TALK_EXIT_PEER;
        }
        return talk_fail(talk, error, what);
}

int talk_call(Talk *talk, int argc, char **argv) {
        _cleanup_buffer_ uint8_t *data = NULL;
        char what[128];
        DirectAlive peer = {};
        size_t size = 0;
        int r;

        r = call_read(talk, argv[1], &data, &size);
        if (r > 0)
                return r;
        r = talk_connect(talk);
        if (r > 0)
                return r;

        snprintf(what, sizeof(what), "cannot call '%.64s'", argv[0]);
        r = talk_find(talk, argv[0], &peer);
        if (r < 0)
                return talk_fail(talk, r, what);

        talk->answer = (TalkAnswer) {};
        r = direct_call_start(talk->client, peer.id, talk->kind, data, size,
                              talk->timeout_given ? talk->timeout_usec : DIRECT_FOREVER, talk_on_reply, talk);
        if (r >= 0)
                r = talk_await(talk, DIRECT_FOREVER);
        return r < 0 ? call_failed(talk, r, what) : call_print(talk, talk->answer.message);
}
