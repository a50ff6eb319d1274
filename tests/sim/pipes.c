/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pipes are the kernel's. How much it lets one hold depends on the machine, so a writer adds only to one that is empty, and
 * no more than any takes. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include "tests/sim/pipes.h"

enum {
        PIPES_PIECE_FIRST = 64, /* what a payload says of itself comes in one piece */
        PIPES_PIECE_MAX = 4096, /* the least that a pipe holds */
        PIPES_PAUSE_MAX_USEC = 4000,
        PIPES_FULL_USEC = 30000, /* who does not read now may not for as long as a partition lasts */
};

typedef struct Writer {
        LIST_ENTRY(Writer) entry;
        Actor *reader;
        int fd;
        uint64_t size, done;
        Rng rng;
        uint8_t data[];
} Writer;

static LIST_HEAD(, Writer) writers;
static bool are_used;

static void writer_free(Writer *w) {
        close(w->fd);
        LIST_REMOVE(w, entry);
        free(w);
}

static void write_event(void *object, uint64_t number);

static void writer_go_on(Writer *w) {
        world_in(rng_between(&w->rng, 1, PIPES_PAUSE_MAX_USEC), write_event, w, 0);
}

static void write_event(void *object, uint64_t number) {
        Writer *w = object;
        Actor *reader = w->reader;
        uint64_t size = rng_between(&w->rng, w->done == 0 ? PIPES_PIECE_FIRST : 1, PIPES_PIECE_MAX);
        int n_unread = 0;
        ssize_t n;

        sim_require(ioctl(w->fd, FIONREAD, &n_unread) == 0);
        if (n_unread > 0) {
                world_in(PIPES_FULL_USEC, write_event, w, 0);
                return;
        }
        if (size > w->size - w->done)
                size = w->size - w->done;
        n = write(w->fd, w->data + w->done, size);
        sim_require(n == (ssize_t) size || (n < 0 && errno == EPIPE));
        if (n > 0)
                w->done += size;
        if (n > 0 && w->done < w->size)
                writer_go_on(w);
        else
                writer_free(w);
        actor_wake(reader);
}

int pipes_new(Actor *reader, const void *data, uint64_t size, bool ends_early, uint64_t seed) {
        Writer *w = sim_must(malloc(sizeof(*w) + size));
        int fds[2];

        sim_require(signal(SIGPIPE, SIG_IGN) != SIG_ERR && pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
        *w = (Writer) { .reader = reader, .fd = fds[1], .size = ends_early ? size / 2 : size, .rng = rng_derive(seed, 6) };
        memcpy(w->data, data, size);
        LIST_INSERT_HEAD(&writers, w, entry);
        are_used = true;
        writer_go_on(w);
        return fds[0];
}

bool pipes_are_used(void) {
        return are_used;
}

void pipes_deinit(void) {
        while (!LIST_EMPTY(&writers))
                writer_free(LIST_FIRST(&writers));
        are_used = false;
}
