/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the process, its directory and the pipe of its log. The pipe is only read until the server says where it listens: what
 * it has to say of some thousand clients fits, so nobody has to read while measuring. */

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/child.h"

enum {
        START_MS = 10 * 1000,
        LOG_PIPE_SIZE = 1024 * 1024, /* what an unprivileged process may ask for (fs.pipe-max-size) */
};

static void cleanup_child(Child *c) {
        child_stop(c);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
        return remove(path);
}

void child_stop(Child *c) {
        if (c->pid > 0) {
                kill(c->pid, SIGTERM);
                while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        if (c->log_fd >= 0)
                close(c->log_fd);
        if (c->directory)
                (void) nftw(c->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(c->directory);
        *c = CHILD_NULL;
}

static int make_directory(char **ret_directory) {
        const char *base = getenv("TMPDIR");
        char *directory;

        if (asprintf(&directory, "%s/directserver-bench-XXXXXX", base ? base : "/tmp") < 0)
                return -ENOMEM;
        if (!mkdtemp(directory)) {
                int r = -errno;

                free(directory);
                return r;
        }
        *ret_directory = directory;
        return 0;
}

static int spawn(Child *c, const char *path, char **argv) {
        posix_spawn_file_actions_t actions;
        int fds[2], r;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        c->log_fd = fds[0];
        (void) fcntl(fds[1], F_SETPIPE_SZ, LOG_PIPE_SIZE);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fds[1], STDERR_FILENO);
        r = posix_spawn(&c->pid, path, &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        close(fds[1]);
        if (r > 0) {
                c->pid = 0;
                return -r;
        }
        return -clock_getcpuclockid(c->pid, &c->clock);
}

/* Reads the log until it names the port. */
static int wait_listening(Child *c) {
        static const char phrase[] = "Listening on 127.0.0.1:";
        char log[4096] = "";
        size_t n = 0;

        for (;;) {
                struct pollfd pollfd = { .fd = c->log_fd, .events = POLLIN };
                const char *found = strstr(log, phrase);
                ssize_t k;

                if (found && strchr(found, '\n')) {
                        c->port = (uint16_t) atoi(found + strlen(phrase));
                        return 0;
                }
                if (n == sizeof(log) - 1 || poll(&pollfd, 1, START_MS) <= 0)
                        break;
                k = read(c->log_fd, log + n, sizeof(log) - 1 - n);
                if (k <= 0)
                        break;
                n += (size_t) k;
                log[n] = '\0';
        }
        fprintf(stderr, "The server did not start:\n%s\n", log);
        return -EIO;
}

static int write_configuration(const char *path, const char *settings) {
        FILE *f;

        f = fopen(path, "we");
        if (!f)
                return -errno;
        fprintf(f, "[Server]\n%s", settings);
        return fclose(f) == 0 ? 0 : -errno;
}

int child_get_address(const Child *c, bool local, char ret_address[static CHILD_ADDRESS_MAX]) {
        int n;

        if (local)
                n = snprintf(ret_address, CHILD_ADDRESS_MAX, "unix:%s/socket", c->directory);
        else
                n = snprintf(ret_address, CHILD_ADDRESS_MAX, "127.0.0.1:%u", c->port);
        return n < CHILD_ADDRESS_MAX ? 0 : -ENAMETOOLONG;
}

int child_start_service(const char *path, const char *settings, Child *ret_child) {
        __attribute__((cleanup(cleanup_child))) Child c = CHILD_NULL;
        char config[4096], state[4096], local[4096];
        char *argv[] = { (char *) path, config, state, "--bus=none", local, "--listen=127.0.0.1:0", NULL };
        int r;

        r = make_directory(&c.directory);
        if (r < 0)
                return r;
        snprintf(config, sizeof(config), "--config=%s/directserver.conf", c.directory);
        snprintf(state, sizeof(state), "--state-directory=%s/state", c.directory);
        snprintf(local, sizeof(local), "--listen=unix:%s/socket", c.directory);
        r = write_configuration(strchr(config, '=') + 1, settings);
        if (r >= 0)
                r = spawn(&c, path, argv);
        if (r >= 0)
                r = wait_listening(&c);
        if (r < 0)
                return r;
        *ret_child = c;
        c = CHILD_NULL;
        return 0;
}

int child_start_relay(const char *path, Child *ret_child) {
        __attribute__((cleanup(cleanup_child))) Child c = CHILD_NULL;
        char *argv[] = { (char *) path, NULL };
        int r;

        r = spawn(&c, path, argv);
        if (r >= 0)
                r = wait_listening(&c);
        if (r < 0)
                return r;
        *ret_child = c;
        c = CHILD_NULL;
        return 0;
}

int child_get_cpu(const Child *c, uint64_t *ret_nsec) {
        struct timespec ts;

        if (clock_gettime(c->clock, &ts) < 0)
                return -errno;
        *ret_nsec = (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
        return 0;
}
