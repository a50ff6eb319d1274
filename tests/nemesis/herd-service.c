/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the process, its directory and the pipe of its log, which is read until it listens: what it says after that fits into the
 * pipe. */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "herd-service.h"

enum {
        START_MS = 30 * 1000,
        LOG_PIPE_SIZE = 1024 * 1024, /* what an unprivileged process may ask for (fs.pipe-max-size) */
        N_ADDRESSES = 2,
        PORTS_N = 8192, /* to choose from; the lower ones are others' */
        SKIP_STATUS = 77,
};

/* Below the ports that the kernel gives to clients. Else one of them might take it while the service is down; or, with a thousand
 * that try again and again, one that connects to it from it, and so meets itself. */
static int free_port(void) {
        unsigned first = 32768;
        FILE *f;

        f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
        if (f) {
                if (fscanf(f, "%u", &first) != 1 || first <= 2 * PORTS_N)
                        errx(SKIP_STATUS, "the kernel gives all ports to clients");
                fclose(f);
        }
        for (;;) {
                struct sockaddr_in sin = { .sin_family = AF_INET };
                int fd, on = 1, r;
                uint16_t random;

                if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                        err(EXIT_FAILURE, "getrandom");
                sin.sin_port = htons((uint16_t) (first - 1 - random % PORTS_N));
                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                if (fd < 0)
                        err(EXIT_FAILURE, "socket");
                (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
                r = bind(fd, (struct sockaddr *) &sin, sizeof(sin));
                close(fd);
                if (r >= 0)
                        return ntohs(sin.sin_port);
        }
}

void herd_service_init(HerdService *service, const char *executable) {
        const char *base = getenv("TMPDIR");

        *service = (HerdService) { .executable = executable, .log_fd = -1 };
        if (!base || strlen(base) > 24)
                base = "/tmp";
        snprintf(service->directory, sizeof(service->directory), "%s/directserver-herd-XXXXXX", base);
        if (!mkdtemp(service->directory))
                err(EXIT_FAILURE, "mkdtemp");
        snprintf(service->tcp, sizeof(service->tcp), "127.0.0.1:%d", free_port());
        snprintf(service->local, sizeof(service->local), "unix:%s/socket", service->directory);
}

static void service_exec(const HerdService *service, int log_fd) {
        char state[128], tcp[64], local[128];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(state, sizeof(state), "--state-directory=%s/state", service->directory);
        snprintf(tcp, sizeof(tcp), "--listen=%s", service->tcp);
        snprintf(local, sizeof(local), "--listen=%s", service->local);
        dup2(log_fd, STDERR_FILENO);
        unsetenv("NOTIFY_SOCKET");
        unsetenv("JOURNAL_STREAM");
        unsetenv("STATE_DIRECTORY");
        execl(service->executable, "directserver", "--bus=none", state, tcp, local, NULL);
        _exit(127);
}

static void wait_listening(HerdService *service) {
        static const char phrase[] = "Listening on ";
        char log[4096] = "";
        size_t n = 0;

        for (;;) {
                struct pollfd pollfd = { .fd = service->log_fd, .events = POLLIN };
                size_t n_found = 0;
                ssize_t k;

                for (const char *p = log; (p = strstr(p, phrase)); p++)
                        n_found++;
                if (n_found == N_ADDRESSES)
                        return;
                if (n == sizeof(log) - 1 || poll(&pollfd, 1, START_MS) <= 0)
                        break;
                k = read(service->log_fd, log + n, sizeof(log) - 1 - n);
                if (k <= 0)
                        break;
                n += (size_t) k;
                log[n] = '\0';
        }
        errx(EXIT_FAILURE, "the service does not start:\n%s", log);
}

void herd_service_start(HerdService *service) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                err(EXIT_FAILURE, "pipe");
        (void) fcntl(fds[1], F_SETPIPE_SZ, LOG_PIPE_SIZE);
        service->pid = fork();
        if (service->pid < 0)
                err(EXIT_FAILURE, "fork");
        if (service->pid == 0)
                service_exec(service, fds[1]);
        close(fds[1]);
        service->log_fd = fds[0];
        if (clock_getcpuclockid(service->pid, &service->clock) != 0)
                errx(EXIT_FAILURE, "the service has no clock");
        wait_listening(service);
}

void herd_service_end(HerdService *service, int signal_number) {
        char log[4096] = "";
        int status;

        kill(service->pid, signal_number);
        while (waitpid(service->pid, &status, 0) < 0 && errno == EINTR)
                ;
        if (signal_number != SIGKILL && status != 0) {
                if (read(service->log_fd, log, sizeof(log) - 1) < 0)
                        log[0] = '\0';
                errx(EXIT_FAILURE, "the service ended with status %#x:\n%s", (unsigned) status, log);
        }
        close(service->log_fd);
        service->pid = 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *ftw) {
        return remove(path);
}

void herd_service_deinit(HerdService *service) {
        (void) nftw(service->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}
