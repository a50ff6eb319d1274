/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The worker: waits for jobs, computes the tiles that it is given, one after the other, and serves until it is ended. While it
 * computes it does not talk to the service, which does not mind: busy is not dead. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "mandelbrot.h"

typedef struct Worker {
        Job job; /* the latest */
} Worker;

static void say_ready(DirectClient *client, uint64_t coordinator, uint64_t job) {
        int r;

        r = coordinator ? direct_send(client, coordinator, KIND_READY, &job, sizeof(job)) :
                          direct_send_name(client, COORDINATOR_NAME, KIND_READY, &job, sizeof(job));
        if (r < 0)
                fail(client, r, "cannot report to the coordinator");
}

static void compute(DirectClient *client, const Worker *worker, uint64_t coordinator, Tile tile) {
        Area area;
        uint8_t *result;
        size_t size;
        int r;

        if (tile.job != worker->job.number || tile.index >= job_n_tiles(&worker->job))
                return;

        area = job_area(&worker->job, tile.index);
        size = sizeof(tile) + (size_t) area.width * area.height * 3;
        result = malloc(size);
        if (!result)
                fail(client, -ENOMEM, "cannot compute a tile");
        memcpy(result, &tile, sizeof(tile));
        job_compute(&worker->job, area, result + sizeof(tile));

        r = direct_send(client, coordinator, KIND_RESULT, result, size);
        free(result);
        if (r < 0 && r != -ENOTCONN) /* not connected just now: the coordinator has given the tile to another then */
                fail(client, r, "cannot send a result");
}

static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        Worker *worker = userdata;
        uint64_t source = direct_message_get_source(message);
        uint16_t kind = direct_message_get_kind(message);
        const void *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);

        if (kind == KIND_JOB && size == sizeof(Job)) {
                Job job;

                memcpy(&job, data, sizeof(job));
                if (job_is_sane(&job)) {
                        worker->job = job;
                        say_ready(client, source, job.number);
                }
        } else if (kind == KIND_TILE && size == sizeof(Tile)) {
                Tile tile;

                memcpy(&tile, data, sizeof(tile));
                compute(client, worker, source, tile);
        }
        direct_message_free(message);
}

static void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        /* At first, and after each reconnection. Where there is no coordinator yet, this message goes nowhere, and the
         * broadcast of its job will find us. */
        if (event->type == DIRECT_EVENT_CONNECTED)
                say_ready(client, 0, 0);
        else if (event->type == DIRECT_EVENT_KICKED || event->type == DIRECT_EVENT_FAILED)
                fail(client, -ECONNABORTED, "the service has ended the connection");
}

int run_worker(const char *server) {
        Worker worker = {};
        DirectClient *client;

        client = client_new_or_fail(NULL, 1 << 20);
        direct_set_message_handler(client, on_message, &worker);
        direct_set_event_handler(client, on_event, &worker);
        connect_or_fail(client, server);
        for (;;)
                turn(client, DIRECT_FOREVER);
}
