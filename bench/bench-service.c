/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What does the service cost beside a bare relay? Both run at the same time, each as a child with the same connections, and
 * get the same bytes in turns of a fraction of a second, so that whatever else the machine does meets both. The figure that
 * counts is the server's processor time per message, and the ratio of the two within one round. */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "bench/child.h"
#include "bench/figures.h"
#include "bench/options.h"
#include "bench/pump.h"

enum {
        ROUNDS_MAX = 99,
        ROUNDS = 7,
        ROUNDS_QUICK = 5,
        SLICE_MS = 250,
        SLICE_QUICK_MS = 120,
        WARM_UP_MS = 100, /* the kernel finds the sizes of its buffers */
};

typedef enum Target { TARGET_RELAY, TARGET_SERVICE, _TARGET_N } Target;

typedef struct Row {
        Workload workload;
        double ratio_max; /* the goal for service / relay; 0: none */
        bool quick;
} Row;

#define DEEP(bytes, pairs, ...) { .workload = { .size = bytes, .n = pairs }, __VA_ARGS__ }
#define WINDOW(w, bytes, pairs, ...) { .workload = { .size = bytes, .n = pairs, .window = w }, __VA_ARGS__ }
#define BROADCAST(bytes, receivers, ...) { .workload = { .size = bytes, .n = receivers, .broadcast = true }, __VA_ARGS__ }

static const Row rows[] = {
        DEEP(16, 1),
        DEEP(16, 8, .ratio_max = 1.6, .quick = true),
        DEEP(16, 64, .ratio_max = 1.6, .quick = true),
        DEEP(16, 500),
        DEEP(128, 1),
        DEEP(128, 8, .ratio_max = 1.6, .quick = true),
        DEEP(128, 64, .ratio_max = 1.6, .quick = true),
        DEEP(128, 500),
        DEEP(1024, 1),
        DEEP(1024, 8, .ratio_max = 1.2, .quick = true),
        DEEP(1024, 64),
        DEEP(1024, 500),
        DEEP(16384, 1),
        DEEP(16384, 8, .ratio_max = 1.15, .quick = true),
        DEEP(16384, 64),
        DEEP(16384, 500),
        DEEP(65536, 1),
        DEEP(65536, 8),
        DEEP(65536, 64),
        DEEP(65536, 500),
        WINDOW(1, 128, 1),
        WINDOW(1, 128, 8),
        WINDOW(1, 128, 64, .ratio_max = 1.1, .quick = true),
        WINDOW(1, 128, 500),
        WINDOW(8, 128, 1),
        WINDOW(8, 128, 8),
        WINDOW(8, 128, 64),
        WINDOW(8, 128, 500),
        BROADCAST(128, 10),
        BROADCAST(128, 100, .quick = true),
        BROADCAST(128, 1000),
        BROADCAST(1024, 10),
        BROADCAST(1024, 100),
        BROADCAST(1024, 1000),
};

typedef struct Options {
        char service[PATH_MAX];
        char relay[PATH_MAX];
        const char *against; /* another service in the place of the relay */
        const char *filter;
        bool csv, quick;
        unsigned n_rounds, slice_ms;
} Options;

/* One server with its load, and what was measured in each round */
typedef struct Side {
        Child child;
        Pump *pump;
        double cpu_usec[ROUNDS_MAX]; /* per message */
        double rate[ROUNDS_MAX];     /* messages/s */
        double p50[ROUNDS_MAX], p99[ROUNDS_MAX]; /* round trips, usec */
        uint64_t peak_kib;
} Side;

static void side_close(Side *s) {
        s->pump = pump_free(s->pump); /* first, or the server would have to take leave of all */
        child_stop(&s->child);
}

static int side_open(Side *s, Target target, const Options *options, const Workload *w) {
        bool speaks_direct = target == TARGET_SERVICE || options->against;
        int r;

        if (speaks_direct)
                r = child_start_service(target == TARGET_SERVICE ? options->service : options->against, CHILD_NO_PINGS,
                                        &s->child);
        else
                r = child_start_relay(options->relay, w->broadcast, &s->child);
        if (r >= 0)
                r = pump_new(w, s->child.port, speaks_direct, &s->pump);
        return r;
}

static int side_measure(Side *s, unsigned round, unsigned duration_ms) {
        uint64_t before, after;
        PumpFigures f;
        int r;

        r = child_get_cpu(&s->child, &before);
        if (r >= 0)
                r = pump_run(s->pump, (uint64_t) duration_ms * 1000 * 1000, &f);
        if (r >= 0)
                r = child_get_cpu(&s->child, &after);
        if (r < 0)
                return r;
        if (f.messages == 0)
                return -EIO;
        s->cpu_usec[round] = (double) (after - before) / 1000 / (double) f.messages;
        s->rate[round] = (double) f.messages * 1e9 / (double) f.elapsed_nsec;
        s->p50[round] = percentile(f.round_trips_nsec, f.n_round_trips, 500) / 1000.0;
        s->p99[round] = percentile(f.round_trips_nsec, f.n_round_trips, 990) / 1000.0;
        return 0;
}

static int measure(Side sides[_TARGET_N], const Options *options, const Workload *w) {
        int r = 0;

        for (Target t = 0; r >= 0 && t < _TARGET_N; t++) {
                r = side_open(&sides[t], t, options, w);
                if (r >= 0)
                        r = side_measure(&sides[t], 0, WARM_UP_MS);
        }
        for (unsigned round = 0; r >= 0 && round < options->n_rounds; round++)
                for (Target i = 0; r >= 0 && i < _TARGET_N; i++) /* by turns first and second */
                        r = side_measure(&sides[(i + round) % _TARGET_N], round, options->slice_ms);
        for (Target t = 0; t < _TARGET_N; t++)
                sides[t].peak_kib = child_get_peak_kib(&sides[t].child);
        return r;
}

/* Output */

static void format_name(const Workload *w, char name[static 64]) {
        if (w->broadcast)
                snprintf(name, 64, "broadcast %" PRIu32 " B to %" PRIu32, w->size, w->n);
        else if (w->window > 0)
                snprintf(name, 64, "pairs %" PRIu32 " B x%" PRIu32 " window %" PRIu32, w->size, w->n, w->window);
        else
                snprintf(name, 64, "pairs %" PRIu32 " B x%" PRIu32 " deep", w->size, w->n);
}

static void print_head(const Options *options) {
        struct utsname u;

        if (options->csv) {
                puts("workload,relay_cpu_usec,service_cpu_usec,ratio,ratio_low,ratio_high,ratio_goal,"
                     "relay_per_sec,service_per_sec,relay_p50_usec,service_p50_usec,relay_p99_usec,service_p99_usec,"
                     "relay_peak_kib,service_peak_kib");
                return;
        }
        uname(&u);
        printf("%s %s; %u rounds of %u ms.\n"
               "Processor seconds of the server per million messages, median; the ratio of each round, median and quartiles.\n\n",
               u.sysname, u.release, options->n_rounds, options->slice_ms);
        printf("%-28s %17s %24s %5s %19s %13s %17s %17s\n", "", "s/million", "ratio", "goal", "messages/s", "peak MiB",
               "round trip p50 us", "p99 us");
        printf("%-28s %8s %8s %24s %5s %9s %9s %6s %6s %8s %8s %8s %8s\n", "", "relay", "service", "", "", "relay", "service",
               "relay", "serv.", "relay", "service", "relay", "service");
}

static void print_row(const Options *options, const Row *row, Side sides[_TARGET_N]) {
        double ratios[ROUNDS_MAX];
        unsigned n = options->n_rounds;
        Spread ratio, cpu[_TARGET_N], rate[_TARGET_N], p50[_TARGET_N], p99[_TARGET_N];
        char name[64], goal[16] = "";

        for (unsigned i = 0; i < n; i++)
                ratios[i] = sides[TARGET_SERVICE].cpu_usec[i] / sides[TARGET_RELAY].cpu_usec[i];
        ratio = spread_of(ratios, n);
        for (Target t = 0; t < _TARGET_N; t++) {
                cpu[t] = spread_of(sides[t].cpu_usec, n);
                rate[t] = spread_of(sides[t].rate, n);
                p50[t] = spread_of(sides[t].p50, n);
                p99[t] = spread_of(sides[t].p99, n);
        }
        format_name(&row->workload, name);
        if (options->csv) {
                printf("%s,%.4f,%.4f,%.3f,%.3f,%.3f,%.2f,%.0f,%.0f,%.1f,%.1f,%.1f,%.1f,%" PRIu64 ",%" PRIu64 "\n", name,
                       cpu[TARGET_RELAY].median, cpu[TARGET_SERVICE].median, ratio.median, ratio.low, ratio.high, row->ratio_max,
                       rate[TARGET_RELAY].median, rate[TARGET_SERVICE].median, p50[TARGET_RELAY].median,
                       p50[TARGET_SERVICE].median, p99[TARGET_RELAY].median, p99[TARGET_SERVICE].median,
                       sides[TARGET_RELAY].peak_kib, sides[TARGET_SERVICE].peak_kib);
                fflush(stdout);
                return;
        }
        if (row->ratio_max > 0)
                snprintf(goal, sizeof(goal), "%.2f", row->ratio_max);
        printf("%-28s %8.3f %8.3f %6.2f [%5.2f .. %5.2f] %5s %9.0f %9.0f %6.1f %6.1f", name, cpu[TARGET_RELAY].median,
               cpu[TARGET_SERVICE].median, ratio.median, ratio.low, ratio.high, goal, rate[TARGET_RELAY].median,
               rate[TARGET_SERVICE].median,
               (double) sides[TARGET_RELAY].peak_kib / 1024, (double) sides[TARGET_SERVICE].peak_kib / 1024);
        if (row->workload.window == 1)
                printf(" %8.1f %8.1f %8.1f %8.1f", p50[TARGET_RELAY].median, p50[TARGET_SERVICE].median, p99[TARGET_RELAY].median,
                       p99[TARGET_SERVICE].median);
        putchar('\n');
        fflush(stdout);
}

/* Options */

static void help(const char *program) {
        printf("%s [OPTION]...\n"
               "\n"
               "Measures the processor time per message of the service, beside a bare relay.\n"
               "\n"
               "     --quick             Some of the workloads, briefly\n"
               "     --csv               Comma-separated values instead of a table\n"
               "     --filter=TEXT       Only workloads whose name contains TEXT\n"
               "     --rounds=N          How often each is measured (default: %d, --quick %d)\n"
               "     --slice-ms=N        For how long each time (default: %d, --quick %d)\n"
               "     --service=PATH      The service (default: ../service/directserver)\n"
               "     --relay=PATH        The relay (default: bench-relay)\n"
               "     --against=PATH      Another build of the service in the place of the relay, to\n"
               "                         see what a change gives\n"
               "  -h --help              Show this help\n"
               "\n"
               "Paths by default start from where this program is.\n",
               program, ROUNDS, ROUNDS_QUICK, SLICE_MS, SLICE_QUICK_MS);
}

/* As options_parse() */
static int parse(int argc, char **argv, Options *o) {
        const Option table[] = {
                { "against", OPTION_TEXT, &o->against },
                { "csv", OPTION_FLAG, &o->csv },
                { "filter", OPTION_TEXT, &o->filter },
                { "quick", OPTION_FLAG, &o->quick },
                { "relay", OPTION_PATH, o->relay },
                { "rounds", OPTION_NUMBER, &o->n_rounds, 1, ROUNDS_MAX },
                { "service", OPTION_PATH, o->service },
                { "slice-ms", OPTION_NUMBER, &o->slice_ms, 1, 60 * 1000 },
        };
        int r;

        r = options_parse(argc, argv, table, sizeof(table) / sizeof(table[0]), help);
        if (r > 0 && optind < argc) {
                fprintf(stderr, "%s: %s: there are options only; see --help.\n", argv[0], argv[optind]);
                return -EINVAL;
        }
        if (o->n_rounds == 0)
                o->n_rounds = o->quick ? ROUNDS_QUICK : ROUNDS;
        if (o->slice_ms == 0)
                o->slice_ms = o->quick ? SLICE_QUICK_MS : SLICE_MS;
        return r;
}

static bool is_wanted(const Options *o, const Row *row) {
        char name[64];

        format_name(&row->workload, name);
        return (!o->quick || row->quick) && (!o->filter || strstr(name, o->filter));
}

static void raise_descriptor_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
        Options options = {};
        int r;

        r = options_find_programs(argv[0], options.service, options.relay);
        if (r >= 0)
                r = parse(argc, argv, &options);
        if (r <= 0)
                return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        raise_descriptor_limit();
        print_head(&options);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                static Side sides[_TARGET_N];

                if (!is_wanted(&options, &rows[i]))
                        continue;
                for (Target t = 0; t < _TARGET_N; t++)
                        sides[t] = (Side) { .child = CHILD_NULL };
                r = measure(sides, &options, &rows[i].workload);
                if (r >= 0)
                        print_row(&options, &rows[i], sides);
                for (Target t = 0; t < _TARGET_N; t++)
                        side_close(&sides[t]);
                if (r < 0) {
                        char name[64];

                        format_name(&rows[i].workload, name);
                        fprintf(stderr, "%s: %s\n", name, strerror(-r));
                        return EXIT_FAILURE;
                }
        }
        return EXIT_SUCCESS;
}
