/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Services beside the main one, each with a name of its own: what may be such a name, and what the service is called on the
 * bus. For the service and for those who call it. */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "dbus/names.h"

enum {
        /* As names of clients. A bus name would have room for 224, and the path of the local socket,
         * /run/directserver/NAME/directserver.sock, for 71. */
        INSTANCE_NAME_MAX = 63,

        BUS_NAME_SIZE = sizeof BUS_NAME + 1 + INSTANCE_NAME_MAX,
};

#define INSTANCE_NAME_RULE "the name of an instance has 1 to 63 letters (a to z), digits, _ and -, and no digit in front"

/* What an element of a bus name may be, and needs no escaping in the name of a unit or of a file */
static inline bool instance_name_is_valid(const char *name) {
        static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-0123456789";
        size_t n = strlen(name);

        return n >= 1 && n <= INSTANCE_NAME_MAX && strspn(name, allowed) == n && (name[0] < '0' || name[0] > '9');
}

/* `instance` is valid, or NULL: the main service */
static inline void instance_get_bus_name(const char *instance, char ret_name[static BUS_NAME_SIZE]) {
        snprintf(ret_name, BUS_NAME_SIZE, BUS_NAME "%s%s", instance ? "." : "", instance ? instance : "");
}
