/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/ctl-format.h"
#include "tools/ctl-table.h"

static pid_t pager_pid; /* 0: there is none */

static struct winsize terminal_size(void) {
        struct winsize size = {};

        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
                return (struct winsize) {};
        return size;
}

size_t ctl_terminal_width(void) {
        return terminal_size().ws_col;
}

int ctl_table_new(const Ctl *ctl, const CtlColumn *columns, struct libscols_table **ret_table) {
        _cleanup_(ctl_table_unrefp) struct libscols_table *table = NULL;
        struct winsize size = terminal_size();

        table = scols_new_table();
        if (!table)
                return -ENOMEM;
        for (const CtlColumn *c = columns; c->name; c++)
                if (!scols_table_new_column(table, c->name, c->width, c->flags))
                        return -ENOMEM;
        scols_table_enable_noheadings(table, !ctl->legend);
        scols_table_enable_colors(table, ctl_use_colours());

        /* Said here, while stdout is not the pager yet. */
        if (size.ws_col > 0) {
                scols_table_set_termforce(table, SCOLS_TERMFORCE_ALWAYS);
                scols_table_set_termwidth(table, size.ws_col);
        }
        *ret_table = table;
        table = NULL;
        return 0;
}

int ctl_table_add(struct libscols_table *table, const char *const *texts, struct libscols_line **ret_line) {
        struct libscols_line *line;
        int r;

        line = scols_table_new_line(table, NULL);
        if (!line)
                return -ENOMEM;
        for (size_t i = 0; i < scols_table_get_ncols(table); i++) {
                r = scols_line_set_data(line, i, texts[i]);
                if (r < 0)
                        return r;
        }
        if (ret_line)
                *ret_line = line;
        return 0;
}

static void run_pager(const char *pager) {
        char buffer[BUFSIZ];
        ssize_t n;

        if (pager) {
                execl("/bin/sh", "sh", "-c", pager, (char *) NULL);
                return;
        }
        execlp("less", "less", (char *) NULL);
        execlp("more", "more", (char *) NULL);
        while ((n = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
                if (write(STDOUT_FILENO, buffer, (size_t) n) != n)
                        break;
}

void ctl_pager_open(const Ctl *ctl, size_t n_lines) {
        const char *pager = getenv("SYSTEMD_PAGER") ?: getenv("PAGER");
        int pipe_fds[2];
        pid_t pid;

        if (!ctl->pager || pager_pid > 0 || !isatty(STDOUT_FILENO) || n_lines < terminal_size().ws_row)
                return;
        if (pager && (pager[0] == '\0' || strcmp(pager, "cat") == 0))
                return;
        if (pipe(pipe_fds) < 0)
                return; /* then without */

        fflush(stdout);
        pid = fork();
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
                (void) dup2(pipe_fds[0], STDIN_FILENO);
                close(pipe_fds[0]);
                close(pipe_fds[1]);
                (void) setenv("LESS", "FRSXMK", 1);
                (void) setenv("LESSCHARSET", "utf-8", 0);
                (void) setenv("LESSSECURE", "1", 1); /* a list of clients needs no shell, and we may be root */
                run_pager(pager);
                _exit(EXIT_FAILURE);
        }
        if (pid > 0) {
                (void) dup2(pipe_fds[1], STDOUT_FILENO);
                (void) signal(SIGPIPE, SIG_IGN); /* the user may leave before the end */
                (void) signal(SIGINT, SIG_IGN);  /* and it is the pager that ^C interrupts */
                pager_pid = pid;
        }
        close(pipe_fds[0]);
        close(pipe_fds[1]);
}

void ctl_pager_close(void) {
        if (pager_pid <= 0)
                return;
        fflush(stdout);
        close(STDOUT_FILENO); /* the end of the pager's input */
        while (waitpid(pager_pid, NULL, 0) < 0 && errno == EINTR)
                ;
        pager_pid = 0;
}
