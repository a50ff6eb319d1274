/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads /proc. The processor time is the scheduler's (clock_getcpuclockid), to a nanosecond; how much of it was the kernel's is
 * known to a clock tick only. */

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench/process.h"

static int read_file(pid_t pid, const char *name, char *text, size_t size) {
        char path[64];
        size_t n;
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/%s", (int) pid, name);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        n = fread(text, 1, size - 1, f);
        fclose(f);
        text[n] = '\0';
        return 0;
}

int process_get_times(pid_t pid, ProcessTimes *ret_times) {
        uint64_t user, system, tick = 1000000000 / (uint64_t) sysconf(_SC_CLK_TCK);
        struct timespec ts;
        char text[1024], *p;
        clockid_t clock;
        int r;

        r = clock_getcpuclockid(pid, &clock);
        if (r != 0)
                return -r;
        if (clock_gettime(clock, &ts) < 0)
                return -errno;
        r = read_file(pid, "stat", text, sizeof(text));
        if (r < 0)
                return r;
        p = strrchr(text, ')'); /* the name may have any characters */
        if (!p || sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user, &system) != 2)
                return -EPROTO;
        *ret_times = (ProcessTimes) {
                .cpu_nsec = (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec,
                .user_nsec = user * tick,
                .system_nsec = system * tick,
        };
        return 0;
}

static uint64_t find_kib(const char *text, const char *key) {
        const char *p = strstr(text, key);

        return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

int process_get_memory(pid_t pid, ProcessMemory *ret_memory) {
        char rollup[4096], status[4096];
        int r;

        r = read_file(pid, "smaps_rollup", rollup, sizeof(rollup));
        if (r >= 0)
                r = read_file(pid, "status", status, sizeof(status));
        if (r < 0)
                return r;
        *ret_memory = (ProcessMemory) {
                .pss_kib = find_kib(rollup, "\nPss:"),
                .resident_kib = find_kib(status, "\nVmRSS:"),
                .peak_kib = find_kib(status, "\nVmHWM:"),
        };
        return 0;
}

static int set_affinity(pid_t pid, const cpu_set_t *set, const cpu_set_t *own) {
        struct dirent *entry;
        char path[64];
        DIR *d;
        int r = 0;

        snprintf(path, sizeof(path), "/proc/%d/task", (int) pid);
        d = opendir(path);
        if (!d)
                return -errno;
        while ((entry = readdir(d))) {
                pid_t thread = atoi(entry->d_name);

                if (thread > 0 && sched_setaffinity(thread, sizeof(*set), set) < 0 && errno != ESRCH)
                        r = -errno;
        }
        closedir(d);
        return r < 0 ? r : sched_setaffinity(0, sizeof(*own), own) < 0 ? -errno : 0;
}

int process_bind(pid_t pid, int processor, int own_processor) {
        cpu_set_t set, own;

        CPU_ZERO(&set);
        CPU_ZERO(&own);
        CPU_SET((size_t) processor, &set);
        CPU_SET((size_t) own_processor, &own);
        return set_affinity(pid, &set, &own);
}

int process_unbind(pid_t pid) {
        cpu_set_t set;

        memset(&set, 0xff, sizeof(set));
        return set_affinity(pid, &set, &set);
}
