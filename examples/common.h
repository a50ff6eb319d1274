/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the examples share: connecting, waiting, and saying how far it is. */

#include <stdint.h>

#include <directclient.h>

/* Ends the program: "PROGRAM: WHAT: why". `error` is a negative errno; `client` may be NULL. */
void fail(DirectClient *client, int error, const char *what) __attribute__((noreturn));

/* A client, not connected yet. `name` NULL: the service gives one. `max_message`: the largest that is wanted whole, in bytes. */
DirectClient *client_new_or_fail(const char *name, uint64_t max_message);

/* `server` NULL: the library's default. */
void connect_or_fail(DirectClient *client, const char *server);

/* Waits until something happens, at most `usec`, and lets the library call the handlers. Ends the program when the connection
 * is over. */
void turn(DirectClient *client, uint64_t usec);

double now(void); /* seconds, for measuring */

/* A line on stderr, which a bar that is there makes room for. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line on stderr that follows the work: a bar on a terminal, a line for every tenth elsewhere. Starts again with done 0. */
void show_progress(const char *what, unsigned done, unsigned total);

/* A whole number from the command line, in its range, or the program ends. */
unsigned parse_number(const char *text, const char *option, unsigned min, unsigned max);
