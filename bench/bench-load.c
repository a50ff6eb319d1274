/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One workload, at several servers that run already, by turns in rounds of a fraction of a second, so that whatever else the
 * machine does meets all of them. What was measured comes out raw, a line of comma-separated values each; bench-peers starts
 * the servers, and makes tables of it. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/bench-load.h"
#include "bench/figures.h"
#include "bench/load.h"
#include "bench/process.h"

enum { WARM_UP_MS = 100 }; /* the kernel finds the sizes of its buffers */

typedef struct Options {
        Workload workload;
        bool one_processor, own_processors;
        unsigned n_rounds, slice_ms, stop_ms, n_idle;
} Options;

static void report_failure(const Side *s, const char *what, int error) {
        printf("failed,%s,%s: %s\n", s->label, what, strerror(-error));
        fflush(stdout);
}

static int run_slice(Side *s, const Options *o, unsigned duration_ms, LoadFigures *ret_figures, ProcessTimes *ret_times) {
        ProcessTimes before, after;
        int r;

        r = o->one_processor ? process_bind(s->pid, 0, 0) : o->own_processors ? process_bind(s->pid, 1, 0) : 0;
        if (r >= 0)
                r = process_get_times(s->pid, &before);
        if (r >= 0)
                r = load_run(s->load, (uint64_t) duration_ms * 1000 * 1000, ret_figures);
        if (r >= 0)
                r = process_get_times(s->pid, &after);
        if (r < 0)
                return r;
        *ret_times = (ProcessTimes) {
                .cpu_nsec = after.cpu_nsec - before.cpu_nsec,
                .user_nsec = after.user_nsec - before.user_nsec,
                .system_nsec = after.system_nsec - before.system_nsec,
        };
        return o->one_processor || o->own_processors ? process_unbind(s->pid) : 0;
}

static int measure(Side *s, const Options *o, unsigned round) {
        static const unsigned permilles[] = { 500, 900, 990, 999 };
        ProcessMemory memory;
        ProcessTimes times;
        LoadFigures f;
        int r;

        r = run_slice(s, o, o->slice_ms, &f, &times);
        if (r >= 0)
                r = process_get_memory(s->pid, &memory);
        if (r < 0)
                return r;
        printf("slice,%s,%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64, s->label, round, f.messages, f.lost, f.elapsed_nsec);
        printf(",%" PRIu64 ",%" PRIu64 ",%" PRIu64, times.cpu_nsec, times.user_nsec, times.system_nsec);
        for (size_t i = 0; i < sizeof(permilles) / sizeof(permilles[0]); i++)
                printf(",%.1f", percentile(f.round_trips_nsec, f.n_round_trips, permilles[i]) / 1000.0);
        printf(",%" PRIu64 ",%" PRIu64 "\n", memory.resident_kib, memory.peak_kib);
        fflush(stdout);
        return 0;
}

static void open_side(Side *s, const Options *o) {
        Workload workload = o->workload;
        ProcessTimes times;
        LoadFigures f;
        int r;

        if (!s->target->polls)
                workload.spin_usec = 0;
        r = load_new(s->target, &s->server, &workload, &s->load);
        if (r < 0) {
                report_failure(s, r == -EPROTO ? "what arrived is not what was sent" : "connecting", r);
                return;
        }
        r = run_slice(s, o, WARM_UP_MS, &f, &times);
        if (r >= 0)
                return;
        report_failure(s, "running", r);
        s->load = load_free(s->load);
}

/* A side that fails is left out from then on. */
static void run_rounds(Side *sides, size_t n_sides, const Options *o) {
        for (size_t i = 0; i < n_sides; i++)
                open_side(&sides[i], o);
        for (unsigned round = 0; round < o->n_rounds; round++)
                for (size_t i = 0; i < n_sides; i++) { /* each is first by turns */
                        Side *s = &sides[(i + round) % n_sides];
                        int r = s->load ? measure(s, o, round) : 0;

                        if (r < 0) {
                                report_failure(s, "running", r);
                                s->load = load_free(s->load);
                        }
                }
        for (size_t i = 0; i < n_sides; i++)
                sides[i].load = load_free(sides[i].load);
}

/* Options */

static int help(const char *program) {
        printf("%s [OPTION]... TARGET[=LABEL]:PID:PORT[:PORT]...\n"
               "\n"
               "Loads servers that run already, by turns, and writes what they need for it. TARGET is direct,\n"
               "relay, splice, nats, redis, mosquitto, zeromq or rabbitmq; the second PORT is where receivers\n"
               "connect, if that is another. bench-peers.py starts them and makes a table.\n"
               "\n"
               "     --pairs=N           N pairs (default: 8)\n"
               "     --all=N             N senders, each to each of N receivers\n"
               "     --broadcast=N       One sender to N receivers\n"
               "     --busy=N            A pair with a window of 1, beside N that send all they can\n"
               "     --idle=N            N clients that do nothing\n"
               "     --stop-ms=N         Eight pairs at a steady rate; one of their receivers stops for N ms\n"
               "     --size=BYTES        Of a message (default: 128)\n"
               "     --window=N          So many messages on their way, each is answered (default: as many\n"
               "                         as there is room for, one way)\n"
               "     --one-processor     Server and load on the first processor\n"
               "     --own-processors    The server on the second, the load on the first\n"
               "     --spin-usec=N       With direct and relay, the load polls for so long before it sleeps, as the\n"
               "                         server does that was started with SpinUSec=N, or with --spin\n"
               "     --rounds=N          How often each is measured (default: 5)\n"
               "     --slice-ms=N        For how long each time (default: 200)\n"
               "  -h --help              Show this help\n",
               program);
        return 0;
}

static int parse_number(const char *name, const char *text, uint64_t max, uint64_t *ret) {
        char *end;
        unsigned long long n = strtoull(text, &end, 10);

        if (*end || n < 1 || n > max) {
                fprintf(stderr, "--%s=%s: it is a number from 1 to %" PRIu64 ".\n", name, text, max);
                return -EINVAL;
        }
        *ret = n;
        return 0;
}

static int apply(int c, uint64_t n, Options *o) {
        switch (c) {
        case 'p':
        case 'a':
        case 'b':
        case 'u':
                o->workload.shape = c == 'p' ? SHAPE_PAIRS : c == 'a' ? SHAPE_ALL : c == 'b' ? SHAPE_BROADCAST : SHAPE_BUSY;
                o->workload.n = (uint32_t) n;
                break;
        case 'i':
                o->n_idle = (unsigned) n;
                break;
        case 'k':
                o->stop_ms = (unsigned) n;
                break;
        case 's':
                o->workload.size = n;
                break;
        case 'w':
                o->workload.window = (uint32_t) n;
                break;
        case 'y':
                o->workload.spin_usec = (uint32_t) n;
                break;
        case 'r':
                o->n_rounds = (unsigned) n;
                break;
        case 't':
                o->slice_ms = (unsigned) n;
                break;
        }
        return 0;
}

/* Returns 1 to go on, 0 if all is done, or a negative errno. */
static int parse(int argc, char **argv, Options *o) {
        static const struct option table[] = {
                { "pairs", required_argument, NULL, 'p' },
                { "all", required_argument, NULL, 'a' },
                { "broadcast", required_argument, NULL, 'b' },
                { "busy", required_argument, NULL, 'u' },
                { "idle", required_argument, NULL, 'i' },
                { "stop-ms", required_argument, NULL, 'k' },
                { "size", required_argument, NULL, 's' },
                { "window", required_argument, NULL, 'w' },
                { "one-processor", no_argument, NULL, '1' },
                { "own-processors", no_argument, NULL, '2' },
                { "spin-usec", required_argument, NULL, 'y' },
                { "rounds", required_argument, NULL, 'r' },
                { "slice-ms", required_argument, NULL, 't' },
                { "help", no_argument, NULL, 'h' },
                {},
        };
        int c, index, r = 0;

        while (r >= 0 && (c = getopt_long(argc, argv, "h", table, &index)) >= 0) {
                uint64_t n = 0;

                if (c == 'h')
                        return help(argv[0]);
                if (c == '?')
                        return -EINVAL;
                if (c == '1' || c == '2') {
                        *(c == '1' ? &o->one_processor : &o->own_processors) = true;
                        continue;
                }
                r = parse_number(table[index].name, optarg, c == 's' ? UINT32_MAX : TARGET_CLIENTS_MAX / 2, &n);
                if (r >= 0)
                        r = apply(c, n, o);
        }
        return r < 0 ? r : 1;
}

static int parse_side(const char *text, Side *s) {
        char name[32];
        int pid, n;

        n = sscanf(text, "%31[^:]:%d:%" SCNu16 ":%" SCNu16, s->label, &pid, &s->server.port, &s->server.receive_port);
        if (n == 3)
                s->server.receive_port = s->server.port;
        s->pid = pid;
        snprintf(name, sizeof(name), "%.*s", (int) strcspn(s->label, "="), s->label);
        if (strchr(s->label, '='))
                memmove(s->label, strchr(s->label, '=') + 1, strlen(strchr(s->label, '=')));
        s->target = n >= 3 ? target_find(name) : NULL;
        if (s->target)
                return 0;
        fprintf(stderr, "%s: it is TARGET[=LABEL]:PID:PORT[:PORT].\n", text);
        return -EINVAL;
}

static void raise_descriptor_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
        Options options = { .workload = { .size = 128, .n = 8 }, .n_rounds = 5, .slice_ms = 200 };
        Side *sides;
        size_t n_sides;
        int r;

        r = parse(argc, argv, &options);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        n_sides = (size_t) (argc - optind);
        sides = calloc(n_sides + 1, sizeof(*sides));
        if (!sides)
                return EXIT_FAILURE;
        for (size_t i = 0; r >= 0 && i < n_sides; i++)
                r = parse_side(argv[optind + (int) i], &sides[i]);
        if (r < 0) {
                free(sides);
                return EXIT_FAILURE;
        }
        raise_descriptor_limit();
        for (size_t i = 0; i < n_sides && (options.n_idle > 0 || options.stop_ms > 0); i++) {
                r = options.n_idle > 0 ? measure_idle(&sides[i], options.n_idle) :
                                         measure_stopped(&sides[i], options.workload.size, options.stop_ms);
                if (r < 0)
                        report_failure(&sides[i], "running", r);
        }
        if (options.n_idle == 0 && options.stop_ms == 0)
                run_rounds(sides, n_sides, &options);
        free(sides);
        return EXIT_SUCCESS;
}
