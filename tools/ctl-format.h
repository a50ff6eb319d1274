/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Texts for people: numbers with units, times, colours, and what is safe to print. */

#include <stdlib.h>

#include "tools/ctl.h"

enum { CTL_TEXT_SIZE = 64 };

/* Each fills `buffer` (CTL_TEXT_SIZE bytes) and returns it. */
char *ctl_format_bytes(uint64_t n, char *buffer);   /* 1.2M, by 1024 */
char *ctl_format_count(uint64_t n, char *buffer);   /* 1.2M, by 1000; exact below 100,000 */
char *ctl_format_span(uint64_t usec, char *buffer); /* 3d 4h, 2min 5s, 1.250s, 12.3ms, 180us */
char *ctl_format_time(uint64_t usec, char *buffer); /* Wed 2026-11-25 02:31:19 UTC */
char *ctl_format_age(uint64_t since_usec, char *buffer); /* the span from then to now */

uint64_t ctl_now_usec(void); /* CLOCK_REALTIME */

/* A copy in which what the terminal would not print is "?"; free() it. NULL: out of memory */
char *ctl_clean_text(const char *text);

static inline void ctl_text_freep(char **text) {
        free(*text);
}

bool ctl_use_colours(void);

/* The colour that a state has, for libsmartcols; NULL: none */
const char *ctl_state_colour(const char *state);
