/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The command line. */

#include "service/config.h"

typedef struct Options {
        const char *instance;    /* NULL: the main service */
        const char *config_path; /* NULL: the default files */
        const char **listen;     /* NULL-terminated; NULL: as configured */
        bool has_bus;
        BusKind bus;
        const char *state_directory; /* NULL: the default */
} Options;

#define OPTIONS_NULL ((Options) {})

/* Returns 1 to go on; 0 after --help or --version; a negative errno after saying on stderr what is wrong. Texts point into
 * argv. */
int options_parse(int argc, char **argv, Options *ret_options);
void options_deinit(Options *options);
