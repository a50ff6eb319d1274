/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The errors that our methods return: the one table from conditions to D-Bus names. */

#include <systemd/sd-bus.h>

enum {
        _BUS_E_SUCCESS,
        BUS_E_NO_SUCH_CLIENT,
        BUS_E_INVALID_REASON,
        BUS_E_INVALID_CONFIGURATION,
        BUS_E_TOO_MANY_LISTINGS,
        _BUS_E_N,
};

/* `e` is one of the above, or a negative errno. Returns a negative errno, as a method handler has to. */
int bus_error_set(sd_bus_error *error, int e);

/* The same with a text of its own, which may be NULL */
int bus_error_set_text(sd_bus_error *error, int e, const char *text);
