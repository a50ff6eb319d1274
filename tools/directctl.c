/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directctl: administers the service over D-Bus. Here are the command line and the table of verbs; what they do is in ctl-*.c. */

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-build.h"
#include "tools/ctl-bus.h"
#include "tools/ctl-table.h"

static const struct {
        const char *name;
        const char *arguments;
        int n_min, n_max;
        int (*run)(Ctl *ctl, char **arguments);
        const char *help;
} verbs[] = {
        { "list", "", 0, 0, ctl_list, "All clients (this is the default)" },
        { "status", "", 0, 0, ctl_status, "The service at a glance" },
        { "show", "CLIENT", 1, 1, ctl_show, "All that is known of a client" },
        { "kick", "CLIENT [REASON]", 1, 2, ctl_kick, "End the session of a client and tell it why" },
        { "load", "", 0, 0, ctl_load, "The load figures" },
        { "monitor", "", 0, 0, ctl_monitor, "Follow who comes, goes, and changes state" },
        { "reload", "", 0, 0, ctl_reload, "Have the service read its configuration again" },
};

enum {
        N_VERBS = sizeof verbs / sizeof verbs[0],

        OPTION_USER = 256,
        OPTION_INSTANCE,
        OPTION_JSON,
        OPTION_NO_LEGEND,
        OPTION_NO_PAGER,
        OPTION_NO_ASK_PASSWORD,
        OPTION_VERSION,
};

static const struct option options[] = {
        { "user", no_argument, NULL, OPTION_USER },
        { "instance", required_argument, NULL, OPTION_INSTANCE },
        { "json", required_argument, NULL, OPTION_JSON },
        { "no-legend", no_argument, NULL, OPTION_NO_LEGEND },
        { "no-pager", no_argument, NULL, OPTION_NO_PAGER },
        { "no-ask-password", no_argument, NULL, OPTION_NO_ASK_PASSWORD },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, OPTION_VERSION },
        {},
};

static void print_help(void) {
        puts("directctl [OPTION...] [VERB [ARGUMENT...]]\n\n"
             "Administers a DirectServer service.\n\n"
             "Verbs:");
        for (size_t i = 0; i < N_VERBS; i++)
                printf("  %-8s%-17s%s\n", verbs[i].name, verbs[i].arguments, verbs[i].help);
        puts("\nCLIENT is the name or the id of a client.\n\n"
             "Options:\n"
             "  -h --help              This text\n"
             "     --version           The version\n"
             "     --user              The service on the bus of this user (directserver --bus=user)\n"
             "     --instance=NAME     The service that was started with --instance=NAME\n"
             "     --json=FORMAT       JSON instead of text: pretty, short, or off\n"
             "     --no-legend         No head line and no sum\n"
             "     --no-pager          No pager for long output\n"
             "     --no-ask-password   Fail rather than ask for a password");
}

static int parse_json(const char *text, CtlJson *ret) {
        static const char *const names[] = {
                [CTL_JSON_OFF] = "off",
                [CTL_JSON_SHORT] = "short",
                [CTL_JSON_PRETTY] = "pretty",
        };

        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
                if (strcmp(text, names[i]) == 0) {
                        *ret = (CtlJson) i;
                        return 0;
                }
        return ctl_fail(-EINVAL, "--json= wants pretty, short, or off, not '%s'", text);
}

/* 1: go on; 0: done; or a negative errno */
static int parse_options(Ctl *ctl, int argc, char **argv) {
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        print_help();
                        return 0;
                case OPTION_VERSION:
                        puts("directctl " PROJECT_VERSION);
                        return 0;
                case OPTION_USER:
                        ctl->user = true;
                        break;
                case OPTION_INSTANCE:
                        ctl->instance = optarg;
                        if (!instance_name_is_valid(optarg))
                                return ctl_fail(-EINVAL, "--instance=%s: " INSTANCE_NAME_RULE, optarg);
                        break;
                case OPTION_JSON:
                        if (parse_json(optarg, &ctl->json) < 0)
                                return -EINVAL;
                        break;
                case OPTION_NO_LEGEND:
                        ctl->legend = false;
                        break;
                case OPTION_NO_PAGER:
                        ctl->pager = false;
                        break;
                case OPTION_NO_ASK_PASSWORD:
                        ctl->ask_password = false;
                        break;
                default:
                        return -EINVAL; /* getopt has said why */
                }
        return 1;
}

static int run_verb(Ctl *ctl, int n_arguments, char **arguments) {
        const char *name = n_arguments > 0 ? arguments[0] : verbs[0].name;
        size_t i = 0;
        int r;

        while (i < N_VERBS && strcmp(verbs[i].name, name) != 0)
                i++;
        if (i == N_VERBS)
                return ctl_fail(-EINVAL, "There is no verb '%s'. See: directctl --help", name);
        if (n_arguments > 0) {
                n_arguments--;
                arguments++;
        }
        if (n_arguments < verbs[i].n_min || n_arguments > verbs[i].n_max)
                return ctl_fail(-EINVAL, "%s arguments. Usage: directctl %s %s",
                                n_arguments < verbs[i].n_min ? "Too few" : "Too many", verbs[i].name, verbs[i].arguments);

        r = ctl_bus_open(ctl);
        return r < 0 ? r : verbs[i].run(ctl, arguments);
}

int main(int argc, char **argv) {
        Ctl ctl = { .legend = true, .pager = true, .ask_password = true };
        int r;

        (void) setlocale(LC_ALL, "");
        r = parse_options(&ctl, argc, argv);
        instance_get_bus_name(ctl.instance, ctl.bus_name);
        if (r > 0)
                r = run_verb(&ctl, argc - optind, argv + optind);
        ctl_pager_close();
        sd_bus_flush_close_unref(ctl.bus);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
