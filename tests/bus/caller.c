/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls a method, N times at once, and says how that ended, with the names of errors, which busctl leaves out:
 *
 *   caller --user|--system [--interactive] [--times=N] PATH INTERFACE MEMBER [t:NUMBER | s:TEXT]...
 *
 * The first line is the time until the last reply, in µs; each further one the number of calls with one outcome: "1 ok",
 * "1 ERROR MESSAGE". */

#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "dbus/names.h"

enum { OUTCOMES_MAX = 8 };

static struct Outcome {
        char text[512];
        unsigned n;
} outcomes[OUTCOMES_MAX];

static unsigned n_replies;

static uint64_t now(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        char text[512] = "ok";

        n_replies++;
        if (error)
                snprintf(text, sizeof text, "%s %s", error->name, error->message);
        for (struct Outcome *o = outcomes; o < outcomes + OUTCOMES_MAX; o++)
                if (o->n == 0 || strcmp(o->text, text) == 0) {
                        memcpy(o->text, text, sizeof text);
                        o->n++;
                        break;
                }
        return 0;
}

static int send_call(sd_bus *bus, bool interactive, char **arguments) {
        sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &call, BUS_NAME, arguments[0], arguments[1], arguments[2]);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(call, interactive);
        for (char **a = arguments + 3; r >= 0 && *a; a++)
                r = (*a)[0] == 't' ? sd_bus_message_append(call, "t", strtoull(*a + 2, NULL, 10))
                                   : sd_bus_message_append(call, "s", *a + 2);
        if (r >= 0)
                r = sd_bus_call_async(bus, NULL, call, on_reply, NULL, UINT64_MAX);
        sd_bus_message_unref(call);
        return r;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "user", no_argument, NULL, 'u' },
                { "system", no_argument, NULL, 's' },
                { "interactive", no_argument, NULL, 'i' },
                { "times", required_argument, NULL, 'n' },
                {},
        };
        bool interactive = false, user = false;
        unsigned n = 1;
        uint64_t begin;
        sd_bus *bus = NULL;
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'u':
                        user = true;
                        break;
                case 's':
                        user = false;
                        break;
                case 'i':
                        interactive = true;
                        break;
                case 'n':
                        n = (unsigned) strtoul(optarg, NULL, 10);
                        break;
                default:
                        return EXIT_FAILURE;
                }
        if (argc - optind < 3)
                return EXIT_FAILURE;

        r = user ? sd_bus_open_user(&bus) : sd_bus_open_system(&bus);
        begin = now();
        for (unsigned i = 0; r >= 0 && i < n; i++)
                r = send_call(bus, interactive, argv + optind);
        while (r >= 0 && n_replies < n) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        }
        printf("%" PRIu64 "\n", now() - begin);
        for (struct Outcome *o = outcomes; o < outcomes + OUTCOMES_MAX && o->n > 0; o++)
                printf("%u %s\n", o->n, o->text);
        if (r < 0)
                fprintf(stderr, "caller: %s\n", strerror(-r));
        sd_bus_flush_close_unref(bus);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
