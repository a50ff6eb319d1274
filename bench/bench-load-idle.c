/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What a server keeps for a client that is only there: its own memory (Pss), before and after. What the kernel keeps for a
 * socket is the same for all servers, and is not in it. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench/bench-load.h"
#include "bench/process.h"

static void close_client(Client *c) {
        if (c->receive_fd >= 0 && c->receive_fd != c->fd)
                close(c->receive_fd);
        if (c->fd >= 0)
                close(c->fd);
        *c = CLIENT_NULL;
}

static int open_all(const Side *s, Client *clients, unsigned n) {
        Client observer = CLIENT_NULL;
        int r = 0;

        observer.index = n;
        observer.sends = true;
        if (s->target->settle)
                r = s->target->open(&observer, &s->server);
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                clients[i].receives = true;
                r = s->target->open(&clients[i], &s->server);
                if (r >= 0)
                        r = s->target->subscribe(&clients[i], TARGET_ONE);
        }
        if (r >= 0 && s->target->settle)
                r = s->target->settle(&observer, TARGET_ONE, n);
        close_client(&observer);
        return r;
}

int measure_idle(const Side *s, unsigned n) {
        ProcessMemory before, after;
        Client *clients;
        int r;

        if (s->target->idle_max > 0 && n > s->target->idle_max)
                n = s->target->idle_max;
        clients = calloc(n, sizeof(*clients));
        if (!clients)
                return -ENOMEM;
        for (unsigned i = 0; i < n; i++) {
                clients[i] = CLIENT_NULL;
                clients[i].index = i;
        }
        r = process_get_memory(s->pid, &before);
        if (r >= 0)
                r = open_all(s, clients, n);
        if (r >= 0)
                r = process_get_memory(s->pid, &after);
        if (r >= 0) {
                printf("idle,%s,%u,%" PRIu64 ",%" PRIu64 "\n", s->label, n, before.pss_kib, after.pss_kib);
                fflush(stdout);
        }
        for (unsigned i = 0; i < n; i++)
                close_client(&clients[i]);
        free(clients);
        return r;
}
