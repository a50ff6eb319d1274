/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directctl kick and reload: what changes something, and may need a password. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl-agent.h"
#include "tools/ctl-bus.h"
#include "tools/ctl-format.h"

static int call_with_authorisation(Ctl *ctl, sd_bus_message *call) {
        int r;

        r = sd_bus_message_set_allow_interactive_authorization(call, ctl->ask_password);
        if (r < 0)
                return ctl_fail(r, "A call can't be made: %s", strerror(-r));
        ctl_agent_open(ctl);
        r = ctl_bus_call(ctl, call, NULL);
        ctl_agent_close();
        return r;
}

int ctl_kick(Ctl *ctl, char **arguments) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        _cleanup_(ctl_target_deinit) CtlTarget target = {};
        const char *reason = arguments[1] ?: "";
        int r;

        r = ctl_bus_find_client(ctl, arguments[0], &target);
        if (r >= 0)
                r = ctl_bus_new_call(ctl, NULL, BUS_MANAGER_INTERFACE, "KickClient", &call);
        if (r < 0)
                return r;
        r = sd_bus_message_append(call, "ts", target.id, reason);
        if (r < 0)
                return ctl_fail(r, "The reason must be text in UTF-8");
        r = call_with_authorisation(ctl, call);
        if (r < 0)
                return r;
        if (ctl->json == CTL_JSON_OFF)
                printf("Kicked %s (id %" PRIu64 ")%s%s.\n", target.name, target.id, *reason ? ", telling it: " : "", reason);
        return 0;
}

int ctl_reload(Ctl *ctl, char **arguments) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = ctl_bus_new_call(ctl, NULL, BUS_MANAGER_INTERFACE, "Reload", &call);
        if (r >= 0)
                r = call_with_authorisation(ctl, call);
        if (r < 0)
                return r;
        if (ctl->json == CTL_JSON_OFF)
                puts("The configuration was read again.");
        return 0;
}
