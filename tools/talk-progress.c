/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The progress bar. It owns the line of the terminal that the cursor is in while it is drawn, and nothing else: whoever writes
 * to the terminal in between erases it first. Time and figures are given to it; it asks only for the width of the terminal, at
 * each drawing, because people resize windows. */

#include "tools/talk-progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
        PROGRESS_WIDTH_DEFAULT = 80, /* a terminal that does not say */
        PROGRESS_WIDTH_MIN = 24,     /* there is nothing to be shown in less */
        PROGRESS_WIDTH_MAX = 120,    /* a longer bar tells no more */
        PROGRESS_BAR_MIN = 8,
};
#define PROGRESS_DELAY_USEC UINT64_C(300000)  /* what is over sooner shows no bar */
#define PROGRESS_REDRAW_USEC UINT64_C(100000) /* the eye sees no more */
#define PROGRESS_SMOOTHING 0.2                /* of each new rate: the last half second counts for two thirds */

char *progress_format_bytes(char buffer[PROGRESS_BYTES_MAX], double bytes) {
        static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
        size_t i = 0;

        for (; bytes >= 999.5 && i + 1 < sizeof(units) / sizeof(units[0]); i++)
                bytes /= 1024;
        snprintf(buffer, PROGRESS_BYTES_MAX, i == 0 || bytes >= 99.95 ? "%.0f %s" : "%.1f %s", bytes, units[i]);
        return buffer;
}

static void progress_format_time(char *buffer, size_t size, double seconds) {
        unsigned s = seconds < 360000 ? (unsigned) (seconds + 0.5) : 360000;

        if (s < 3600)
                snprintf(buffer, size, "%u:%02u", s / 60, s % 60);
        else
                snprintf(buffer, size, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
}

static int progress_width(void) {
        struct winsize w;

        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0)
                return PROGRESS_WIDTH_DEFAULT;
        return w.ws_col < PROGRESS_WIDTH_MAX ? w.ws_col : PROGRESS_WIDTH_MAX;
}

void progress_begin(Progress *p, const char *label, uint64_t total, uint64_t now_usec) {
        progress_end(p);
        if (!isatty(STDERR_FILENO) || total < PROGRESS_SIZE_MIN)
                return;
        *p = (Progress) { .active = true, .total = total, .begin_usec = now_usec, .drawn_usec = now_usec };
        snprintf(p->label, sizeof(p->label), "%s", label);
}

static void progress_draw(const Progress *p, uint64_t done, uint64_t now_usec) {
        char head[128], bytes[PROGRESS_BYTES_MAX], rate[PROGRESS_BYTES_MAX], time[32], tail[96], bar[PROGRESS_WIDTH_MAX + 1];
        int width, room, filled;

        width = progress_width() - 3; /* "^C" still fits behind it, so the line does not wrap and can be erased */
        if (width < PROGRESS_WIDTH_MIN)
                return;

        progress_format_bytes(bytes, (double) done);
        progress_format_bytes(rate, p->rate);
        if (p->total == UINT64_MAX) {
                progress_format_time(time, sizeof(time), (double) (now_usec - p->begin_usec) / 1e6);
                fprintf(stderr, "\r\033[K%.*s  %s  %s/s  %s", width - 40 > 0 ? width - 40 : 0, p->label, bytes, rate, time);
                return;
        }

        progress_format_time(time, sizeof(time), p->rate > 0 ? (double) (p->total - done) / p->rate : 0);
        snprintf(head, sizeof(head), "%.*s %3d%% ", width / 3, p->label, (int) (100.0 * (double) done / (double) p->total));
        snprintf(tail, sizeof(tail), " %8s  %8s/s  %s left", bytes, rate, time);

        room = width - (int) strlen(head) - (int) strlen(tail) - 2;
        if (room < PROGRESS_BAR_MIN) {
                fprintf(stderr, "\r\033[K%.*s", width, head);
                return;
        }
        filled = (int) ((double) room * (double) done / (double) p->total);
        memset(bar, ' ', (size_t) room);
        memset(bar, '=', (size_t) filled);
        if (filled < room)
                bar[filled] = '>';
        bar[room] = 0;
        fprintf(stderr, "\r\033[K%s[%s]%s", head, bar, tail);
}

void progress_update(Progress *p, uint64_t done, uint64_t now_usec) {
        double rate;

        if (!p->active || now_usec < p->begin_usec + PROGRESS_DELAY_USEC || now_usec < p->drawn_usec + PROGRESS_REDRAW_USEC)
                return;
        if (done > p->total) /* a file that grows */
                done = p->total;

        rate = (double) (done - p->drawn_done) / ((double) (now_usec - p->drawn_usec) / 1e6);
        p->rate = p->rate > 0 ? p->rate + PROGRESS_SMOOTHING * (rate - p->rate) : rate;
        p->drawn_usec = now_usec;
        p->drawn_done = done;
        p->drawn = true;
        progress_draw(p, done, now_usec);
        fflush(stderr);
}

void progress_erase(Progress *p) {
        if (!p->drawn)
                return;
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->drawn = false;
}

void progress_end(Progress *p) {
        progress_erase(p);
        p->active = false;
}
