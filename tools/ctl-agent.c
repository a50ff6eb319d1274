/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/ctl-agent.h"

static pid_t agent_pid; /* 0: there is none */

void ctl_agent_open(const Ctl *ctl) {
        int pipe_fds[2];
        char fd[16];
        pid_t pid;

        if (!ctl->ask_password || ctl->user || geteuid() == 0 || !isatty(STDIN_FILENO))
                return;
        if (pipe(pipe_fds) < 0)
                return;
        snprintf(fd, sizeof fd, "%d", pipe_fds[1]);

        pid = fork();
        if (pid == 0) {
                (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
                close(pipe_fds[0]);
                /* --fallback: an agent that is registered already goes first */
                execlp("pkttyagent", "pkttyagent", "--notify-fd", fd, "--fallback", (char *) NULL);
                _exit(EXIT_FAILURE);
        }
        close(pipe_fds[1]);
        if (pid > 0) {
                agent_pid = pid;
                /* It closes its end when it is registered, or when it could not be started. */
                while (poll(&(struct pollfd) { .fd = pipe_fds[0], .events = POLLHUP }, 1, -1) < 0 && errno == EINTR)
                        ;
        }
        close(pipe_fds[0]);
}

void ctl_agent_close(void) {
        if (agent_pid <= 0)
                return;
        (void) kill(agent_pid, SIGTERM); /* it gives the terminal back as it was */
        (void) kill(agent_pid, SIGCONT);
        while (waitpid(agent_pid, NULL, 0) < 0 && errno == EINTR)
                ;
        agent_pid = 0;
}
