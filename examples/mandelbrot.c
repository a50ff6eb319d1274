/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common.h"
#include "mandelbrot.h"

static void help(void) {
        puts("mandelbrot worker [--server=ADDRESS]\n"
             "mandelbrot coordinator [--server=ADDRESS] [OPTIONS...]\n\n"
             "Computes a picture with as many workers as there are, on as many machines.\n\n"
             "  --server=ADDRESS     HOST:PORT or unix:/PATH (default: $DIRECTSERVER, or the local service)\n"
             "  --size=WIDTHxHEIGHT  of the picture (1600x1200)\n"
             "  --tile=SIZE          width and height of a tile (128)\n"
             "  --iterations=N       after which a point counts as inside (3000)\n"
             "  --at=X,Y,SPAN        which part of the plane: the middle and the width\n"
             "  --output=FILE        where the picture goes (mandelbrot.png)\n"
             "  --expect-workers=N   start when N workers are there (1)");
}

static void parse_size(const char *text, Job *job) {
        char *x = strchr(text, 'x');
        char width[16];

        if (!x || (size_t) (x - text) >= sizeof(width))
                fail(NULL, -EINVAL, "--size takes WIDTHxHEIGHT");
        memcpy(width, text, (size_t) (x - text));
        width[x - text] = 0;
        job->width = parse_number(width, "--size", 1, 20000);
        job->height = parse_number(x + 1, "--size", 1, 20000);
}

static void parse_at(const char *text, Job *job) {
        if (sscanf(text, "%lf,%lf,%lf", &job->x, &job->y, &job->span) != 3 || !job_is_sane(job))
                fail(NULL, -EINVAL, "--at takes X,Y,SPAN");
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "server",         required_argument, NULL, 's' }, { "size",       required_argument, NULL, 'z' },
                { "tile",           required_argument, NULL, 't' }, { "iterations", required_argument, NULL, 'i' },
                { "output",         required_argument, NULL, 'o' }, { "at",         required_argument, NULL, 'a' },
                { "expect-workers", required_argument, NULL, 'w' }, { "help",       no_argument,       NULL, 'h' },
                {},
        };
        Job job = {
                .width = 1600, .height = 1200, .tile_size = 128, .max_iterations = 3000,
                .x = -0.77568377, .y = 0.13646737, .span = 0.00003, /* a spiral in the valley of the seahorses */
        };
        const char *server = NULL, *output = "mandelbrot.png";
        unsigned n_expected = 1;
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        server = optarg;
                        break;
                case 'z':
                        parse_size(optarg, &job);
                        break;
                case 't':
                        job.tile_size = parse_number(optarg, "--tile", 8, 512);
                        break;
                case 'i':
                        job.max_iterations = parse_number(optarg, "--iterations", 1, 1000000);
                        break;
                case 'a':
                        parse_at(optarg, &job);
                        break;
                case 'o':
                        output = optarg;
                        break;
                case 'w':
                        n_expected = parse_number(optarg, "--expect-workers", 1, 1000);
                        break;
                case 'h':
                        help();
                        return EXIT_SUCCESS;
                default:
                        return EXIT_FAILURE;
                }

        if (optind + 1 == argc && strcmp(argv[optind], "worker") == 0)
                return run_worker(server);
        if (optind + 1 == argc && strcmp(argv[optind], "coordinator") == 0) {
                if (getrandom(&job.number, sizeof(job.number), 0) != sizeof(job.number))
                        fail(NULL, -errno, "getrandom");
                return run_coordinator(server, &job, output, n_expected);
        }
        help();
        return EXIT_FAILURE;
}
