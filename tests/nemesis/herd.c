/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A thousand clients that lose their service at once, by SIGKILL or as "systemctl stop" ends it, and come back when it is started
 * again. It fails when one of them comes back as another, is told that somebody has gone, or a message is lost or comes twice;
 * because something took long, only if asked to. What it measures it prints, times from the moment that the start of the service
 * was asked for. */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "herd-member.h"
#include "herd-service.h"

enum {
        PROCESSES_MAX = 1000,
        DOWNS_MAX = 16,
        PATIENCE_MS = 60 * 1000,
};

typedef struct Process {
        pid_t pid;
        int commands; /* ours to write to */
        clockid_t clock;
} Process;

typedef struct Herd {
        uint32_t n_clients, n_processes, n_rounds;
        uint64_t down_ms[DOWNS_MAX]; /* by turns */
        size_t n_downs;
        uint64_t within_ms; /* 0: it may take as long as it likes */
        int signal;
        bool is_local;

        HerdService service;
        HerdCounters *counters;
        Process processes[PROCESSES_MAX];
        int notes;

        /* Of this round */
        uint64_t round, since; /* times count from then */
        uint64_t *connected, *delivered; /* of each client, in microseconds from then; UINT64_MAX: not yet */
        uint32_t n_connected, n_delivered;
        uint64_t n_wrong; /* of all rounds */
} Herd;

/* What the kernel counts for all of a network namespace: connections that a queue of listen(2) had no room for. */
typedef struct Overflows {
        uint64_t n_overflows, n_drops;
} Overflows;

static Overflows overflows_now(void) {
        char names[8192] = "", values[8192] = "", *name, *value, *name_rest, *value_rest;
        Overflows found = {};
        FILE *f;

        f = fopen("/proc/self/net/netstat", "re");
        if (!f || !fgets(names, sizeof(names), f) || !fgets(values, sizeof(values), f))
                names[0] = values[0] = '\0';
        if (f)
                fclose(f);
        name = strtok_r(names, " \n", &name_rest);
        value = strtok_r(values, " \n", &value_rest);
        for (; name && value; name = strtok_r(NULL, " \n", &name_rest), value = strtok_r(NULL, " \n", &value_rest)) {
                if (strcmp(name, "ListenOverflows") == 0)
                        found.n_overflows = strtoull(value, NULL, 10);
                if (strcmp(name, "ListenDrops") == 0)
                        found.n_drops = strtoull(value, NULL, 10);
        }
        return found;
}

/* Processor time so far, in microseconds */
static uint64_t cpu_of(clockid_t clock) {
        struct timespec ts;

        return clock_gettime(clock, &ts) < 0 ? 0 : (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static uint64_t herd_cpu(const Herd *herd) {
        uint64_t usec = 0;

        for (uint32_t i = 0; i < herd->n_processes; i++)
                usec += cpu_of(herd->processes[i].clock);
        return usec;
}

/* The processes */

static void process_start(Herd *herd, uint32_t index, int notes_fd) {
        Process *p = &herd->processes[index];
        uint32_t first = (uint32_t) ((uint64_t) index * herd->n_clients / herd->n_processes);
        uint32_t end = (uint32_t) ((uint64_t) (index + 1) * herd->n_clients / herd->n_processes);
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                err(EXIT_FAILURE, "pipe");
        p->pid = fork();
        if (p->pid < 0)
                err(EXIT_FAILURE, "fork");
        if (p->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (uint32_t i = 0; i < index; i++)
                        close(herd->processes[i].commands);
                close(fds[1]);
                close(herd->notes);
                herd_member_count(herd->counters);
                herd_member_run(&(HerdMember) { .address = herd->is_local ? herd->service.local : herd->service.tcp,
                                                .first = first, .n_clients = end - first, .commands = fds[0],
                                                .notes = notes_fd });
                exit(EXIT_SUCCESS);
        }
        close(fds[0]);
        p->commands = fds[1];
        if (clock_getcpuclockid(p->pid, &p->clock) != 0)
                errx(EXIT_FAILURE, "a process of the herd has no clock");
}

static void processes_start(Herd *herd) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                err(EXIT_FAILURE, "pipe");
        herd->notes = fds[0];
        for (uint32_t i = 0; i < herd->n_processes; i++)
                process_start(herd, i, fds[1]);
        close(fds[1]);
}

static void processes_end(Herd *herd) {
        for (uint32_t i = 0; i < herd->n_processes; i++)
                close(herd->processes[i].commands);
        for (uint32_t i = 0; i < herd->n_processes; i++) {
                int status;

                while (waitpid(herd->processes[i].pid, &status, 0) < 0 && errno == EINTR)
                        ;
                if (status != 0) {
                        fprintf(stderr, "a process of the herd ended with status %#x\n", status);
                        herd->n_wrong++;
                }
        }
}

static void send_all(Herd *herd) {
        herd->round++;
        for (uint32_t i = 0; i < herd->n_processes; i++)
                if (write(herd->processes[i].commands, "", 1) != 1)
                        err(EXIT_FAILURE, "a process of the herd");
}

/* What they note */

static void round_reset(Herd *herd) {
        for (uint32_t i = 0; i < herd->n_clients; i++)
                herd->connected[i] = herd->delivered[i] = UINT64_MAX;
        herd->n_connected = herd->n_delivered = 0;
}

static void take(Herd *herd, const HerdNote *note) {
        uint64_t *times = note->type == HERD_CONNECTED ? herd->connected : herd->delivered;

        if (note->type == HERD_WRONG) {
                herd->n_wrong++;
                return;
        }
        if (note->type == HERD_DELIVERED && note->value != herd->round) {
                fprintf(stderr, "herd-%u: a message of round %" PRIu64 " has its outcome in another\n", note->client,
                        note->value);
                herd->n_wrong++;
        }
        if (times[note->client] != UINT64_MAX)
                return; /* connected for the second time: the link was one to the service that was being killed */
        times[note->client] = note->usec > herd->since ? note->usec - herd->since : 0;
        (*(note->type == HERD_CONNECTED ? &herd->n_connected : &herd->n_delivered))++;
}

static void wait_for(Herd *herd, const uint32_t *count, const char *what) {
        while (*count < herd->n_clients && herd->n_wrong == 0) {
                struct pollfd pollfd = { .fd = herd->notes, .events = POLLIN };
                HerdNote notes[100];
                ssize_t n;

                if (poll(&pollfd, 1, PATIENCE_MS) <= 0)
                        errx(EXIT_FAILURE, "%u of %u clients are %s, and no more for %d s", *count, herd->n_clients, what,
                             PATIENCE_MS / 1000);
                n = read(herd->notes, notes, sizeof(notes));
                if (n <= 0)
                        errx(EXIT_FAILURE, "the herd has ended");
                for (size_t i = 0; i < (size_t) n / sizeof(notes[0]); i++)
                        take(herd, &notes[i]);
        }
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

/* A round */

static void round_report(Herd *herd, uint64_t down_ms, uint64_t listening, uint64_t n_failed, uint64_t n_full, uint64_t down_cpu,
                         const Overflows *before) {
        Overflows after = overflows_now();
        uint64_t first, last, span;

        qsort(herd->connected, herd->n_clients, sizeof(*herd->connected), compare);
        qsort(herd->delivered, herd->n_clients, sizeof(*herd->delivered), compare);
        first = herd->connected[0];
        last = herd->connected[herd->n_clients - 1];
        span = last > first ? last - first : 1;
        printf("%5" PRIu64 " %4s %6" PRIu64 " %7.1f %7.1f %7.1f %7.1f %8.1f %8" PRIu64 " %8.0f %7.1f %8.1f %5" PRIu64 " %5" PRIu64
               " %5" PRIu64 "\n",
               herd->round - 1, herd->signal == SIGKILL ? "KILL" : "TERM", down_ms, (double) listening / 1e3,
               (double) first / 1e3, (double) herd->connected[herd->n_clients / 2] / 1e3, (double) last / 1e3,
               (double) herd->delivered[herd->n_clients - 1] / 1e3, n_failed, herd->n_clients * 1e6 / (double) span,
               (double) cpu_of(herd->service.clock) / 1e3, (double) down_cpu / 1e3, after.n_overflows - before->n_overflows,
               after.n_drops - before->n_drops, n_full);
        fflush(stdout);
        if (herd->within_ms > 0 && herd->delivered[herd->n_clients - 1] > herd->within_ms * 1000) {
                fprintf(stderr, "not all messages were delivered within %" PRIu64 " ms of the restart\n", herd->within_ms);
                herd->n_wrong++;
        }
}

static void run_round(Herd *herd, uint64_t down_ms) {
        struct timespec down = { .tv_sec = (time_t) (down_ms / 1000), .tv_nsec = (long) (down_ms % 1000) * 1000000 };
        Overflows before = overflows_now();
        uint64_t n_connects, n_full, cpu, listening;

        round_reset(herd);
        n_connects = atomic_load(&herd->counters->n_connects);
        n_full = atomic_load(&herd->counters->n_full);
        cpu = herd_cpu(herd);
        herd_service_end(&herd->service, herd->signal);
        send_all(herd);
        (void) nanosleep(&down, NULL);
        cpu = herd_cpu(herd) - cpu;

        herd->since = herd_now();
        herd_service_start(&herd->service);
        listening = herd_now() - herd->since;
        wait_for(herd, &herd->n_connected, "connected again");
        wait_for(herd, &herd->n_delivered, "sure that their messages have arrived");
        if (herd->n_wrong > 0)
                return;
        n_connects = atomic_load(&herd->counters->n_connects) - n_connects;
        round_report(herd, down_ms, listening, n_connects - herd->n_clients, atomic_load(&herd->counters->n_full) - n_full, cpu,
                     &before);
}

static void run(Herd *herd) {
        herd->connected = calloc(herd->n_clients, sizeof(*herd->connected));
        herd->delivered = calloc(herd->n_clients, sizeof(*herd->delivered));
        herd->counters = mmap(NULL, sizeof(*herd->counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (!herd->connected || !herd->delivered || herd->counters == MAP_FAILED)
                err(EXIT_FAILURE, "start");
        herd_service_start(&herd->service);
        round_reset(herd);
        processes_start(herd);
        wait_for(herd, &herd->n_connected, "connected");
        send_all(herd);
        wait_for(herd, &herd->n_delivered, "heard");

        printf("%u clients in %u processes, %s. Milliseconds from the start of the service until it listens, the first,\n"
               "half and all clients are back, and all messages delivered; attempts that failed, clients a second, processor\n"
               "time (ms) of the service, of the clients while it was down; ListenOverflows, ListenDrops, local queue full.\n",
               herd->n_clients, herd->n_processes, herd->is_local ? herd->service.local : herd->service.tcp);
        printf("round  sig   down listens   first    half    last  traffic   failed clients/s     cpu  waiting  over drops"
               "  full\n");
        for (uint32_t i = 0; i < herd->n_rounds && herd->n_wrong == 0; i++)
                run_round(herd, herd->down_ms[i % herd->n_downs]);

        herd_service_end(&herd->service, SIGTERM); /* first: without it, nobody hears that others leave */
        processes_end(herd);
        free(herd->connected);
        free(herd->delivered);
}

/* Options */

static const struct option options[] = {
        { "service", required_argument, NULL, 's' }, { "clients", required_argument, NULL, 'c' },
        { "processes", required_argument, NULL, 'p' }, { "rounds", required_argument, NULL, 'r' },
        { "down", required_argument, NULL, 'd' },    { "term", no_argument, NULL, 't' },
        { "local", no_argument, NULL, 'l' },         { "within", required_argument, NULL, 'w' },
        { "help", no_argument, NULL, 'h' },          {},
};

static void usage(FILE *f) {
        fputs("herd [--service=PROGRAM] [--clients=1000] [--processes=20] [--rounds=10] [--down=MS[,MS...]] [--term] [--local]\n"
              "     [--within=MS]\n"
              "  --down    how long the service is down, by turns (0,500,2000,5000)\n"
              "  --term    it is told to stop, not killed: it names each client a delay\n"
              "  --local   over the local socket\n"
              "  --within  fail when the last message of a round is delivered later than that after the start of the service\n",
              f);
}

static bool parse_downs(Herd *herd, char *text) {
        herd->n_downs = 0;
        for (char *rest, *p = strtok_r(text, ",", &rest); p && herd->n_downs < DOWNS_MAX; p = strtok_r(NULL, ",", &rest))
                herd->down_ms[herd->n_downs++] = strtoull(p, NULL, 10);
        return herd->n_downs > 0;
}

static bool parse(Herd *herd, int argc, char **argv, const char **ret_executable) {
        const char *executable = getenv("DIRECTSERVER_EXECUTABLE");
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        executable = optarg;
                        break;
                case 'c':
                        herd->n_clients = (uint32_t) strtoul(optarg, NULL, 10);
                        break;
                case 'p':
                        herd->n_processes = (uint32_t) strtoul(optarg, NULL, 10);
                        break;
                case 'r':
                        herd->n_rounds = (uint32_t) strtoul(optarg, NULL, 10);
                        break;
                case 'd':
                        if (!parse_downs(herd, optarg))
                                return false;
                        break;
                case 't':
                        herd->signal = SIGTERM;
                        break;
                case 'l':
                        herd->is_local = true;
                        break;
                case 'w':
                        herd->within_ms = strtoull(optarg, NULL, 10);
                        break;
                case 'h':
                        usage(stdout);
                        exit(EXIT_SUCCESS);
                default:
                        return false;
                }
        *ret_executable = executable;
        return executable && optind == argc && herd->n_processes >= 1 && herd->n_processes <= PROCESSES_MAX &&
               herd->n_clients >= 3 * herd->n_processes; /* each watches two others */
}

int main(int argc, char **argv) {
        static Herd herd = { .n_clients = 1000, .n_processes = 20, .n_rounds = 10, .signal = SIGKILL,
                             .down_ms = { 0, 500, 2000, 5000 }, .n_downs = 4 };
        const char *executable;
        struct rlimit limit;

        if (!parse(&herd, argc, argv, &executable)) {
                usage(stderr);
                return EXIT_FAILURE;
        }
        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0) {
                limit.rlim_cur = limit.rlim_max;
                (void) setrlimit(RLIMIT_NOFILE, &limit);
        }
        signal(SIGPIPE, SIG_IGN);
        herd_service_init(&herd.service, executable);
        run(&herd);
        if (herd.n_wrong > 0)
                fprintf(stderr, "FAILED; what the service has kept is in %s\n", herd.service.directory);
        else
                herd_service_deinit(&herd.service);
        return herd.n_wrong > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
