/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whole clients first, then faults and messages in halves, quarters, and so on down to single ones, as long as that helps. It
 * must go on failing in the same way, whatever the numbers are. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/shrink.h"

enum {
        TRY_SECONDS_MAX = 20, /* of real time; one run takes some milliseconds */
        SHRINK_TRIES_MAX = 1000,
};

void try_plan(const Plan *p, RunResult *ret) {
        RunResult *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int status = 0;
        pid_t pid;

        sim_require(shared != MAP_FAILED);
        fflush(NULL);
        pid = fork();
        sim_require(pid >= 0);
        if (pid == 0) {
                alarm(TRY_SECONDS_MAX);
                run_plan(p, shared);
                fflush(NULL);
                _exit(0);
        }
        sim_require(waitpid(pid, &status, 0) == pid);
        *ret = *shared;
        if (status != 0) {
                ret->failed = true;
                if (WIFSIGNALED(status))
                        snprintf(ret->violation, sizeof(ret->violation), "%s",
                                 WTERMSIG(status) == SIGALRM ? "it does not end" : strsignal(WTERMSIG(status)));
                else
                        snprintf(ret->violation, sizeof(ret->violation), "exit status %d", WEXITSTATUS(status));
        }
        munmap(shared, sizeof(*shared));
}

static unsigned n_tries;
static char wanted[SIM_VIOLATION_MAX]; /* the violation, without its numbers */

static void strip_numbers(char *text) {
        char *to = text;

        for (const char *from = text; *from; from++)
                if (*from < '0' || *from > '9')
                        *to++ = *from;
        *to = '\0';
}

static bool still_fails(const Plan *p) {
        RunResult result;

        n_tries++;
        try_plan(p, &result);
        strip_numbers(result.violation);
        return result.failed && strcmp(result.violation, wanted) == 0;
}

/* Faults or messages, in pieces of `size`. */
static bool shrink_pieces(Plan *p, size_t size, bool faults) {
        bool *before = sim_must(malloc(p->n_items * sizeof(bool) + 1)), has_shrunk = false;

        for (size_t i = 0; i < p->n_items && n_tries < SHRINK_TRIES_MAX;) {
                size_t n = 0;

                for (size_t k = 0; k < p->n_items; k++)
                        before[k] = p->items[k].left_out;
                for (; i < p->n_items && n < size; i++)
                        if (!p->items[i].left_out && item_is_fault(&p->items[i]) == faults) {
                                p->items[i].left_out = true;
                                n++;
                        }
                if (n == 0)
                        continue;
                if (still_fails(p))
                        has_shrunk = true;
                else
                        for (size_t k = 0; k < p->n_items; k++)
                                p->items[k].left_out = before[k];
        }
        free(before);
        return has_shrunk;
}

static void leave_out_clients(Plan *p) {
        for (size_t i = 0; i < p->n_items; i++)
                p->items[i].left_out = p->items[i].client >= p->n_clients || p->items[i].target >= p->n_clients;
}

/* The last ones, as many as it does without. To be called first: it puts back what else was left out. */
static void shrink_clients(Plan *p) {
        while (p->n_clients > 2) {
                p->n_clients--;
                leave_out_clients(p);
                if (!still_fails(p)) {
                        p->n_clients++;
                        leave_out_clients(p);
                        return;
                }
        }
}

void shrink_plan(Plan *p, const char *violation) {
        bool has_shrunk = true;
        size_t size = 1;

        n_tries = 0;
        snprintf(wanted, sizeof(wanted), "%s", violation);
        strip_numbers(wanted);
        shrink_clients(p);
        while (size * 2 < p->n_items)
                size *= 2;
        for (; size > 0 && n_tries<SHRINK_TRIES_MAX; size = size> 1 || !has_shrunk ? size / 2 : 1) {
                has_shrunk = shrink_pieces(p, size, true);
                has_shrunk |= shrink_pieces(p, size, false);
        }
}
