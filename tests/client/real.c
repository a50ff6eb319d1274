/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A service of its own for each test, because tests end it, and count its clients. */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/client/real.h"

Service service;

void service_setup(void) {
        service = (Service) {};
        service_start(&service);
}

void service_teardown(void) {
        service_stop(&service, SIGKILL);
        service_clean(&service);
}

DirectClient *client_connected(const char *name) {
        DirectClient *client;
        int r;

        ck_assert_int_eq(direct_client_new(&client), 0);
        if (name)
                ck_assert_int_eq(direct_set_name(client, name), 0);
        r = direct_connect(client, service.address);
        ck_assert_msg(r == 0, "%s", direct_get_error(client));
        return client;
}

void on_event(DirectClient *client, const DirectEvent *event, void *userdata) {
        Events *events = userdata;

        ck_assert_int_lt(event->type, 32);
        events->n[event->type]++;
        events->last[event->type] = *event;
        snprintf(events->text[event->type], sizeof(events->text[0]), "%s", event->text);
}

DirectMessage *receive(DirectClient *client) {
        DirectMessage *message = NULL;
        int r;

        r = direct_receive(client, PATIENCE, &message);
        ck_assert_msg(r == 0, "%s: %s", strerror(-r), direct_get_error(client));
        return message;
}

DirectMessage *receive_from(DirectClient *sender, DirectClient *client) {
        DirectMessage *message = NULL;

        RUN_UNTIL(sender, client, direct_receive(client, 0, &message) == 0);
        return message;
}
