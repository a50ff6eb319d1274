/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The coordinator: knows which worker has which tile, and that is all there is to surviving the death of a worker. A tile is
 * done when the first result for it comes, from whomever. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "mandelbrot.h"

enum {
        N_WORKERS_MAX = 1024,
        N_AT_ONCE = 2, /* one is being computed, and the next is there when it is finished */
};

typedef struct Worker {
        uint64_t id;
        char name[DIRECT_NAME_MAX + 1];
        unsigned n_assigned, n_done;
        int is_present; /* neither gone, nor away, nor silent for too long */
} Worker;

typedef struct TileState {
        uint64_t worker; /* that computes it; 0: nobody */
        int is_done;
} TileState;

typedef struct Coordinator {
        const Job *job;
        Worker workers[N_WORKERS_MAX]; /* those that left as well: they are in the sum at the end */
        unsigned n_workers, n_present, n_expected;
        TileState *tiles;
        unsigned n_tiles, n_done, n_given_to_others;
        uint8_t *pixels;
} Coordinator;

static Worker *find_worker(Coordinator *c, uint64_t id) {
        for (unsigned i = 0; i < c->n_workers; i++)
                if (c->workers[i].id == id)
                        return &c->workers[i];
        return NULL;
}

static void assign(Coordinator *c, DirectClient *client, Worker *worker) {
        int r;

        for (uint32_t i = 0; i < c->n_tiles && worker->is_present && worker->n_assigned < N_AT_ONCE; i++) {
                Tile tile = { .job = c->job->number, .index = i };

                if (c->tiles[i].is_done || c->tiles[i].worker != 0)
                        continue;
                r = direct_send(client, worker->id, KIND_TILE, &tile, sizeof(tile));
                if (r < 0)
                        fail(client, r, "cannot hand out a tile");
                c->tiles[i].worker = worker->id;
                worker->n_assigned++;
        }
}

static void assign_all(Coordinator *c, DirectClient *client) {
        if (c->n_present < c->n_expected)
                return;
        c->n_expected = 0; /* only the start waits for them */
        for (unsigned i = 0; i < c->n_workers; i++)
                assign(c, client, &c->workers[i]);
}

static void worker_is_ready(Coordinator *c, DirectClient *client, uint64_t id) {
        Worker *worker = find_worker(c, id);

        if (!worker) {
                if (c->n_workers == N_WORKERS_MAX)
                        return;
                worker = &c->workers[c->n_workers++];
                worker->id = id;
                direct_watch(client, id, 1);
        }
        if (!worker->is_present) {
                worker->is_present = 1;
                c->n_present++;
        }
        assign_all(c, client);
}

static void worker_is_lost(Coordinator *c, DirectClient *client, const DirectEvent *event) {
        Worker *worker = find_worker(c, event->id);
        unsigned n = 0;

        if (!worker || !worker->is_present)
                return;
        snprintf(worker->name, sizeof(worker->name), "%s", event->name);
        worker->is_present = 0;
        worker->n_assigned = 0;
        c->n_present--;
        for (uint32_t i = 0; i < c->n_tiles; i++)
                if (c->tiles[i].worker == worker->id && !c->tiles[i].is_done) {
                        c->tiles[i].worker = 0;
                        n++;
                }
        c->n_given_to_others += n;
        say("worker %s (%" PRIu64 ") is lost (%s): its %u tiles go to others", event->name, event->id,
            direct_reason_name(event->reason), n);
        assign_all(c, client);
}

static void tile_is_done(Coordinator *c, DirectClient *client, uint64_t source, const uint8_t *data, size_t size) {
        Worker *worker = find_worker(c, source);
        Area area;
        Tile tile;

        memcpy(&tile, data, sizeof(tile));
        if (!worker || tile.job != c->job->number || tile.index >= c->n_tiles)
                return;
        area = job_area(c->job, tile.index);
        if (size != sizeof(tile) + (size_t) area.width * area.height * 3)
                return;

        if (c->tiles[tile.index].worker == source && worker->n_assigned > 0)
                worker->n_assigned--;
        if (!c->tiles[tile.index].is_done) {
                for (uint32_t row = 0; row < area.height; row++)
                        memcpy(c->pixels + ((size_t) (area.y + row) * c->job->width + area.x) * 3,
                               data + sizeof(tile) + (size_t) row * area.width * 3, (size_t) area.width * 3);
                c->tiles[tile.index].is_done = 1;
                worker->n_done++;
                show_progress("tile", ++c->n_done, c->n_tiles);
        }
        assign(c, client, worker);
}

static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        Coordinator *c = userdata;
        uint64_t source = direct_message_get_source(message), number = 0;
        uint16_t kind = direct_message_get_kind(message);
        const void *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);

        if (kind == KIND_READY && size == sizeof(number)) {
                memcpy(&number, data, sizeof(number));
                if (number == c->job->number)
                        worker_is_ready(c, client, source);
                else /* it came after the broadcast */
                        direct_send(client, source, KIND_JOB, c->job, sizeof(*c->job));
        } else if (kind == KIND_RESULT && size >= sizeof(Tile))
                tile_is_done(c, client, source, data, size);
        direct_message_free(message);
}

static void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        Coordinator *c = userdata;

        switch (event->type) {
        case DIRECT_EVENT_CONNECTED:
                direct_broadcast(client, KIND_JOB, c->job, sizeof(*c->job));
                break;
        case DIRECT_EVENT_LEFT:
        case DIRECT_EVENT_AWAY:
        case DIRECT_EVENT_BUSY: /* a worker is silent while it computes; one that is silent for so long may be stopped */
                worker_is_lost(c, client, event);
                break;
        case DIRECT_EVENT_BACK:
        case DIRECT_EVENT_ALIVE:
                if (find_worker(c, event->id))
                        worker_is_ready(c, client, event->id);
                break;
        case DIRECT_EVENT_KICKED:
        case DIRECT_EVENT_FAILED:
                fail(client, -ECONNABORTED, "the service has ended the connection");
        }
}

/* For people: messages come from ids, and these have names. */
static void find_names(Coordinator *c, DirectClient *client) {
        DirectPeer *peers;
        size_t n_peers;

        if (direct_list(client, 10000000, &peers, &n_peers) < 0)
                return;
        for (size_t i = 0; i < n_peers; i++) {
                Worker *worker = find_worker(c, peers[i].id);

                if (worker)
                        memcpy(worker->name, peers[i].name, sizeof(worker->name));
        }
        direct_list_free(peers);
}

static void print_sum(const Coordinator *c, double seconds) {
        printf("%u x %u pixels in %.1f s, %u tiles", c->job->width, c->job->height, seconds, c->n_tiles);
        if (c->n_given_to_others > 0)
                printf(", %u of them taken over from workers that were lost", c->n_given_to_others);
        printf("\n");
        for (unsigned i = 0; i < c->n_workers; i++)
                printf("  %s: %u tiles%s\n", c->workers[i].name, c->workers[i].n_done, c->workers[i].is_present ? "" : " (lost)");
}

int run_coordinator(const char *server, const Job *job, const char *output, unsigned n_expected) {
        Coordinator *c;
        DirectClient *client;
        double begin = 0, seconds;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c)
                fail(NULL, -ENOMEM, "cannot start");
        c->job = job;
        c->n_expected = n_expected;
        c->n_tiles = job_n_tiles(job);
        c->tiles = calloc(c->n_tiles, sizeof(TileState));
        c->pixels = malloc((size_t) job->width * job->height * 3);
        if (!c->tiles || !c->pixels)
                fail(NULL, -ENOMEM, "cannot hold the picture");

        client = client_new_or_fail(COORDINATOR_NAME, 64 << 20);
        direct_set_message_handler(client, on_message, c);
        direct_set_event_handler(client, on_event, c);
        connect_or_fail(client, server);

        say("%u tiles; waiting for workers ('mandelbrot worker' is one)", c->n_tiles);
        while (c->n_done < c->n_tiles) {
                if (begin == 0 && c->n_present > 0 && c->n_expected == 0)
                        begin = now();
                turn(client, DIRECT_FOREVER);
        }
        seconds = now() - begin;
        find_names(c, client);
        print_sum(c, seconds);

        r = write_png(output, c->pixels, job->width, job->height);
        if (r < 0)
                fail(NULL, r, output);
        printf("the picture is in %s\n", output);

        direct_client_free(client);
        free(c->pixels);
        free(c->tiles);
        free(c);
        return EXIT_SUCCESS;
}
