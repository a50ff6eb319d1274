/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#include "tools/ctl-format.h"

#define USEC_PER_SEC UINT64_C(1000000)

static char *format_scaled(uint64_t n, unsigned base, const char *unit, char *buffer) {
        static const char prefixes[] = "KMGTPE";
        double value = (double) n;
        int i = -1;

        while (value >= base && i < (int) sizeof prefixes - 2) {
                value /= base;
                i++;
        }
        if (i < 0)
                snprintf(buffer, CTL_TEXT_SIZE, "%" PRIu64 "%s", n, unit);
        else
                snprintf(buffer, CTL_TEXT_SIZE, "%.1f%c", value, base == 1000 && prefixes[i] == 'K' ? 'k' : prefixes[i]);
        return buffer;
}

char *ctl_format_bytes(uint64_t n, char *buffer) {
        return format_scaled(n, 1024, "B", buffer);
}

char *ctl_format_count(uint64_t n, char *buffer) {
        if (n < 100000) {
                snprintf(buffer, CTL_TEXT_SIZE, "%" PRIu64, n);
                return buffer;
        }
        return format_scaled(n, 1000, "", buffer);
}

char *ctl_format_span(uint64_t usec, char *buffer) {
        static const struct {
                uint64_t usec;
                const char *name;
        } units[] = {
                { UINT64_C(86400) * USEC_PER_SEC, "d" },
                { UINT64_C(3600) * USEC_PER_SEC, "h" },
                { UINT64_C(60) * USEC_PER_SEC, "min" },
                { USEC_PER_SEC, "s" },
        };

        if (usec < 1000)
                snprintf(buffer, CTL_TEXT_SIZE, "%" PRIu64 "us", usec);
        else if (usec < USEC_PER_SEC)
                snprintf(buffer, CTL_TEXT_SIZE, "%.1fms", (double) usec / 1000);
        else if (usec < 10 * USEC_PER_SEC)
                snprintf(buffer, CTL_TEXT_SIZE, "%.1fs", (double) usec / USEC_PER_SEC);
        else {
                size_t i = 0;

                /* The two largest units say enough. */
                while (usec < units[i].usec)
                        i++;
                if (i == 3 || usec % units[i].usec < units[i + 1].usec)
                        snprintf(buffer, CTL_TEXT_SIZE, "%" PRIu64 "%s", usec / units[i].usec, units[i].name);
                else
                        snprintf(buffer, CTL_TEXT_SIZE, "%" PRIu64 "%s %" PRIu64 "%s", usec / units[i].usec, units[i].name,
                                 usec % units[i].usec / units[i + 1].usec, units[i + 1].name);
        }
        return buffer;
}

char *ctl_format_time(uint64_t usec, char *buffer) {
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        struct tm tm;

        if (!localtime_r(&seconds, &tm) || strftime(buffer, CTL_TEXT_SIZE, "%a %Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                snprintf(buffer, CTL_TEXT_SIZE, "-");
        return buffer;
}

uint64_t ctl_now_usec(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / 1000;
}

/* Whole seconds: an age in milliseconds is noise. */
char *ctl_format_age(uint64_t since_usec, char *buffer) {
        uint64_t now = ctl_now_usec(), seconds = now > since_usec ? (now - since_usec) / USEC_PER_SEC : 0;

        if (seconds >= 10)
                return ctl_format_span(seconds * USEC_PER_SEC, buffer);
        snprintf(buffer, CTL_TEXT_SIZE, "%" PRIu64 "s", seconds);
        return buffer;
}

/* What C calls printable includes marks that turn the direction of the text around them, or take no room: a program could make
 * its line look like another's. */
static bool is_harmless(wchar_t c) {
        static const struct {
                wchar_t first, last;
        } marks[] = {
                { 0x061c, 0x061c },
                { 0x200b, 0x200f },
                { 0x2028, 0x202e },
                { 0x2060, 0x206f },
                { 0xfeff, 0xfeff },
        };

        for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
                if (c >= marks[i].first && c <= marks[i].last)
                        return false;
        return iswprint((wint_t) c);
}

char *ctl_clean_text(const char *text) {
        size_t left = strlen(text);
        mbstate_t state = {};
        char *clean, *p;

        clean = p = malloc(left + 1);
        if (!clean)
                return NULL;
        while (left > 0) {
                wchar_t c;
                size_t n = mbrtowc(&c, text, left, &state);

                if (n == 0 || n > left) {
                        n = 1;
                        state = (mbstate_t) {};
                        *p++ = '?';
                } else if (!is_harmless(c))
                        *p++ = '?';
                else {
                        memcpy(p, text, n);
                        p += n;
                }
                text += n;
                left -= n;
        }
        *p = '\0';
        return clean;
}

bool ctl_use_colours(void) {
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

        return isatty(STDOUT_FILENO) && term && strcmp(term, "dumb") != 0 && (!no_color || no_color[0] == '\0');
}

const char *ctl_state_colour(const char *state) {
        static const struct {
                const char *state, *colour;
        } colours[] = {
                { "alive", "green" },
                { "busy", "yellow" },
                { "paused", "yellow" },
                { "away", "red" },
        };

        for (size_t i = 0; i < sizeof colours / sizeof colours[0]; i++)
                if (strcmp(state, colours[i].state) == 0)
                        return colours[i].colour;
        return NULL;
}
