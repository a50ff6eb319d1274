/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stands in for systemd on a private bus, as far as the service asks it about its unit. A line on stdin says what job there is
 * from now on: its type, or "none", or "error" (it knows no such unit), or "silent" (it does not answer). */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#define MANAGER "org.freedesktop.systemd1"
#define UNIT_PATH "/org/freedesktop/systemd1/unit/directserver_2eservice"
#define JOB_PATH "/org/freedesktop/systemd1/job/7"

typedef struct Systemd {
        sd_event *event;
        char job[64];
} Systemd;

static int method_get_unit(sd_bus_message *call, void *userdata, sd_bus_error *error) {
        const Systemd *systemd = userdata;

        if (strcmp(systemd->job, "silent") == 0)
                return 1;
        if (strcmp(systemd->job, "error") == 0)
                return sd_bus_reply_method_errorf(call, MANAGER ".NoUnitForPID", "No unit");
        return sd_bus_reply_method_return(call, "o", UNIT_PATH);
}

static int get_job(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                   void *userdata, sd_bus_error *error) {
        const Systemd *systemd = userdata;
        bool is_none = strcmp(systemd->job, "none") == 0;

        return sd_bus_message_append(reply, "(uo)", is_none ? 0 : 7, is_none ? "/" : JOB_PATH);
}

static int get_type(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                    void *userdata, sd_bus_error *error) {
        const Systemd *systemd = userdata;

        return sd_bus_message_append(reply, "s", systemd->job);
}

static const sd_bus_vtable manager_table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("GetUnitByPID", "u", "o", method_get_unit, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable unit_table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Job", "(uo)", get_job, 0, 0),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable job_table[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("JobType", "s", get_type, 0, 0),
        SD_BUS_VTABLE_END,
};

static int on_line(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Systemd *systemd = userdata;

        if (!fgets(systemd->job, sizeof systemd->job, stdin))
                return sd_event_exit(systemd->event, 0);
        systemd->job[strcspn(systemd->job, "\n")] = '\0';
        puts("ok");
        fflush(stdout);
        return 0;
}

static int serve(sd_bus *bus, Systemd *systemd) {
        int r;

        r = sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1", MANAGER ".Manager", manager_table, systemd);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, UNIT_PATH, MANAGER ".Unit", unit_table, systemd);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, JOB_PATH, MANAGER ".Job", job_table, systemd);
        if (r >= 0)
                r = sd_bus_request_name(bus, MANAGER, 0);
        if (r < 0)
                return r;
        puts("ready");
        fflush(stdout);
        return sd_event_loop(systemd->event);
}

int main(void) {
        Systemd systemd = {};
        sd_bus *bus = NULL;
        int r;

        setvbuf(stdin, NULL, _IONBF, 0);
        r = sd_event_new(&systemd.event);
        if (r >= 0)
                r = sd_event_add_io(systemd.event, NULL, STDIN_FILENO, EPOLLIN, on_line, &systemd);
        if (r >= 0)
                r = sd_bus_open_user(&bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, systemd.event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = serve(bus, &systemd);
        if (r < 0)
                fprintf(stderr, "fake-systemd: %s\n", strerror(-r));
        sd_bus_flush_close_unref(bus);
        sd_event_unref(systemd.event);
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
