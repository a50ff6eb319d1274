/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a process that is not ours costs */

#include <stdint.h>
#include <sys/types.h>


typedef struct ProcessTimes {
        uint64_t cpu_nsec;          /* user and system, as the scheduler counts */
        uint64_t user_nsec, system_nsec; /* the kernel's division of it, to a clock tick */
} ProcessTimes;
int process_get_times(pid_t pid, ProcessTimes *ret_times);

typedef struct ProcessMemory {
        uint64_t pss_kib, resident_kib, peak_kib;
} ProcessMemory;
int process_get_memory(pid_t pid, ProcessMemory *ret_memory);

/* Binds all threads of a process to one processor, and ours to the same or another one; or lets all run on all that there are. */
int process_bind(pid_t pid, int processor, int own_processor);
int process_unbind(pid_t pid);
