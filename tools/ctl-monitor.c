/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* directctl monitor: one line for each change, as it happens, until it is interrupted. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/ctl-bus.h"
#include "tools/ctl-format.h"
#include "tools/ctl-json.h"

static void print_event(const Ctl *ctl, const char *event, uint64_t id, const char *name, const char *detail) {
        uint64_t now = ctl_now_usec();
        time_t seconds = (time_t) (now / 1000000);
        char time[CTL_TEXT_SIZE] = "-";
        struct tm tm;

        if (ctl->json != CTL_JSON_OFF) {
                printf("{\"TimeUSec\":%" PRIu64 ",\"Event\":\"%s\"", now, event);
                if (id > 0) {
                        printf(",\"Id\":%" PRIu64 ",\"Name\":", id);
                        ctl_json_write_text(stdout, name);
                }
                if (detail) {
                        fputs(",\"Detail\":", stdout);
                        ctl_json_write_text(stdout, detail);
                }
                puts("}");
        } else {
                char *clean = ctl_clean_text(name);

                if (localtime_r(&seconds, &tm))
                        (void) strftime(time, sizeof time, "%Y-%m-%d %H:%M:%S", &tm);
                if (id > 0)
                        printf("%s %-7s %s (id %" PRIu64 ")%s%s\n", time, event, clean ?: "", id, detail ? ": " : "",
                               detail ?: "");
                else
                        printf("%s %s\n", time, event);
                free(clean);
        }
}

static int on_client_new(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *name;
        uint64_t id;

        if (sd_bus_message_read(signal, "ts", &id, &name) > 0)
                print_event(userdata, "joined", id, name, NULL);
        return 0;
}

static int on_client_removed(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *name, *path, *reason;
        uint64_t id;

        if (sd_bus_message_read(signal, "tsos", &id, &name, &path, &reason) > 0)
                print_event(userdata, "left", id, name, reason);
        return 0;
}

static int on_properties_changed(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *interface, *property, *state;
        const char *path = sd_bus_message_get_path(signal);
        char *name = NULL;
        Ctl *ctl = userdata;

        /* State is the only property that is announced. */
        if (sd_bus_message_read(signal, "s", &interface) <= 0 || strcmp(interface, BUS_CLIENT_INTERFACE) != 0 ||
            sd_bus_message_enter_container(signal, 'a', "{sv}") <= 0 || sd_bus_message_enter_container(signal, 'e', "sv") <= 0 ||
            sd_bus_message_read(signal, "s", &property) <= 0 || strcmp(property, "State") != 0 ||
            sd_bus_message_read(signal, "v", "s", &state) <= 0)
                return 0;
        if (sd_bus_get_property_string(ctl->bus, ctl->bus_name, path, BUS_CLIENT_INTERFACE, "Name", NULL, &name) < 0)
                name = NULL; /* it has gone meanwhile; its removal is the next line */
        print_event(ctl, state, ctl_bus_path_to_id(path), name ?: "", NULL);
        free(name);
        return 0;
}

static int on_owner_changed(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *name, *old_owner, *new_owner;

        if (sd_bus_message_read(signal, "sss", &name, &old_owner, &new_owner) > 0)
                print_event(userdata, *new_owner ? "The service is on the bus" : "The service is not on the bus any more", 0, "",
                            NULL);
        return 0;
}

#define OF_MANAGER "path='" BUS_PATH "',interface='" BUS_MANAGER_INTERFACE "'"
#define OF_CLIENTS "path_namespace='" BUS_CLIENT_ROOT "',interface='org.freedesktop.DBus.Properties'"
#define OF_BUS "interface='org.freedesktop.DBus'"

static int monitor_watch(Ctl *ctl) {
        static const char bus[] = "org.freedesktop.DBus";
        const struct {
                const char *sender, *of, *key, *value;
                sd_bus_message_handler_t handler;
        } watches[] = {
                { ctl->bus_name, OF_MANAGER, "member", "ClientNew", on_client_new },
                { ctl->bus_name, OF_MANAGER, "member", "ClientRemoved", on_client_removed },
                { ctl->bus_name, OF_CLIENTS, "member", "PropertiesChanged", on_properties_changed },
                { bus, OF_BUS ",member='NameOwnerChanged'", "arg0", ctl->bus_name, on_owner_changed },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < sizeof watches / sizeof watches[0]; i++) {
                char match[2 * BUS_NAME_SIZE + 256];

                snprintf(match, sizeof match, "type='signal',sender='%s',%s,%s='%s'", watches[i].sender, watches[i].of,
                         watches[i].key, watches[i].value);
                r = sd_bus_add_match(ctl->bus, NULL, match, watches[i].handler, ctl);
        }
        return r;
}

int ctl_monitor(Ctl *ctl, char **arguments) {
        int r;

        setlinebuf(stdout);
        r = monitor_watch(ctl);
        if (r < 0)
                return ctl_fail(r, "The changes can't be watched: %s", strerror(-r));
        if (sd_bus_get_name_creds(ctl->bus, ctl->bus_name, 0, NULL) < 0)
                fputs("directctl: The service is not on the bus at present; waiting for it\n", stderr);
        else if (ctl->legend)
                fputs("directctl: Watching; ^C ends it\n", stderr);

        for (;;) {
                r = sd_bus_process(ctl->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(ctl->bus, UINT64_MAX);
                if (r == -EINTR)
                        continue;
                if (r < 0)
                        return ctl_fail(r, "The bus was lost: %s", strerror(-r));
                if (ferror(stdout))
                        return ctl_fail(-EIO, "Nobody reads the output any more");
        }
}
