/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the relay and both processes. They move pieces as large as the library's frames are, out of and into memory that stays in the
 * processor's caches, so they cost it less than a file does. */

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench-library-control.h"

enum { CONTROL_PIECE = 65536 };

static int connect_to(uint16_t port) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        int fd;

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

_Noreturn static void move(int fd, bool sends) {
        static uint8_t piece[CONTROL_PIECE];
        ssize_t n;

        do
                n = sends ? send(fd, piece, sizeof(piece), MSG_NOSIGNAL) : recv(fd, piece, sizeof(piece), 0);
        while (n > 0);
        _exit(EXIT_FAILURE);
}

static int start(uint16_t port, bool sends, pid_t *ret_pid) {
        pid_t pid, parent = getpid();
        int fd;

        fd = connect_to(port); /* here, so that the relay takes both for one pair */
        if (fd < 0)
                return fd;
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                move(fd, sends);
        }
        close(fd);
        if (pid < 0)
                return -errno;
        *ret_pid = pid;
        return 0;
}

void control_stop(Control *c) {
        for (size_t i = 0; i < 2; i++) {
                if (c->pids[i] <= 0)
                        continue;
                kill(c->pids[i], SIGKILL);
                while (waitpid(c->pids[i], NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        child_stop(&c->relay);
        *c = (Control) { .relay = CHILD_NULL };
}

int control_start(const char *relay, Control *ret_control) {
        Control c = { .relay = CHILD_NULL };
        int r;

        r = child_start_relay(relay, false, &c.relay);
        if (r >= 0)
                r = start(c.relay.port, false, &c.pids[1]);
        if (r >= 0)
                r = start(c.relay.port, true, &c.pids[0]);
        if (r < 0) {
                control_stop(&c);
                return r;
        }
        *ret_control = c;
        return 0;
}
