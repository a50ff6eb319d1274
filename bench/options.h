/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line of a benchmark: long options from a table, and where the programs are that it starts. */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

typedef enum OptionType {
        OPTION_FLAG,   /* a bool */
        OPTION_NUMBER, /* an unsigned, from min to max */
        OPTION_PATH,   /* a char[PATH_MAX] */
        OPTION_TEXT,   /* a const char *, into argv */
} OptionType;

typedef struct Option {
        const char *name;
        OptionType type;
        void *value; /* left as it is where the option is not given */
        unsigned min, max;
} Option;

enum { OPTIONS_MAX = 16 };

/* Reads the options, and -h --help, for which it calls `help`. Returns 1 to go on, with what is no option from argv[optind] on;
 * 0 if all is done; or a negative errno after saying on standard error what is wrong. */
int options_parse(int argc, char **argv, const Option *options, size_t n, void (*help)(const char *program));

/* The service and the relay of the build that `program` is of. 0 or -ENAMETOOLONG. */
int options_find_programs(const char *program, char ret_service[static PATH_MAX], char ret_relay[static PATH_MAX]);
