/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Three questions to systemd, one after the other: which unit this is, what job there is for it, and of what type. All of it
 * goes on in the event loop, beside the traffic, and for a bounded time: a bus that is stuck must not keep the service from its
 * end. It has a connection of its own, since the one for administration may be down, or be trying again. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "service/unit-job.h"

#define MANAGER "org.freedesktop.systemd1"

enum { ANSWER_USEC = 500 * 1000 }; /* it takes some 2 ms, unless the manager is busy with a reload */

struct UnitJob {
        sd_bus *bus;
        sd_event_source *timeout;
        UnitJobHandler handler;
        void *userdata;
};

static void answer(UnitJob *job, UnitJobAnswer answer) {
        UnitJobHandler handler = job->handler;

        job->handler = NULL; /* what comes behind it is too late */
        if (handler)
                handler(job->userdata, answer);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        answer(userdata, UNIT_JOB_UNKNOWN);
        return 0;
}

static int get_property(UnitJob *job, const char *path, const char *interface, const char *name,
                        sd_bus_message_handler_t handler) {
        return sd_bus_call_method_async(job->bus, NULL, MANAGER, path, "org.freedesktop.DBus.Properties", "Get", handler, job,
                                        "ss", interface, name);
}

static int on_type(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const char *type;

        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "v", "s", &type) < 0)
                answer(userdata, UNIT_JOB_UNKNOWN);
        else
                answer(userdata, strcmp(type, "restart") == 0 ? UNIT_JOB_RESTART : UNIT_JOB_STOP);
        return 0;
}

static int on_job(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const char *path;
        uint32_t id;

        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "v", "(uo)", &id, &path) < 0)
                answer(userdata, UNIT_JOB_UNKNOWN);
        else if (id == 0)
                answer(userdata, UNIT_JOB_STOP);
        else if (get_property(userdata, path, MANAGER ".Job", "JobType", on_type) < 0)
                answer(userdata, UNIT_JOB_UNKNOWN);
        return 0;
}

static int on_unit(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const char *path;

        if (sd_bus_message_is_method_error(reply, NULL) || sd_bus_message_read(reply, "o", &path) < 0 ||
            get_property(userdata, path, MANAGER ".Unit", "Job", on_job) < 0)
                answer(userdata, UNIT_JOB_UNKNOWN);
        return 0;
}

static void cleanup_job(UnitJob **job) {
        unit_job_free(*job);
}

int unit_job_new(sd_event *event, BusKind kind, UnitJobHandler handler, void *userdata, UnitJob **ret_job) {
        __attribute__((cleanup(cleanup_job))) UnitJob *job = NULL;
        int r;

        if (kind == BUS_NONE)
                return -EOPNOTSUPP;
        job = calloc(1, sizeof(*job));
        if (!job)
                return -ENOMEM;
        job->handler = handler;
        job->userdata = userdata;
        r = kind == BUS_USER ? sd_bus_open_user(&job->bus) : sd_bus_open_system(&job->bus);
        if (r >= 0)
                r = sd_bus_set_close_on_exit(job->bus, false); /* it would wait for a bus that is stuck */
        if (r >= 0)
                r = sd_bus_attach_event(job->bus, event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_call_method_async(job->bus, NULL, MANAGER, "/org/freedesktop/systemd1", MANAGER ".Manager",
                                             "GetUnitByPID", on_unit, job, "u", (uint32_t) getpid());
        if (r >= 0)
                r = sd_event_add_time_relative(event, &job->timeout, CLOCK_MONOTONIC, ANSWER_USEC, 0, on_timeout, job);
        if (r < 0)
                return r;
        *ret_job = job;
        job = NULL;
        return 0;
}

UnitJob *unit_job_free(UnitJob *job) {
        if (!job)
                return NULL;
        sd_event_source_disable_unref(job->timeout);
        if (job->bus)
                (void) sd_bus_detach_event(job->bus);
        sd_bus_close_unref(job->bus);
        free(job);
        return NULL;
}
