/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* sim --seeds=N --from=S: that many runs; the first that fails is shrunk and printed, and the seed with it.
 * sim --seed=X [--verbose]: just this one, twice: both must go the same way. */

#include <inttypes.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/bug.h"
#include "tests/sim/shrink.h"

static bool with_faults = true, with_shrinking = true, goes_on;

static int report(uint64_t seed, const char *violation) {
        Plan *p = plan_new(seed, with_faults);
        bool verbose = world_verbose;
        RunResult result = {};

        printf("seed %" PRIu64 " fails: %s\n", seed, violation);
        if (with_shrinking) {
                fflush(stdout);
                world_verbose = false;
                shrink_plan(p, violation);
                world_verbose = verbose;
                try_plan(p, &result);
                printf("the smallest that still fails: %s\n", result.violation);
                plan_print(p);
        }
        printf("replay with --seed=%" PRIu64 "\n", seed);
        plan_free(p);
        return EXIT_FAILURE;
}

static int run_one(uint64_t seed) {
        Plan *p = plan_new(seed, with_faults);
        RunResult first, second;
        bool verbose = world_verbose;

        if (verbose)
                plan_print(p);
        try_plan(p, &first);
        world_verbose = false;
        try_plan(p, &second);
        world_verbose = verbose;
        plan_free(p);
        if (first.failed)
                return report(seed, first.violation);
        if (first.hash != second.hash) {
                printf("seed %" PRIu64 " went two ways: %016" PRIx64 ", %016" PRIx64 "\n", seed, first.hash, second.hash);
                return EXIT_FAILURE;
        }
        printf("seed %" PRIu64 ": %" PRIu64 " messages sent, %" PRIu64 " received, %" PRIu64
               " allocations failed, trace %016" PRIx64 "\n",
               seed, first.n_sent, first.n_received, first.n_failed_allocations, first.hash);
        return EXIT_SUCCESS;
}

/* What the process that runs many seeds says of the one it is at */
typedef struct Progress {
        uint64_t seed;
        RunResult result;
        uint64_t n_sent, n_received, hash;
} Progress;

static void run_range(uint64_t from, uint64_t n, Progress *progress) {
        for (uint64_t seed = from; seed < from + n; seed++) {
                Plan *p = plan_new(seed, with_faults);

                progress->seed = seed;
                alarm(60);
                run_plan(p, &progress->result);
                plan_free(p);
                progress->n_sent += progress->result.n_sent;
                progress->n_received += progress->result.n_received;
                progress->hash = progress->hash * 31 + progress->result.hash;
                if (progress->result.failed)
                        return;
        }
}

/* A process of its own, so that a crash is a failure like any other. True: all went well. */
static bool run_child(uint64_t from, uint64_t n, Progress *progress, char *ret_violation, size_t size) {
        int status = 0;
        pid_t pid;

        progress->result.failed = false;
        progress->seed = from;
        fflush(NULL);
        pid = fork();
        sim_require(pid >= 0);
        if (pid == 0) {
                run_range(from, n, progress);
                fflush(NULL);
                _exit(0);
        }
        sim_require(waitpid(pid, &status, 0) == pid);
        if (progress->result.failed)
                snprintf(ret_violation, size, "%s", progress->result.violation);
        else if (status != 0)
                snprintf(ret_violation, size, "%s", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it has exited");
        return !progress->result.failed && status == 0;
}

static int run_many(uint64_t from, uint64_t n) {
        Progress *progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        uint64_t end = from + n, n_failed = 0;
        char violation[SIM_VIOLATION_MAX];

        sim_require(progress != MAP_FAILED);
        for (uint64_t next = from; next < end; next = progress->seed + 1) {
                if (run_child(next, end - next, progress, violation, sizeof(violation)))
                        break;
                if (!goes_on)
                        return report(progress->seed, violation);
                printf("seed %" PRIu64 " fails: %s\n", progress->seed, violation);
                n_failed++;
        }
        printf("%" PRIu64 " seeds from %" PRIu64 ": %" PRIu64 " messages sent, %" PRIu64 " received, trace %016" PRIx64 "\n", n,
               from, progress->n_sent, progress->n_received, progress->hash);
        return n_failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "seeds", required_argument, NULL, 'n' },
                { "from", required_argument, NULL, 'f' },
                { "seed", required_argument, NULL, 's' },
                { "verbose", no_argument, NULL, 'v' },
                { "bug", required_argument, NULL, 'b' },
                { "faults", required_argument, NULL, 'F' },
                { "keep-going", no_argument, NULL, 'k' },
                { "no-shrink", no_argument, NULL, 'S' },
                {},
        };
        uint64_t n = 100, from = 1, seed = 0;
        bool has_seed = false;
        int c, b;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 'n':
                        n = strtoull(optarg, NULL, 0);
                        break;
                case 'f':
                        from = strtoull(optarg, NULL, 0);
                        break;
                case 's':
                        seed = strtoull(optarg, NULL, 0);
                        has_seed = true;
                        break;
                case 'v':
                        world_verbose = true;
                        break;
                case 'b':
                        b = bug_parse(optarg);
                        if (b < 0) {
                                fprintf(stderr, "There is no bug %s.\n", optarg);
                                return 2;
                        }
                        bug = (Bug) b;
                        break;
                case 'F':
                        with_faults = strcmp(optarg, "none") != 0;
                        break;
                case 'k':
                        goes_on = true;
                        break;
                case 'S':
                        with_shrinking = false;
                        break;
                default:
                        return 2;
                }
        return has_seed ? run_one(seed) : run_many(from, n);
}
