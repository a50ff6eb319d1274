/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What do the promises of the client library cost? Real programs, each a process with one handle, exchange messages through a
 * real service; what is compared is measured by turns, so that whatever else the machine does meets both. */

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench-library-peer.h"
#include "bench/bench-library.h"
#include "bench/options.h"

static const Options defaults = {
        .n_rounds = 7,
        .slice_ms = 250,
        .file_mib = 4096,
        .n_receivers = 20,
        .n_stops = 1,
        .stop_ms = 60 * 1000, /* much longer than KernelTimeoutSec= by default */
        .before_ms = 5000,
};

static const Options defaults_quick = {
        .n_rounds = 3,
        .slice_ms = 60,
        .file_mib = 256,
        .n_receivers = 20,
        .n_stops = 1,
        .stop_ms = 3000,
        .before_ms = 500,
};

static const struct {
        const char *name;
        int (*measure)(const Options *options);
} measurements[] = {
        { "reliable", reliable_measure },
        { "latency", latency_measure },
        { "spin", spin_measure },
        { "stopped", stopped_measure },
};

enum { N_MEASUREMENTS = sizeof(measurements) / sizeof(measurements[0]) };

static void help(const char *program) {
        const Options *d = &defaults, *q = &defaults_quick;

        printf("%s [OPTION]... [reliable] [latency] [spin] [stopped]\n"
               "\n"
               "Measures programs that talk through a service by means of libdirectclient (default: all).\n"
               "\n"
               "  reliable  What a reliable message costs beside an unreliable one\n"
               "  latency   How long a small call takes while a large file moves\n"
               "  spin      How long a call takes if waits look for a while before they sleep\n"
               "  stopped   What other programs notice of one that is stopped (SIGSTOP)\n"
               "\n"
               "     --quick             All of it, briefly\n"
               "     --strict            Fail also when a goal is missed, not only when a message is\n"
               "     --rounds=N          How often each is measured (default: %u, --quick %u;\n"
               "                         stopped: %u)\n"
               "     --slice-ms=N        For how long each time (default: %u, --quick %u)\n"
               "     --file-mib=N        latency: size of the file (default: %u, --quick %u)\n"
               "     --receivers=N       stopped: receivers, and pairs (default: %u, --quick %u)\n"
               "     --stop-ms=N         stopped: for how long (default: %u, --quick %u)\n"
               "     --link=tcp|local    stopped: how they are connected (default: one after the other)\n"
               "     --service=PATH      The service (default: ../service/directserver, from where this\n"
               "                         program is)\n"
               "     --relay=PATH        latency: the bare relay (default: bench-relay, where this program is)\n"
               "  -h --help              Show this help\n",
               program, d->n_rounds, q->n_rounds, d->n_stops, d->slice_ms, q->slice_ms, d->file_mib, q->file_mib, d->n_receivers,
               q->n_receivers, d->stop_ms, q->stop_ms);
}

static unsigned number_or(unsigned number, unsigned otherwise) {
        return number > 0 ? number : otherwise;
}

static void set_defaults(Options *o) {
        const Options *d = o->quick ? &defaults_quick : &defaults;

        o->n_stops = number_or(o->n_rounds, d->n_stops);
        o->n_rounds = number_or(o->n_rounds, d->n_rounds);
        o->slice_ms = number_or(o->slice_ms, d->slice_ms);
        o->file_mib = number_or(o->file_mib, d->file_mib);
        o->n_receivers = number_or(o->n_receivers, d->n_receivers);
        o->stop_ms = number_or(o->stop_ms, d->stop_ms);
        o->before_ms = d->before_ms;
}

static int set_link(const char *text, Options *o) {
        o->skips_tcp = strcmp(text, "local") == 0;
        o->skips_local = strcmp(text, "tcp") == 0;
        if (o->skips_tcp || o->skips_local)
                return 0;
        fprintf(stderr, "--link=%s: it is tcp or local.\n", text);
        return -EINVAL;
}

/* As options_parse() */
static int parse(int argc, char **argv, Options *o) {
        const char *link = NULL;
        const Option table[] = {
                { "file-mib", OPTION_NUMBER, &o->file_mib, 1, 1024 * 1024 },
                { "link", OPTION_TEXT, &link },
                { "quick", OPTION_FLAG, &o->quick },
                { "receivers", OPTION_NUMBER, &o->n_receivers, 2, PEER_TARGETS_MAX },
                { "relay", OPTION_PATH, o->relay },
                { "rounds", OPTION_NUMBER, &o->n_rounds, 1, ROUNDS_MAX },
                { "service", OPTION_PATH, o->service },
                { "slice-ms", OPTION_NUMBER, &o->slice_ms, 1, 60 * 1000 },
                { "stop-ms", OPTION_NUMBER, &o->stop_ms, 1, 3600 * 1000 },
                { "strict", OPTION_FLAG, &o->strict },
        };
        int r;

        r = options_parse(argc, argv, table, sizeof(table) / sizeof(table[0]), help);
        if (r > 0 && link && set_link(link, o) < 0)
                return -EINVAL;
        set_defaults(o);
        return r;
}

/* Which of the measurements the arguments name */
static int choose(char **names, bool ret_wanted[static N_MEASUREMENTS]) {
        for (size_t i = 0; i < N_MEASUREMENTS; i++)
                ret_wanted[i] = !*names;
        for (; *names; names++) {
                bool found = false;

                for (size_t i = 0; i < N_MEASUREMENTS; i++)
                        if (strcmp(*names, measurements[i].name) == 0)
                                found = ret_wanted[i] = true;
                if (!found) {
                        fprintf(stderr, "%s: there is no such measurement; see --help.\n", *names);
                        return -EINVAL;
                }
        }
        return 0;
}

void library_explain(const Child *service) {
        struct pollfd pollfd = { .fd = service->log_fd, .events = POLLIN };
        siginfo_t info = {};
        char log[4096];
        ssize_t n;

        if (service->pid <= 0)
                return;
        if (waitid(P_PID, (id_t) service->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == service->pid)
                fprintf(stderr, "The service has ended (%s %d).\n", info.si_code == CLD_EXITED ? "exit" : "signal",
                        info.si_status);
        while (poll(&pollfd, 1, 0) > 0 && (n = read(service->log_fd, log, sizeof(log))) > 0)
                fwrite(log, 1, (size_t) n, stderr);
}

int main(int argc, char **argv) {
        bool wanted[N_MEASUREMENTS], missed = false;
        Options options = {};
        struct utsname u;
        int r;

        r = options_find_programs(argv[0], options.service, options.relay);
        if (r >= 0)
                r = parse(argc, argv, &options);
        if (r == 0)
                return EXIT_SUCCESS;
        if (r < 0 || choose(argv + optind, wanted) < 0)
                return EXIT_FAILURE;
        uname(&u);
        printf("%s %s\n", u.sysname, u.release);
        for (size_t i = 0; i < N_MEASUREMENTS; i++) {
                if (!wanted[i])
                        continue;
                putchar('\n');
                fflush(stdout);
                r = measurements[i].measure(&options);
                if (r < 0) {
                        fprintf(stderr, "%s: %s\n", measurements[i].name, strerror(-r));
                        return EXIT_FAILURE;
                }
                missed |= r > 0;
        }
        return missed && options.strict ? EXIT_FAILURE : EXIT_SUCCESS;
}
