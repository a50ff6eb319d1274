/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "matmul.h"

static void help(void) {
        puts("matmul worker [--server=ADDRESS]\n"
             "matmul coordinator [--server=ADDRESS] [OPTIONS...]\n\n"
             "Multiplies two matrices with as many workers as there are, on as many machines.\n\n"
             "  --server=ADDRESS     HOST:PORT or unix:/PATH (default: $DIRECTSERVER, or the local service)\n"
             "  --size=N             rows and columns (3072: each matrix has 75 MB)\n"
             "  --block=N            rows that a worker is given at a time (192)\n"
             "  --expect-workers=N   start when N workers are there (1)\n"
             "  --check=full         compute the result again, element by element\n"
             "  --check=vectors      check it along random vectors (the default; takes no time)");
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "server", required_argument, NULL, 's' },         { "size", required_argument, NULL, 'n' },
                { "block", required_argument, NULL, 'b' },          { "check", required_argument, NULL, 'c' },
                { "expect-workers", required_argument, NULL, 'w' }, { "help", no_argument, NULL, 'h' },
                {},
        };
        const char *server = NULL;
        unsigned size = 3072, block = 192, n_expected = 1;
        int full_check = 0, c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 's':
                        server = optarg;
                        break;
                case 'n':
                        size = parse_number(optarg, "--size", 1, 30000);
                        break;
                case 'b':
                        block = parse_number(optarg, "--block", 1, 30000);
                        break;
                case 'w':
                        n_expected = parse_number(optarg, "--expect-workers", 1, 256);
                        break;
                case 'c':
                        full_check = strcmp(optarg, "full") == 0;
                        if (full_check || strcmp(optarg, "vectors") == 0)
                                break;
                        fprintf(stderr, "matmul: --check= takes full or vectors, not '%s'\n", optarg);
                        return EXIT_FAILURE;
                case 'h':
                        help();
                        return EXIT_SUCCESS;
                default:
                        return EXIT_FAILURE;
                }

        if (optind + 1 == argc && strcmp(argv[optind], "worker") == 0)
                return run_worker(server);
        if (optind + 1 == argc && strcmp(argv[optind], "coordinator") == 0)
                return run_coordinator(server, size, block, n_expected, full_check);
        help();
        return EXIT_FAILURE;
}
