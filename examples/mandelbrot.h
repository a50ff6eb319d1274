/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A picture of the Mandelbrot set, computed by as many workers as there are.
 *
 * The coordinator broadcasts the job. Each worker answers that it is ready, is handed tiles as target messages, two at a time so
 * that it never waits for the next one, and sends back their pixels. The coordinator watches its workers: the tiles of one that
 * dies go to others. A worker that comes later says so to the coordinator, by its name, and is sent the job.
 *
 * The messages are structs in the byte order of the machine, so all machines must have the same one. */

#include <stddef.h>
#include <stdint.h>

#define COORDINATOR_NAME "mandelbrot"

enum {
        KIND_JOB = 1,    /* coordinator to all, or to one: Job */
        KIND_READY = 2,  /* worker to coordinator: the number of the job that it knows, uint64_t; 0: none */
        KIND_TILE = 3,   /* coordinator to worker: Tile */
        KIND_RESULT = 4, /* worker to coordinator: Tile, then the pixels, 3 bytes each, row by row */
};

typedef struct Job {
        uint64_t number; /* random: a result of an earlier run is not taken for one of this run */
        uint32_t width, height;
        uint32_t tile_size;
        uint32_t max_iterations;
        double x, y; /* the middle of the picture */
        double span; /* its width */
} Job;

typedef struct Tile {
        uint64_t job;
        uint32_t index; /* row by row */
        uint32_t reserved;
} Tile;

/* The part of the picture that a tile covers; those at the right and lower edge are smaller. */
typedef struct Area {
        uint32_t x, y, width, height;
} Area;

uint32_t job_n_tiles(const Job *job);
Area job_area(const Job *job, uint32_t tile);
int job_is_sane(const Job *job); /* it came over the network */

/* Computes the pixels of an area: area.width * area.height * 3 bytes */
void job_compute(const Job *job, Area area, uint8_t *pixels);

/* 0, or a negative errno */
int write_png(const char *path, const uint8_t *pixels, uint32_t width, uint32_t height);

int run_worker(const char *server);
int run_coordinator(const char *server, const Job *job, const char *output, unsigned n_expected);
