/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls to the service. An error is told to the user here, once, with what to do about it; the verbs pass its number on. */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/ctl-bus.h"
#include "tools/ctl-format.h"

/* Authentication may wait for a person: the service itself gives up after 5 minutes. */
#define CTL_CALL_TIMEOUT_USEC (UINT64_C(6) * 60 * 1000000)

int ctl_fail(int error, const char *format, ...) {
        va_list arguments;

        fputs("directctl: ", stderr);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        return error;
}

/* In hints, @ is "@NAME" for an instance, ^ is " --instance=NAME", else nothing. */
static const char hint_system[] =
        "The service does not run, or has no bus. See: systemctl status directserver@. "
        "For a service that was started with --bus=user, give --user";
static const char hint_user[] =
        "There is no service on the bus of this user. Start one with: directserver --bus=user^. "
        "For the service of the system, leave out --user";
static const char hint_root[] = "Try it as root";
static const char hint_list[] = "See who is there: directctl^ list";
static const char hint_list_user[] = "See who is there: directctl --user^ list";

/* Errors whose remedy is known; system bus, user bus */
static const struct {
        const char *name;
        bool says_all; /* the hint replaces the message */
        const char *hints[2];
} remedies[] = {
        { SD_BUS_ERROR_SERVICE_UNKNOWN, true, { hint_system, hint_user } },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, true, { hint_system, hint_user } },
        { SD_BUS_ERROR_ACCESS_DENIED, false, { hint_root, NULL } },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, false, { "Leave out --no-ask-password, or try it as root", NULL } },
        { SD_BUS_ERROR_NO_REPLY, false, { "See: systemctl status directserver@", NULL } },
        { SD_BUS_ERROR_UNKNOWN_OBJECT, true, { "There is no such client. See who is there: directctl^ list",
                                               "There is no such client. See who is there: directctl --user^ list" } },
        { BUS_ERROR_NO_SUCH_CLIENT, false, { hint_list, hint_list_user } },
        { BUS_ERROR_INVALID_CONFIGURATION, false, { "Nothing was changed", "Nothing was changed" } },
};

/* Of the instance that is meant. To be freed; NULL: there is no hint, or no memory. */
static char *fill_in_hint(const Ctl *ctl, const char *hint) {
        const char *name = ctl->instance ?: "";
        char *text = NULL;
        size_t size;
        FILE *f;

        f = hint ? open_memstream(&text, &size) : NULL;
        if (!f)
                return NULL;
        for (; *hint; hint++)
                if (*hint == '@')
                        fprintf(f, "%s%s", ctl->instance ? "@" : "", name);
                else if (*hint == '^')
                        fprintf(f, "%s%s", ctl->instance ? " --instance=" : "", name);
                else
                        fputc(*hint, f);
        fclose(f);
        return text;
}

static int ctl_bus_fail(const Ctl *ctl, int r, const sd_bus_error *error) {
        const char *template = NULL;
        char *hint, *clean;
        bool says_all = false;

        for (size_t i = 0; i < sizeof remedies / sizeof remedies[0]; i++)
                if (sd_bus_error_has_name(error, remedies[i].name)) {
                        template = remedies[i].hints[ctl->user];
                        says_all = remedies[i].says_all;
                }
        hint = fill_in_hint(ctl, template);
        clean = ctl_clean_text(error->message ?: strerror(-r));
        if (!hint)
                ctl_fail(r, "%s", clean ?: "");
        else if (says_all)
                ctl_fail(r, "%s", hint);
        else
                ctl_fail(r, "%s. %s", clean ?: "", hint);
        free(clean);
        free(hint);
        return r;
}

int ctl_bus_open(Ctl *ctl) {
        int r;

        r = ctl->user ? sd_bus_open_user_with_description(&ctl->bus, "directctl")
                      : sd_bus_open_system_with_description(&ctl->bus, "directctl");
        if (r == -ENOMEDIUM)
                return ctl_fail(r, "There is no user bus: neither $DBUS_SESSION_BUS_ADDRESS nor $XDG_RUNTIME_DIR is set");
        if (r < 0)
                return ctl_fail(r, "There is no %s bus to be reached: %s%s", ctl->user ? "user" : "system", strerror(-r),
                                ctl->user ? "" : ". For a service that was started with --bus=user, give --user");
        return 0;
}

int ctl_bus_new_call(Ctl *ctl, const char *path, const char *interface, const char *member, sd_bus_message **ret_call) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = sd_bus_message_new_method_call(ctl->bus, &call, ctl->bus_name, path ?: BUS_PATH, interface, member);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(call, 0);
        if (r < 0)
                return ctl_fail(r, "A call can't be made: %s", strerror(-r));
        *ret_call = call;
        call = NULL;
        return 0;
}

int ctl_bus_call(Ctl *ctl, sd_bus_message *call, sd_bus_message **ret_reply) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call(ctl->bus, call, CTL_CALL_TIMEOUT_USEC, &error, ret_reply);
        return r < 0 ? ctl_bus_fail(ctl, r, &error) : 0;
}

int ctl_bus_get_all(Ctl *ctl, const char *path, const char *interface, sd_bus_message **ret_reply) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        int r;

        r = ctl_bus_new_call(ctl, path, "org.freedesktop.DBus.Properties", "GetAll", &call);
        if (r < 0)
                return r;
        r = sd_bus_message_append(call, "s", interface);
        if (r < 0)
                return ctl_fail(r, "A call can't be made: %s", strerror(-r));
        return ctl_bus_call(ctl, call, ret_reply);
}

uint64_t ctl_bus_path_to_id(const char *path) {
        if (strncmp(path, BUS_CLIENT_ROOT "/", sizeof BUS_CLIENT_ROOT) != 0)
                return 0;
        return strtoull(path + sizeof BUS_CLIENT_ROOT, NULL, 10);
}

void ctl_target_deinit(CtlTarget *target) {
        free(target->name);
        free(target->path);
        *target = (CtlTarget) {};
}

static bool is_id(const char *text) {
        return *text != '0' && *text != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 20;
}

/* A name that consists of digits is a name first: it is what the user sees in the first column. */
int ctl_bus_find_client(Ctl *ctl, const char *text, CtlTarget *ret_target) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        _cleanup_(ctl_target_deinit) CtlTarget target = {};
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *path;
        int r;

        r = ctl_bus_new_call(ctl, NULL, BUS_MANAGER_INTERFACE, "GetClient", &call);
        if (r < 0)
                return r;
        r = sd_bus_message_append(call, "s", text);
        if (r == -EINVAL)
                return ctl_fail(r, "A name of a client is text in UTF-8");
        if (r < 0)
                return ctl_fail(r, "A call can't be made: %s", strerror(-r));
        r = sd_bus_call(ctl->bus, call, 0, &error, &reply);
        if (r >= 0) {
                r = sd_bus_message_read(reply, "o", &path);
                if (r < 0)
                        return ctl_fail(r, "The service gave an answer that can't be understood");
                target.path = strdup(path);
                target.name = strdup(text);
        } else if (sd_bus_error_has_name(&error, BUS_ERROR_NO_SUCH_CLIENT) && is_id(text)) {
                if (asprintf(&target.path, BUS_CLIENT_ROOT "/%s", text) < 0)
                        target.path = NULL;
                sd_bus_error_free(&error);
                r = sd_bus_get_property_string(ctl->bus, ctl->bus_name, target.path ?: "/", BUS_CLIENT_INTERFACE, "Name", &error,
                                               &target.name);
                if (r < 0)
                        return ctl_bus_fail(ctl, r, &error);
        } else
                return ctl_bus_fail(ctl, r, &error);
        if (!target.path || !target.name)
                return ctl_fail(-ENOMEM, "Out of memory");
        target.id = ctl_bus_path_to_id(target.path);

        *ret_target = target;
        target = (CtlTarget) {};
        return 0;
}
