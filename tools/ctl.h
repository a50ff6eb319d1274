/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the verbs of directctl share. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#include "dbus/instance.h"

#define _cleanup_(f) __attribute__((cleanup(f)))

typedef enum CtlJson {
        CTL_JSON_OFF,
        CTL_JSON_SHORT,
        CTL_JSON_PRETTY,
} CtlJson;

typedef struct Ctl {
        sd_bus *bus;
        bool user; /* the bus of the user, else of the system */
        const char *instance; /* NULL: the main service */
        char bus_name[BUS_NAME_SIZE];
        CtlJson json;
        bool legend;
        bool pager;
        bool ask_password;
} Ctl;

/* The verbs. Each returns 0, or a negative errno after it has told the user. */
int ctl_list(Ctl *ctl, char **arguments);
int ctl_status(Ctl *ctl, char **arguments);
int ctl_show(Ctl *ctl, char **arguments);
int ctl_load(Ctl *ctl, char **arguments);
int ctl_monitor(Ctl *ctl, char **arguments);
int ctl_kick(Ctl *ctl, char **arguments);
int ctl_reload(Ctl *ctl, char **arguments);
