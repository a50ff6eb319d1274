/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "common.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void fail(DirectClient *client, int error, const char *what) {
        const char *why = client ? direct_get_error(client) : "";

        say("%s: %s: %s", program_invocation_short_name, what, why[0] ? why : strerror(-error));
        exit(EXIT_FAILURE);
}

DirectClient *client_new_or_fail(const char *name, uint64_t max_message) {
        DirectClient *client;
        int r;

        r = direct_client_new(&client);
        if (r < 0)
                fail(NULL, r, "cannot make a client");
        if (name)
                r = direct_set_name(client, name);
        if (r >= 0)
                r = direct_set_max_message(client, max_message);
        if (r < 0)
                fail(client, r, "cannot set up the client");
        return client;
}

void connect_or_fail(DirectClient *client, const char *server) {
        int r;

        r = direct_connect(client, server);
        if (r < 0)
                fail(client, r, "cannot connect to the service");
}

void turn(DirectClient *client, uint64_t usec) {
        int r;

        r = direct_wait(client, usec);
        while (r > 0)
                r = direct_process(client);
        if (r < 0)
                fail(client, r, "the connection to the service has ended");
}

double now(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

void say(const char *format, ...) {
        va_list ap;

        if (isatty(STDERR_FILENO))
                fputs("\r\033[K", stderr);
        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
}

void show_progress(const char *what, unsigned done, unsigned total) {
        static const char full[] = "========================================";
        static unsigned last_tenth;
        unsigned filled, tenth;

        if (total == 0)
                return;
        if (isatty(STDERR_FILENO)) {
                filled = (unsigned) (sizeof(full) - 1) * done / total;
                fprintf(stderr, "\r\033[K%s [%.*s%*s] %u of %u%s", what, (int) filled, full,
                        (int) (sizeof(full) - 1 - filled), "", done, total, done == total ? "\n" : "");
                return;
        }
        tenth = 10 * done / total;
        if (done > 0 && tenth > last_tenth)
                fprintf(stderr, "%s %u of %u\n", what, done, total);
        last_tenth = tenth;
}

unsigned parse_number(const char *text, const char *option, unsigned min, unsigned max) {
        char *end;
        unsigned long n;

        errno = 0;
        n = strtoul(text, &end, 10);
        if (errno != 0 || end == text || *end != 0 || text[0] == '-' || n < min || n > max) {
                fprintf(stderr, "%s: %s takes a number from %u to %u, not '%s'\n", program_invocation_short_name, option,
                        min, max, text);
                exit(EXIT_FAILURE);
        }
        return (unsigned) n;
}
