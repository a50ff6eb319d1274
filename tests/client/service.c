/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Starts the service as an administrator would, and learns from its log where it listens. */

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/client/service.h"

static void service_exec(const Service *service, int output) {
        char local_option[160], listen_option[64], state_option[128];

        /* In this order: what is said of the last one tells that it listens everywhere */
        snprintf(local_option, sizeof(local_option), "--listen=%s", service->local_address);
        snprintf(listen_option, sizeof(listen_option), "--listen=127.0.0.1:%d", service->port);
        snprintf(state_option, sizeof(state_option), "--state-directory=%s", service->directory);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves no service behind */
        dup2(output, STDERR_FILENO);
        unsetenv("NOTIFY_SOCKET");
        execl(getenv("DIRECTSERVER_EXECUTABLE"), "directserver", local_option, listen_option, "--bus=none", state_option, NULL);
        _exit(127);
}

void service_start(Service *service) {
        static const char announcement[] = "Listening on 127.0.0.1:";
        int fds[2], port = 0;
        char line[512];
        FILE *log;

        if (service->directory[0] == '\0') {
                strcpy(service->directory, "/tmp/test-directclient-XXXXXX");
                ck_assert_ptr_nonnull(mkdtemp(service->directory));
        }
        snprintf(service->local_address, sizeof(service->local_address), "unix:%s/socket", service->directory);
        ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
        service->pid = fork();
        ck_assert_int_ge(service->pid, 0);
        if (service->pid == 0)
                service_exec(service, fds[1]);
        close(fds[1]);
        log = fdopen(fds[0], "r");
        while (port == 0 && fgets(line, sizeof(line), log)) {
                const char *p = strstr(line, announcement);

                if (p)
                        port = atoi(p + strlen(announcement));
        }
        ck_assert_msg(port > 0, "the service does not start: %s", line);
        service->port = port;
        snprintf(service->address, sizeof(service->address), "127.0.0.1:%d", port);
        /* The rest of the log goes nowhere, but the pipe has to stay open: its end would be the service's */
        ck_assert_int_ge(fcntl(fds[0], F_DUPFD_CLOEXEC, 100), 0);
        fclose(log);
}

void service_stop(Service *service, int signal_number) {
        if (service->pid <= 0)
                return;
        kill(service->pid, signal_number);
        ck_assert_int_eq(waitpid(service->pid, NULL, 0), service->pid);
        service->pid = 0;
}

void service_clean(Service *service) {
        struct dirent *entry;
        DIR *directory;

        directory = opendir(service->directory);
        while (directory && (entry = readdir(directory)))
                if (entry->d_name[0] != '.')
                        unlinkat(dirfd(directory), entry->d_name, 0);
        if (directory)
                closedir(directory);
        rmdir(service->directory);
}
