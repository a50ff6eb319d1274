/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "dbus/names.h"
#include "service/bus-error.h"
#include "service/server.h"


_Static_assert(SERVER_REASON_MAX == 1024, "the text below names the limit");

static const struct {
        const char *name;
        const char *text;
} errors[_BUS_E_N] = {
        [BUS_E_NO_SUCH_CLIENT] = { BUS_ERROR_NO_SUCH_CLIENT, "There is no such client" },
        [BUS_E_INVALID_REASON] = { BUS_ERROR_INVALID_REASON,
                                   "The reason must be at most 1024 bytes of text without control characters" },
        [BUS_E_INVALID_CONFIGURATION] = { BUS_ERROR_INVALID_CONFIGURATION, "The configuration can't be read" },
        [BUS_E_TOO_MANY_LISTINGS] = { SD_BUS_ERROR_LIMITS_EXCEEDED, "Too many callers wait for a list of all clients" },
};

int bus_error_set_text(sd_bus_error *error, int e, const char *text) {
        if (e < 0)
                return sd_bus_error_set_errno(error, e);
        (void) sd_bus_error_set(error, errors[e].name, text ?: errors[e].text);
        return -EBADR; /* sd-bus sends what `error` says; the number is of no consequence */
}

int bus_error_set(sd_bus_error *error, int e) {
        return bus_error_set_text(error, e, NULL);
}
