/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A progress bar on stderr, one line, for one transfer at a time. Does nothing unless stderr is a terminal. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Smaller transfers are over before a bar could be read. */
#define PROGRESS_SIZE_MIN (UINT64_C(1) << 20)

typedef struct Progress {
        bool active;
        bool drawn;
        char label[64];
        uint64_t total;       /* UINT64_MAX: not known */
        uint64_t begin_usec;
        uint64_t drawn_usec;  /* when, and with how many bytes: what the rate is made of */
        uint64_t drawn_done;
        double rate;          /* bytes per second, smoothed */
} Progress;

void progress_begin(Progress *p, const char *label, uint64_t total, uint64_t now_usec);
void progress_update(Progress *p, uint64_t done, uint64_t now_usec);

/* Takes the bar off the screen: before another line is written, and at the end. */
void progress_erase(Progress *p);
void progress_end(Progress *p);

/* "4.0 GiB". Returns `buffer`. */
enum { PROGRESS_BYTES_MAX = 16 };
char *progress_format_bytes(char buffer[PROGRESS_BYTES_MAX], double bytes);
