/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The same small program for each client library: one process sends all it can, another one receives it, through a server that
 * runs already, and both say what that took. A file for each library has what differs (library-direct.c and the others): it owns
 * the one connection of its process. All of its functions return 0 or a negative errno, after they have said on standard error
 * what is wrong. */

#include <stddef.h>
#include <stdint.h>

typedef struct Place {
        unsigned port, receive_port; /* 127.0.0.1; where receivers connect, mostly the same */
        size_t size;                 /* of a message, bytes */
        const char *way;             /* one of the library's, or "" */
} Place;

typedef struct Library {
        const char *(*get_version)(void);

        /* Messages that may be on their way, because more of them would be dropped when the receiver is slow. 0: the library and
         * its server see to that themselves. */
        unsigned window;

        /* That it can be used in, beside its best one; ends with NULL. */
        const char *ways[3];

        /* The receiver connects first: when it has returned, what is sent arrives. */
        int (*open_receiver)(const Place *place);
        int (*open_sender)(const Place *place);

        /* Waits if there is no room. */
        int (*send)(const void *data, size_t size);

        /* What was sent is on its way, or further, when it has returned. */
        int (*flush)(void);

        /* Gives messages that come to program_take(), at least one if it does not take longer than `timeout_ms`. */
        int (*receive)(unsigned timeout_ms);
} Library;

/* Counts and checks a message that was received. The data are the caller's. */
void program_take(const void *data, size_t size);

/* For main(). Reads from standard input for how many milliseconds to send, a line for each round, and writes a JSON object on a
 * line for each, until that ends. */
int program_main(int argc, char **argv, const Library *library);
