/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directclient: a client on the command line, for shell scripts and for looking around. This file has the tables of verbs and
 * options and the help; a verb is a function in a talk-*.c file. */

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#include "tools/talk-session.h"

typedef struct Verb {
        const char *name;
        const char *arguments;
        int min, max; /* number of arguments; -1: any */
        int (*run)(Talk *talk, int argc, char **argv);
        const char *help;
} Verb;

static const Verb verbs[] = {
        { "send",      "NAME [FILE]",             1,  2, talk_send,      "Send FILE, or stdin, to a client" },
        { "broadcast", "[FILE]",                  0,  1, talk_broadcast, "Send FILE, or stdin, to every other client" },
        { "listen",    "",                        0,  0, talk_listen,    "Show the messages that come" },
        { "call",      "NAME [DATA | @FILE | -]", 1,  2, talk_call,      "Send a request and print the reply" },
        { "alive",     "NAME",                    1,  1, talk_alive,     "Tell how alive a client is, also by exit status" },
        { "ping",      "NAME",                    1,  1, talk_ping,      "Measure round trips, follow how alive it is" },
        { "list",      "",                        0,  0, talk_list,      "List the clients" },
        { "watch",     "[NAME...]",               0, -1, talk_watch,     "Print a line for each client that joins, leaves, …" },
};

enum { N_VERBS = sizeof(verbs) / sizeof(verbs[0]) };

static void help(void) {
        printf("directclient [OPTIONS...] VERB [ARGUMENTS...]\n\n"
               "A client of DirectServer on the command line. NAME is a client's name, or its\n"
               "id in digits.\n\nVerbs:\n");
        for (size_t i = 0; i < N_VERBS; i++) {
                char left[64];

                snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].arguments);
                printf(strlen(left) <= 20 ? "  %-20s  %s\n" : "  %s\n                        %s\n", left, verbs[i].help);
        }
        printf("\nOptions:\n"
               "  --server=ADDRESS      HOST:PORT, [IPV6]:PORT or unix:/PATH; without it,\n"
               "                        $DIRECTSERVER, the local socket, or 127.0.0.1:20000\n"
               "  --name=NAME           The name to take; the service gives one otherwise\n"
               "  --timeout=SEC         Wait so long for the service (10), or for the reply of\n"
               "                        call (without an end)\n"
               "  --kind=N              send, broadcast, call: the message's kind, 0 to 65535 (0)\n"
               "  --count=N             listen: end after N messages; ping: after N questions\n"
               "  --output=DIR          listen: put each message into a file in DIR\n"
               "  --raw                 listen, call: write payloads as they are, and nothing else\n"
               "  --echo                listen: reply to calls with what they brought\n"
               "  --interval=SEC        ping: the time between two questions (1)\n"
               "  --no-legend           list: no head and no sum\n"
               "  -h --help             Show this help\n"
               "  --version             Show the version\n\n"
               "listen prints a line for each message: who sent it, and its text, or its size and\n"
               "first bytes where it is not text. With --output, a message is written as it comes,\n"
               "however large, to DIR/NUMBER-ID.part, which becomes DIR/NUMBER-ID.data when it is\n"
               "complete and is then announced on stdout. listen and watch connect again by\n"
               "themselves when the service goes away; the other verbs fail.\n\n"
               "Exit status:\n"
               "  0   it is done; alive, ping: the client is alive\n"
               "  1   no such client, or it is gone, or it did not reply\n"
               "  2   the client is there, but busy or away\n"
               "  3   no connection to the service\n"
               "  4   something else: a file, memory\n"
               "  64  wrong usage\n"
               "  128 and the number of the signal that interrupted it; SIGINT is the ordinary end\n"
               "      of listen without --count, of watch and of ping\n");
}

/* A number of seconds, "0.5" for example */
static bool parse_seconds(const char *text, uint64_t *ret_usec) {
        char *end;
        double seconds = strtod(text, &end);

        if (end == text || *end != 0 || !isfinite(seconds) || seconds < 0 || seconds > 1e9)
                return false;
        *ret_usec = (uint64_t) (seconds * 1e6);
        return true;
}

static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret) {
        unsigned long long n;

        if (text[0] == 0 || text[strspn(text, "0123456789")] != 0)
                return false;
        errno = 0;
        n = strtoull(text, NULL, 10);
        if (errno != 0 || n < min || n > max)
                return false;
        *ret = n;
        return true;
}

enum {
        OPT_SERVER = 256,
        OPT_NAME,
        OPT_TIMEOUT,
        OPT_KIND,
        OPT_COUNT,
        OPT_OUTPUT,
        OPT_RAW,
        OPT_ECHO,
        OPT_INTERVAL,
        OPT_NO_LEGEND,
        OPT_VERSION,
};

static const struct option options[] = {
        { "server",    required_argument, NULL, OPT_SERVER },
        { "name",      required_argument, NULL, OPT_NAME },
        { "timeout",   required_argument, NULL, OPT_TIMEOUT },
        { "kind",      required_argument, NULL, OPT_KIND },
        { "count",     required_argument, NULL, OPT_COUNT },
        { "output",    required_argument, NULL, OPT_OUTPUT },
        { "raw",       no_argument,       NULL, OPT_RAW },
        { "echo",      no_argument,       NULL, OPT_ECHO },
        { "interval",  required_argument, NULL, OPT_INTERVAL },
        { "no-legend", no_argument,       NULL, OPT_NO_LEGEND },
        { "help",      no_argument,       NULL, 'h' },
        { "version",   no_argument,       NULL, OPT_VERSION },
        {},
};

/* Returns an exit status that ends the program, or -1 to go on. */
static int parse_option(Talk *talk, int option, const char *value) {
        bool valid = true;
        uint64_t n = 0;

        switch (option) {
        case OPT_SERVER:
                talk->server = value;
                break;
        case OPT_NAME:
                talk->name = value;
                break;
        case OPT_TIMEOUT:
                valid = parse_seconds(value, &talk->timeout_usec) && talk->timeout_usec > 0;
                talk->timeout_given = true;
                break;
        case OPT_KIND:
                valid = parse_number(value, 0, UINT16_MAX, &n);
                talk->kind = (uint16_t) n;
                break;
        case OPT_COUNT:
                valid = parse_number(value, 1, UINT64_MAX, &talk->count);
                break;
        case OPT_OUTPUT:
                talk->output = value;
                valid = value[0] != 0;
                break;
        case OPT_RAW:
                talk->raw = true;
                break;
        case OPT_ECHO:
                talk->echo = true;
                break;
        case OPT_INTERVAL:
                valid = parse_seconds(value, &talk->interval_usec);
                break;
        case OPT_NO_LEGEND:
                talk->no_legend = true;
                break;
        case OPT_VERSION:
                puts("directclient " PROJECT_VERSION);
                return TALK_EXIT_SUCCESS;
        case 'h':
                help();
                return TALK_EXIT_SUCCESS;
        default: /* getopt_long() has said what is wrong */
                fputs("'directclient --help' lists verbs and options.\n", stderr);
                return TALK_EXIT_USAGE;
        }

        if (!valid) {
                talk_say(talk, "'%s' is not a value that the option takes; see 'directclient --help'", value);
                return TALK_EXIT_USAGE;
        }
        return -1;
}

static const Verb *find_verb(const char *name) {
        for (size_t i = 0; i < N_VERBS; i++)
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        return NULL;
}

int main(int argc, char **argv) {
        Talk talk = TALK_NULL;
        const Verb *verb;
        int option, n, r;

        while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
                r = parse_option(&talk, option, optarg);
                if (r >= 0)
                        return r;
        }
        if (optind >= argc) {
                talk_say(&talk, "a verb is missing; 'directclient --help' lists them");
                return TALK_EXIT_USAGE;
        }

        verb = find_verb(argv[optind]);
        if (!verb) {
                talk_say(&talk, "there is no verb '%s'; 'directclient --help' lists them", argv[optind]);
                return TALK_EXIT_USAGE;
        }
        n = argc - optind - 1;
        if (n < verb->min || (verb->max >= 0 && n > verb->max)) {
                talk_say(&talk, "usage: directclient [OPTIONS...] %s %s", verb->name, verb->arguments);
                return TALK_EXIT_USAGE;
        }

        r = verb->run(&talk, n, argv + optind + 1);
        talk_deinit(&talk);
        if (fflush(stdout) != 0 && r == TALK_EXIT_SUCCESS)
                r = TALK_EXIT_FAILURE;
        return r;
}
