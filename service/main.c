/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directserver: the service. */

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "service/log.h"
#include "service/options.h"
#include "service/server.h"

enum { EXIT_WRONG_COMMAND_LINE = 2 }; /* the units don't start it again then; LSB says 2, and systemd calls it INVALIDARGUMENT */

/* What is kept of incomplete frames and for slow receivers comes and goes with each turn, often at the top of the heap, which
 * would go back to the kernel and be asked for again each time: a quarter of all time with large messages (bench/NOTES.md). */
static void keep_heap(void) {
        mallopt(M_TRIM_THRESHOLD, 32 * 1024 * 1024);
        mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
}

/* A descriptor a client: the soft limit is for programs that use select(2). */
static void raise_descriptor_limit(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv) {
        Options options = OPTIONS_NULL;
        Server *server = NULL;
        int r;

        r = options_parse(argc, argv, &options);
        if (r <= 0)
                return r == -EINVAL ? EXIT_WRONG_COMMAND_LINE : r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        keep_heap();
        raise_descriptor_limit();
        signal(SIGPIPE, SIG_IGN); /* a reader of stderr may go away */
        r = server_new(&options, &server);
        if (r >= 0)
                r = server_run(server);
        server_free(server);
        options_deinit(&options);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
