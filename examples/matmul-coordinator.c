/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The coordinator: makes the matrices, hands out blocks of rows, and checks the result. B lives in a file in memory, so it
 * goes to the workers with direct_send_fd(), which copies nothing, however many they are. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "common.h"
#include "matmul.h"

enum {
        N_WORKERS_MAX = 256,
        N_AT_ONCE = 2,  /* blocks for a worker: one is computed while the other travels */
        N_ROUNDS = 10,
};
#define TOLERANCE 1e-9 /* of doubles that were summed in another order */

typedef struct Coordinator Coordinator;

typedef struct Worker {
        Coordinator *coordinator;
        uint64_t id;
        char name[DIRECT_NAME_MAX + 1];
        unsigned n_assigned, n_done;
        int is_ready; /* it has B */
        int is_lost;
} Worker;

typedef struct Block {
        Worker *worker; /* that computes it, or has */
        int is_done;
} Block;

/* What a call needs to know when it ends */
typedef struct Task {
        Worker *worker;
        uint32_t index;
} Task;

struct Coordinator {
        Head head; /* job and size */
        uint32_t block_rows;
        double *a, *b, *c;
        int b_fd; /* a Head, and B */
        Worker workers[N_WORKERS_MAX];
        unsigned n_workers, n_ready, n_expected;
        Block *blocks;
        unsigned n_blocks, n_done;
        uint64_t n_bytes; /* sent and received */
};

static uint32_t block_n_rows(const Coordinator *c, uint32_t index) {
        uint32_t first = index * c->block_rows;

        return c->head.size - first < c->block_rows ? c->head.size - first : c->block_rows;
}

static void assign_all(Coordinator *c, DirectClient *client);

/* The end of a call: the rows are there, or the worker is not. */
static void on_reply(DirectClient *client, int result, DirectMessage *reply, void *userdata) {
        Task *task = userdata;
        Worker *worker = task->worker;
        Coordinator *c = worker->coordinator;
        uint32_t index = task->index;
        size_t n_bytes = (size_t) block_n_rows(c, index) * c->head.size * sizeof(double);

        free(task);
        worker->n_assigned--;
        if (result >= 0 && direct_message_get_size(reply) == n_bytes) {
                memcpy(c->c + (size_t) index * c->block_rows * c->head.size, direct_message_get_data(reply), n_bytes);
                c->blocks[index].is_done = 1;
                c->n_bytes += n_bytes;
                worker->n_done++;
                show_progress("block", ++c->n_done, c->n_blocks);
        } else {
                c->blocks[index].worker = NULL;
                if (!worker->is_lost)
                        say("worker %s is lost (%s): its blocks go to others", worker->name,
                            strerror(result < 0 ? -result : EBADMSG));
                worker->is_lost = 1;
        }
        direct_message_free(reply);

        if (result != -ECANCELED) /* that is our own end */
                assign_all(c, client);
}

static int send_block(DirectClient *client, Worker *worker, uint32_t index) {
        Coordinator *c = worker->coordinator;
        Head head = c->head;
        size_t n_bytes;
        Task *task;
        uint8_t *data;
        int r;

        head.n_rows = block_n_rows(c, index);
        n_bytes = (size_t) head.n_rows * head.size * sizeof(double);
        task = malloc(sizeof(*task));
        data = malloc(sizeof(head) + n_bytes);
        if (!task || !data)
                fail(NULL, -ENOMEM, "cannot hand out a block");
        *task = (Task) { .worker = worker, .index = index };
        memcpy(data, &head, sizeof(head));
        memcpy(data + sizeof(head), c->a + (size_t) index * c->block_rows * head.size, n_bytes);

        r = direct_call_start(client, worker->id, KIND_BLOCK, data, sizeof(head) + n_bytes, DIRECT_FOREVER, on_reply, task);
        free(data);
        if (r < 0) {
                free(task);
                return r;
        }
        c->blocks[index].worker = worker;
        c->n_bytes += sizeof(head) + n_bytes;
        worker->n_assigned++;
        return 0;
}

static void assign(DirectClient *client, Worker *worker) {
        Coordinator *c = worker->coordinator;

        for (uint32_t i = 0; i < c->n_blocks && worker->is_ready && !worker->is_lost && worker->n_assigned < N_AT_ONCE; i++) {
                int r;

                if (c->blocks[i].worker)
                        continue;
                r = send_block(client, worker, i);
                if (r == -EAGAIN) /* enough is on its way; DIRECT_EVENT_WRITABLE follows */
                        return;
                if (r < 0)
                        fail(client, r, "cannot hand out a block");
        }
}

static void assign_all(Coordinator *c, DirectClient *client) {
        for (unsigned i = 0; i < c->n_workers && c->n_ready >= c->n_expected; i++)
                assign(client, &c->workers[i]);
}

static Worker *find_worker(Coordinator *c, uint64_t id) {
        for (unsigned i = 0; i < c->n_workers; i++)
                if (c->workers[i].id == id)
                        return &c->workers[i];
        return NULL;
}

static void add_worker(Coordinator *c, DirectClient *client, uint64_t id, const char *name) {
        uint64_t n_bytes = sizeof(Head) + (uint64_t) c->head.size * c->head.size * sizeof(double);
        Worker *worker;
        int r;

        if (strncmp(name, WORKER_PREFIX, strlen(WORKER_PREFIX)) != 0 || c->n_workers == N_WORKERS_MAX || find_worker(c, id))
                return;
        worker = &c->workers[c->n_workers++];
        *worker = (Worker) { .coordinator = c, .id = id };
        snprintf(worker->name, sizeof(worker->name), "%s", name);

        r = direct_send_fd(client, id, KIND_B, c->b_fd, n_bytes, NULL, NULL);
        if (r < 0)
                fail(client, r, "cannot send B");
        c->n_bytes += n_bytes;
}

static void on_message(DirectClient *client, DirectMessage *message, void *userdata) {
        Coordinator *c = userdata;
        Worker *worker = find_worker(c, direct_message_get_source(message));
        Head head;

        if (worker && direct_message_get_kind(message) == KIND_READY && direct_message_get_size(message) == sizeof(head)) {
                memcpy(&head, direct_message_get_data(message), sizeof(head));
                if (head.job == c->head.job && !worker->is_ready) {
                        worker->is_ready = 1;
                        c->n_ready++;
                        assign_all(c, client);
                }
        }
        direct_message_free(message);
}

static void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        Coordinator *c = userdata;

        switch (event->type) {
        case DIRECT_EVENT_JOINED:
                add_worker(c, client, event->id, event->name);
                break;
        case DIRECT_EVENT_WRITABLE:
                assign_all(c, client);
                break;
        case DIRECT_EVENT_DISCONNECTED:
        case DIRECT_EVENT_KICKED:
        case DIRECT_EVENT_FAILED:
                fail(client, -ECONNABORTED, "the connection to the service is lost");
        }
}

static void on_list(DirectClient *client, int result, const DirectPeer *peers, size_t n_peers, void *userdata) {
        if (result < 0)
                fail(client, result, "cannot list the clients");
        for (size_t i = 0; i < n_peers; i++)
                if (peers[i].state == DIRECT_STATE_ALIVE)
                        add_worker(userdata, client, peers[i].id, peers[i].name);
}

static void make_matrices(Coordinator *c) {
        size_t n = (size_t) c->head.size * c->head.size;
        uint8_t *map;

        c->b_fd = memfd_create("matmul-b", MFD_CLOEXEC);
        if (c->b_fd < 0 || ftruncate(c->b_fd, (off_t) (sizeof(Head) + n * sizeof(double))) < 0)
                fail(NULL, -errno, "cannot make B");
        map = mmap(NULL, sizeof(Head) + n * sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED, c->b_fd, 0);
        if (map == MAP_FAILED)
                fail(NULL, -errno, "cannot map B");
        memcpy(map, &c->head, sizeof(Head));
        c->b = (double *) (map + sizeof(Head));
        c->a = malloc(n * sizeof(double));
        c->c = malloc(n * sizeof(double));
        c->blocks = calloc(c->n_blocks, sizeof(Block));
        if (!c->a || !c->c || !c->blocks)
                fail(NULL, -ENOMEM, "cannot hold the matrices");
        fill(c->a, n, 1);
        fill(c->b, n, 2);
}

static int report(const Coordinator *c, double seconds, int full_check) {
        double n = c->head.size, difference;

        printf("%u x %u: %.1f s, %.2f GFLOP/s, %.0f MB moved (%.0f MB/s)\n", c->head.size, c->head.size, seconds,
               2 * n * n * n / seconds / 1e9, (double) c->n_bytes / 1e6, (double) c->n_bytes / 1e6 / seconds);
        for (unsigned i = 0; i < c->n_workers; i++)
                printf("  %s: %u blocks%s\n", c->workers[i].name, c->workers[i].n_done, c->workers[i].is_lost ? " (lost)" : "");

        difference = full_check ? check_all(c->a, c->b, c->c, c->head.size) :
                                  check_vectors(c->a, c->b, c->c, c->head.size, N_ROUNDS);
        printf("checked %s: largest relative difference %.1e, %s\n", full_check ? "in each element" : "along random vectors",
               difference, difference < TOLERANCE ? "correct" : "WRONG");
        return difference < TOLERANCE ? EXIT_SUCCESS : EXIT_FAILURE;
}

int run_coordinator(const char *server, uint32_t size, uint32_t block, unsigned n_expected, int full_check) {
        Coordinator *c = calloc(1, sizeof(*c));
        DirectClient *client;
        double begin, end;
        int r;

        if (!c)
                fail(NULL, -ENOMEM, "cannot start");
        *c = (Coordinator) {
                .head.size = size,
                .block_rows = block,
                .n_blocks = (size + block - 1) / block,
                .n_expected = n_expected,
        };
        if (getrandom(&c->head.job, sizeof(c->head.job), 0) != sizeof(c->head.job))
                fail(NULL, -errno, "getrandom");
        make_matrices(c);

        client = client_new_or_fail(NULL, UINT64_C(1) << 30);
        direct_set_message_handler(client, on_message, c);
        direct_set_event_handler(client, on_event, c);
        connect_or_fail(client, server);
        r = direct_watch(client, 0, 1);
        if (r >= 0)
                r = direct_list_start(client, DIRECT_FOREVER, on_list, c);
        if (r < 0)
                fail(client, r, "cannot look for workers");

        say("%u blocks; waiting for workers ('matmul worker' is one)", c->n_blocks);
        while (c->n_workers < c->n_expected)
                turn(client, DIRECT_FOREVER);
        begin = now(); /* the way of B to the workers is part of the work */
        while (c->n_done < c->n_blocks)
                turn(client, DIRECT_FOREVER);
        end = now();
        direct_client_free(client);
        r = report(c, end - begin, full_check);

        munmap((uint8_t *) c->b - sizeof(Head), sizeof(Head) + (size_t) size * size * sizeof(double));
        close(c->b_fd);
        free(c->a);
        free(c->c);
        free(c->blocks);
        free(c);
        return r;
}
