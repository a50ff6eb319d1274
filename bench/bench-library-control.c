/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the relay and the processes. Those that move bytes do it in pieces as large as the library's frames are, out of and into
 * memory that stays in the processor's caches, so they cost it less than a file does. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench-library-control.h"
#include "bench/bench-library-peer.h"

enum {
        CONTROL_PIECE = 65536,
        CONTROL_CALL = 104,           /* 64 bytes and a header */
        CONTROL_BUFFER = 512 * 1024,  /* as much is on its way as one sender of the library may have */
};

static int connect_to(uint16_t port) {
        struct sockaddr_in address = {
                .sin_family = AF_INET,
                .sin_port = htons(port),
                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        };
        int fd, on = 1, size = CONTROL_BUFFER / 2; /* the kernel doubles it */

        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

typedef int (*ControlTask)(int fd);

static int task_send(int fd) {
        static uint8_t piece[CONTROL_PIECE];

        while (send(fd, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
                ;
        return -errno;
}

static int task_receive(int fd) {
        static uint8_t piece[CONTROL_PIECE];

        while (recv(fd, piece, sizeof(piece), 0) > 0)
                ;
        return -errno;
}

static int task_answer(int fd) {
        uint8_t data[CONTROL_CALL];

        while (recv(fd, data, sizeof(data), MSG_WAITALL) == sizeof(data))
                if (send(fd, data, sizeof(data), MSG_NOSIGNAL) < 0)
                        break;
        return -errno;
}

static int start(const Control *c, ControlTask task, pid_t *ret_pid) {
        pid_t pid, parent = getpid();
        int fd;

        fd = connect_to(c->relay.port); /* here, so that the relay makes pairs in the order of these calls */
        if (fd < 0)
                return fd;
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() == parent)
                        task(fd);
                _exit(EXIT_FAILURE);
        }
        close(fd);
        if (pid < 0)
                return -errno;
        *ret_pid = pid;
        return 0;
}

static void stop(pid_t pid) {
        if (pid <= 0)
                return;
        kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}

void control_stop(Control *c) {
        stop(c->sends);
        stop(c->receives);
        stop(c->answers);
        if (c->fd >= 0)
                close(c->fd);
        child_stop(&c->relay);
        *c = CONTROL_NULL;
}

int control_start(const char *relay, Control *ret_control) {
        __attribute__((cleanup(control_stop))) Control c = CONTROL_NULL;
        int r;

        r = child_start_relay(relay, &c.relay);
        if (r >= 0)
                r = start(&c, task_answer, &c.answers);
        if (r >= 0)
                r = c.fd = connect_to(c.relay.port);
        if (r < 0)
                return r;
        *ret_control = c;
        c = CONTROL_NULL;
        return 0;
}

int control_move(Control *c) {
        int r;

        r = start(c, task_receive, &c->receives);
        return r < 0 ? r : start(c, task_send, &c->sends);
}

int control_call(Control *c, unsigned duration_ms, Histogram *h) {
        uint64_t begin = peer_now_nsec(), end = begin + duration_ms * UINT64_C(1000000), now = begin;
        uint8_t data[CONTROL_CALL] = {};

        for (; now < end; begin = now) {
                if (send(c->fd, data, sizeof(data), MSG_NOSIGNAL) != sizeof(data) ||
                    recv(c->fd, data, sizeof(data), MSG_WAITALL) != sizeof(data))
                        return -EIO;
                now = peer_now_nsec();
                histogram_add(h, now - begin);
        }
        return 0;
}
