/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One table of options, and the help that goes with it. Owns the list of addresses. */

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#include "dbus/instance.h"
#include "service/options.h"

enum {
        OPTION_INSTANCE = 256,
        OPTION_CONFIG,
        OPTION_LISTEN,
        OPTION_BUS,
        OPTION_STATE_DIRECTORY,
        OPTION_VERSION,
};

static const struct option options_table[] = {
        { "instance", required_argument, NULL, OPTION_INSTANCE },
        { "config", required_argument, NULL, OPTION_CONFIG },
        { "listen", required_argument, NULL, OPTION_LISTEN },
        { "bus", required_argument, NULL, OPTION_BUS },
        { "state-directory", required_argument, NULL, OPTION_STATE_DIRECTORY },
        { "version", no_argument, NULL, OPTION_VERSION },
        { "help", no_argument, NULL, 'h' },
        {},
};

static void help(void) {
        puts("directserver [OPTION]...\n"
             "\n"
             "Passes messages between the programs that connect to it.\n"
             "\n"
             "     --instance=NAME           Be a service beside the main one, with a configuration,\n"
             "                               a state and a bus name of its own\n"
             "     --config=FILE             Read FILE (and the drop-ins in FILE.d/) instead of\n"
             "                               " CONFIG_DIR "/directserver.conf\n"
             "     --listen=HOST:PORT        Listen on this address; may be given more than once.\n"
             "                               Port 0: the kernel chooses one\n"
             "     --listen=unix:PATH        Listen on this local socket\n"
             "     --bus=system|user|none    The D-Bus to be administered over (default: system)\n"
             "     --state-directory=DIR     Where the id counter and the key are kept\n"
             "     --version                 Show the version\n"
             "  -h --help                    Show this help\n"
             "\n"
             "See directserver(8).");
}

static int add_listen(Options *options, size_t *n, const char *address) {
        const char **listen;

        listen = reallocarray(options->listen, *n + 2, sizeof(*listen));
        if (!listen)
                return -ENOMEM;
        options->listen = listen;
        listen[(*n)++] = address;
        listen[*n] = NULL;
        return 0;
}

static int parse(int argc, char **argv, Options *options) {
        size_t n_listen = 0;
        int c;

        while ((c = getopt_long(argc, argv, "h", options_table, NULL)) >= 0)
                switch (c) {
                case OPTION_INSTANCE:
                        options->instance = optarg;
                        if (!instance_name_is_valid(optarg)) {
                                fprintf(stderr, "directserver: --instance=%s: " INSTANCE_NAME_RULE ".\n", optarg);
                                return -EINVAL;
                        }
                        break;
                case OPTION_CONFIG:
                        options->config_path = optarg;
                        break;
                case OPTION_LISTEN:
                        if (add_listen(options, &n_listen, optarg) < 0) {
                                fprintf(stderr, "directserver: --listen=%s: %s.\n", optarg, strerror(ENOMEM));
                                return -ENOMEM;
                        }
                        break;
                case OPTION_BUS:
                        options->has_bus = true;
                        if (config_parse_bus(optarg, &options->bus) < 0) {
                                fprintf(stderr, "directserver: --bus=%s: it is system, user or none.\n", optarg);
                                return -EINVAL;
                        }
                        break;
                case OPTION_STATE_DIRECTORY:
                        options->state_directory = optarg;
                        break;
                case OPTION_VERSION:
                        puts("directserver " PROJECT_VERSION);
                        return 0;
                case 'h':
                        help();
                        return 0;
                default: /* getopt_long() has said what is wrong */
                        return -EINVAL;
                }
        if (optind < argc) {
                fprintf(stderr, "directserver: %s: there are options only; see --help.\n", argv[optind]);
                return -EINVAL;
        }
        return 1;
}

int options_parse(int argc, char **argv, Options *ret_options) {
        Options options = OPTIONS_NULL;
        int r;

        r = parse(argc, argv, &options);
        if (r > 0)
                *ret_options = options;
        else
                options_deinit(&options);
        return r;
}

void options_deinit(Options *options) {
        free(options->listen);
        *options = OPTIONS_NULL;
}
