/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Between a table and getopt_long(3). Owns nothing. */

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/options.h"

enum { FIRST_VALUE = 256 }; /* of getopt_long() for the first of the table: above all characters */

static int set_path(char path[static PATH_MAX], const char *directory, const char *name) {
        return snprintf(path, PATH_MAX, "%s%s%s", directory, *directory ? "/" : "", name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int set_number(const Option *option, const char *text) {
        char *end;
        unsigned long n = strtoul(text, &end, 10);

        if (*end || n < option->min || n > option->max) {
                fprintf(stderr, "--%s=%s: it is a number from %u to %u.\n", option->name, text, option->min, option->max);
                return -EINVAL;
        }
        *(unsigned *) option->value = (unsigned) n;
        return 0;
}

static int set(const Option *option, char *text) {
        switch (option->type) {
        case OPTION_FLAG:
                *(bool *) option->value = true;
                return 0;
        case OPTION_NUMBER:
                return set_number(option, text);
        case OPTION_PATH:
                return set_path(option->value, "", text);
        default:
                *(const char **) option->value = text;
                return 0;
        }
}

int options_parse(int argc, char **argv, const Option *options, size_t n, void (*help)(const char *program)) {
        struct option table[OPTIONS_MAX + 2] = {};
        int c, r = 0;

        assert(n <= OPTIONS_MAX);
        for (size_t i = 0; i < n; i++)
                table[i] = (struct option) {
                        .name = options[i].name,
                        .has_arg = options[i].type == OPTION_FLAG ? no_argument : required_argument,
                        .val = FIRST_VALUE + (int) i,
                };
        table[n] = (struct option) { "help", no_argument, NULL, 'h' };
        while (r >= 0 && (c = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
                if (c == 'h') {
                        help(argv[0]);
                        return 0;
                }
                r = c < FIRST_VALUE ? -EINVAL : set(&options[c - FIRST_VALUE], optarg);
        }
        return r < 0 ? r : 1;
}

int options_find_programs(const char *program, char ret_service[static PATH_MAX], char ret_relay[static PATH_MAX]) {
        char copy[PATH_MAX];
        const char *directory;
        int r;

        r = set_path(copy, "", program);
        if (r < 0)
                return r;
        directory = dirname(copy);
        r = set_path(ret_service, directory, "../service/directserver");
        return r < 0 ? r : set_path(ret_relay, directory, "bench-relay");
}
