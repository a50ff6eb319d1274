/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The connection to D-Bus: finds a bus, exports the objects, takes the name, and starts anew when it loses any of them. The
 * service needs none of it to work. Also shares out the time between the announcer and the lister. What the objects do stands
 * in bus-manager.c and bus-client.c.
 *
 * Everything that belongs to one connection is made in bus_connect() and freed in bus_disconnect(); nothing of it is carried
 * over, for on a new connection nobody knows us yet. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "service/bus-client.h"
#include "service/bus-error.h"
#include "service/bus-manager.h"
#include "service/bus-private.h"
#include "service/log.h"

#define BUS_RETRY_MIN_USEC UINT64_C(1000000)
#define BUS_RETRY_MAX_USEC (UINT64_C(60) * 1000000)

/* How long to wait for the bus to take what sd-bus holds. There is no event for that; 20 ms is unnoticed by people and costs
 * nothing. */
#define BUS_PAUSE_USEC UINT64_C(20000)

enum {
        BUS_SIGNALS_QUEUED_MAX = 256, /* at about 1 KiB each */
        BUS_LISTINGS_QUEUED_MAX = 2,  /* at up to 7 MiB each with 10,000 clients */
};

uint64_t bus_now(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now); /* can't fail for this clock */
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static bool bus_has_room(Bus *bus, uint64_t n_max) {
        uint64_t n;

        return sd_bus_get_n_queued_write(bus->sd_bus, &n) >= 0 && n < n_max;
}

bool bus_has_room_for_signals(Bus *bus) {
        return bus_has_room(bus, BUS_SIGNALS_QUEUED_MAX);
}

bool bus_has_room_for_listing(Bus *bus) {
        return bus_has_room(bus, BUS_LISTINGS_QUEUED_MAX);
}

static const char *bus_kind_name(const Bus *bus) {
        return bus->kind == BUS_USER ? "user" : "system";
}

/* Connection */

static void bus_disconnect(Bus *bus) {
        bus->ready = bus->missed = false;
        bus_announcer_deinit(&bus->announcer);
        bus_lister_deinit(&bus->lister);
        bus->polkit = polkit_free(bus->polkit);
        (void) sd_event_source_set_enabled(bus->work, SD_EVENT_OFF);
        if (bus->sd_bus)
                (void) sd_bus_detach_event(bus->sd_bus);
        bus->sd_bus = sd_bus_close_unref(bus->sd_bus); /* without a flush, which would wait for a bus that may be stuck */
}

static void bus_try_again(Bus *bus, int error, const char *what) {
        if (!bus->reported)
                log_full(LOG_WARNING, error, &(LogFields) { .message = LOG_MESSAGE_BUS_LOST },
                         "%s%s%s%s. The service works without, tries again, and can't be administered over D-Bus until then.",
                         what, error < 0 ? " (" : "", error < 0 ? strerror(-error) : "", error < 0 ? ")" : "");
        bus->reported = true;

        if (sd_event_source_set_time_relative(bus->retry, bus->retry_usec) < 0 ||
            sd_event_source_set_enabled(bus->retry, SD_EVENT_ONESHOT) < 0)
                log_error(0, "The connection to the bus can't be tried again");
        bus->retry_usec = bus->retry_usec * 2 < BUS_RETRY_MAX_USEC ? bus->retry_usec * 2 : BUS_RETRY_MAX_USEC;
}

static void bus_set_ready(Bus *bus) {
        if (bus->ready)
                return;
        bus->ready = true;
        bus->retry_usec = BUS_RETRY_MIN_USEC;
        (void) sd_event_source_set_enabled(bus->retry, SD_EVENT_OFF);
        bus->reported = false;
        log_info("Administration over D-Bus is available on the %s bus.", bus_kind_name(bus));
}

static int on_disconnected(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        Bus *bus = userdata;

        bus_disconnect(bus);
        bus_try_again(bus, 0,
                      bus->kind == BUS_USER ? "The connection to the user bus was lost"
                                            : "The connection to the system bus was lost");
        return 0;
}

static int on_name_requested(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        Bus *bus = userdata;
        char what[sizeof "The bus does not give us the name " + BUS_NAME_SIZE];
        uint32_t code;

        /* A bus that closes the connection ends the call with an error as well, and on_disconnected() follows. */
        if (error) {
                snprintf(what, sizeof what, "The bus does not give us the name %s", bus->name);
                bus_try_again(bus, -sd_bus_error_get_errno(error), what);
        } else if (sd_bus_message_read(reply, "u", &code) > 0 && code == 2) {
                if (!bus->reported)
                        log_full(LOG_WARNING, 0, &(LogFields) { .message = LOG_MESSAGE_BUS_LOST },
                                 "Another program has the name %s on the %s bus; we are next.", bus->name, bus_kind_name(bus));
                bus->reported = true;
        } else
                bus_set_ready(bus);
        return 0;
}

static int on_name_acquired(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        const char *name;
        Bus *bus = userdata;

        if (sd_bus_message_read(signal, "s", &name) > 0 && strcmp(name, bus->name) == 0)
                bus_set_ready(bus);
        return 0;
}

static int on_name_lost(sd_bus_message *signal, void *userdata, sd_bus_error *error) {
        char what[sizeof "The name  was taken from us" + BUS_NAME_SIZE];
        const char *name;
        Bus *bus = userdata;

        if (sd_bus_message_read(signal, "s", &name) > 0 && strcmp(name, bus->name) == 0 && bus->ready) {
                snprintf(what, sizeof what, "The name %s was taken from us", bus->name);
                bus_disconnect(bus);
                bus_try_again(bus, 0, what);
        }
        return 0;
}

/* sd-bus would close the connection if there were nobody to be told. One policy has both names: what is wrong with it is said
 * of the other. */
static int on_instances_name_requested(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return 0;
}

/* With the queue flag: a successor gets the name when its predecessor goes. */
static int bus_request_name(Bus *bus) {
        int r = 0;

        if (bus->is_instance)
                r = sd_bus_request_name_async(bus->sd_bus, NULL, BUS_INSTANCES_NAME, SD_BUS_NAME_QUEUE,
                                              on_instances_name_requested, bus);
        if (r >= 0)
                r = sd_bus_request_name_async(bus->sd_bus, NULL, bus->name, SD_BUS_NAME_QUEUE, on_name_requested, bus);
        return r;
}

static int bus_watch(Bus *bus) {
        static const struct {
                const char *sender, *path, *interface, *member;
                sd_bus_message_handler_t handler;
        } signals[] = {
                { "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                  on_disconnected },
                { "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameAcquired", on_name_acquired },
                { "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameLost", on_name_lost },
        };
        int r;

        for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
                r = sd_bus_match_signal_async(bus->sd_bus, NULL, signals[i].sender, signals[i].path, signals[i].interface,
                                              signals[i].member, signals[i].handler, NULL, bus);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int list_nothing(sd_bus *sd_bus, const char *prefix, void *userdata, char ***ret_paths, sd_bus_error *error) {
        return 0;
}

/* Where there is no memory for the whole of a table or of a path, sd-bus (252) leaves behind what it has added: of a table
 * entries with a path that it frees, and of a path nodes that it never frees, for which it aborts when the connection ends. So
 * each node is made by itself, and is held by something that goes after the tables. */
static int bus_hold_paths(Bus *bus) {
        static const char *const paths[] = { "/", "/org", "/org/directserver", BUS_PATH, BUS_CLIENT_ROOT };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < sizeof paths / sizeof paths[0]; i++)
                r = sd_bus_add_node_enumerator(bus->sd_bus, NULL, paths[i], list_nothing, bus);
        return r;
}

static void on_unanswered(void *userdata) {
        bus_miss(userdata);
}

static int bus_connect(Bus *bus) {
        int r;

        r = bus->kind == BUS_USER ? sd_bus_open_user_with_description(&bus->sd_bus, "directserver")
                                  : sd_bus_open_system_with_description(&bus->sd_bus, "directserver");
        if (r < 0)
                return r;
        /* At the end of the event loop it would wait for a bus that is stuck, to say what nobody waits for any more. */
        r = sd_bus_set_close_on_exit(bus->sd_bus, false);
        if (r < 0)
                return r;
        r = sd_bus_attach_event(bus->sd_bus, bus->event, BUS_PRIORITY);
        if (r < 0)
                return r;
        r = bus_watch(bus);
        if (r < 0)
                return r;
        r = bus_hold_paths(bus);
        if (r < 0)
                return r;
        r = bus_manager_export(bus);
        if (r < 0)
                return r;
        r = bus_client_export(bus);
        if (r < 0)
                return r;
        r = polkit_new(bus->sd_bus, bus->kind == BUS_SYSTEM, on_unanswered, bus, &bus->polkit);
        if (r < 0)
                return r;
        return bus_request_name(bus);
}

static void bus_connect_or_retry(Bus *bus) {
        int r;

        r = bus_connect(bus);
        if (r < 0) {
                bus_disconnect(bus);
                bus_try_again(bus, r, bus->kind == BUS_USER ? "There is no user bus" : "There is no system bus");
        }
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Bus *bus = userdata;

        if (!bus->sd_bus || bus_request_name(bus) < 0) {
                bus_disconnect(bus);
                bus_connect_or_retry(bus);
        }
        return 0;
}

/* Work */

static bool bus_has_work(const Bus *bus) {
        return bus->missed || bus->announcer.first || bus->lister.first;
}

/* A timer, not a deferred source, as it may have to wait */
static void bus_schedule(Bus *bus, uint64_t delay_usec) {
        if (sd_event_source_set_time_relative(bus->work, delay_usec) < 0 ||
            sd_event_source_set_enabled(bus->work, SD_EVENT_ONESHOT) < 0)
                log_error(0, "There is no timer for what is to be said on the bus");
}

void bus_wake(Bus *bus) {
        if (bus_has_work(bus) && sd_event_source_get_enabled(bus->work, NULL) == 0)
                bus_schedule(bus, 0);
}

void bus_miss(Bus *bus) {
        bus->missed = true;
        bus_schedule(bus, 0);
}

int bus_reply_error(Bus *bus, sd_bus_message *call, int e) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        bus_error_set(&error, e);
        if (sd_bus_reply_method_error(call, &error) == -ENOMEM)
                bus_miss(bus);
        return 1;
}

static int on_work(sd_event_source *source, uint64_t usec, void *userdata) {
        Bus *bus = userdata;
        uint64_t deadline_usec = bus_now() + BUS_SLICE_USEC;
        bool room = true;

        if (bus->missed) {
                bus_disconnect(bus);
                bus_try_again(bus, -ENOMEM, "Not everything could be said on the bus");
                return 0;
        }
        if (bus->lister.under_way)
                bus_lister_run(bus, deadline_usec);
        else if (bus->lister.first && (bus->lister_next || !bus->announcer.first)) {
                room = bus_has_room_for_listing(bus);
                if (room)
                        bus_lister_run(bus, deadline_usec);
                bus->lister_next = false;
        } else {
                room = bus_has_room_for_signals(bus);
                if (bus_announcer_run(bus, deadline_usec) < 0)
                        room = false;
                bus->lister_next = true;
        }
        if (bus_has_work(bus))
                bus_schedule(bus, room ? 0 : BUS_PAUSE_USEC);
        return 0;
}

/* From the server */

static void bus_noted(Bus *bus, int r) {
        if (r < 0)
                bus_miss(bus);
        else
                bus_wake(bus);
}

void bus_client_joined(Bus *bus, const ServerClient *client) {
        if (bus && bus->ready)
                bus_noted(bus, bus_announcer_joined(&bus->announcer, client->id));
}

void bus_client_left(Bus *bus, uint64_t id, const char *name, unsigned reason) {
        if (bus && bus->ready)
                bus_noted(bus, bus_announcer_left(&bus->announcer, id, name, reason));
}

void bus_client_state_changed(Bus *bus, uint64_t id) {
        if (bus && bus->ready)
                bus_noted(bus, bus_announcer_changed(&bus->announcer, id));
}

static void bus_freep(Bus **bus) {
        bus_free(*bus);
}

int bus_new(sd_event *event, Server *server, BusKind kind, const char *instance, Bus **ret_bus) {
        _cleanup_(bus_freep) Bus *bus = NULL;
        int r;

        bus = calloc(1, sizeof *bus);
        if (!bus)
                return -ENOMEM;
        bus->event = sd_event_ref(event);
        bus->server = server;
        bus->kind = kind;
        bus->is_instance = instance;
        instance_get_bus_name(instance, bus->name);
        bus->retry_usec = BUS_RETRY_MIN_USEC;

        r = sd_event_add_time(event, &bus->retry, CLOCK_MONOTONIC, UINT64_MAX, 0, on_retry, bus);
        if (r < 0)
                return r;
        r = sd_event_add_time(event, &bus->work, CLOCK_MONOTONIC, UINT64_MAX, 1, on_work, bus);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(bus->work, BUS_WORK_PRIORITY);
        if (r < 0)
                return r;
        (void) sd_event_source_set_enabled(bus->retry, SD_EVENT_OFF); /* they are born enabled */
        (void) sd_event_source_set_enabled(bus->work, SD_EVENT_OFF);
        bus_connect_or_retry(bus);

        *ret_bus = bus;
        bus = NULL;
        return 0;
}

Bus *bus_free(Bus *bus) {
        if (!bus)
                return NULL;
        bus_disconnect(bus);
        sd_event_source_disable_unref(bus->retry);
        sd_event_source_disable_unref(bus->work);
        sd_event_unref(bus->event);
        free(bus);
        return NULL;
}
