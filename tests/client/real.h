/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the tests with a real service share: it, clients of it, and loops that run until something has happened. */

#include <check.h>
#include <poll.h>
#include <stdbool.h>

#include <directclient.h>

#include "tests/client/service.h"

#define SECOND UINT64_C(1000000)
#define PATIENCE (20 * SECOND) /* what never takes so long unless something is wrong */

extern Service service;

void service_setup(void);
void service_teardown(void);

/* NULL: any name */
DirectClient *client_connected(const char *name);

/* Events are remembered, so that a test can wait for one. */
typedef struct Events {
        unsigned n[32];
        DirectEvent last[32];
        char text[32][128];
} Events;

void on_event(DirectClient *client, const DirectEvent *event, void *userdata);

/* The next message; fails the test if there is none. */
DirectMessage *receive(DirectClient *client);

/* The same while `sender` runs, too: in one thread, neither can block without holding up the other. */
DirectMessage *receive_from(DirectClient *sender, DirectClient *client);

/* Runs the loops of up to two clients until the condition holds. */
#define RUN_UNTIL(a, b, condition)                                                                                   \
        do {                                                                                                         \
                for (;;) {                                                                                           \
                        struct pollfd pollfds[2] = { { .fd = direct_get_fd(a), .events = POLLIN },                       \
                                                     { .fd = (b) ? direct_get_fd(b) : -1, .events = POLLIN } };          \
                        bool more = false;                                                                           \
                                                                                                                     \
                        more |= direct_process(a) > 0;                                                               \
                        if (b)                                                                                       \
                                more |= direct_process(b) > 0;                                                       \
                        if (condition)                                                                               \
                                break;                                                                               \
                        if (!more)                                                                                   \
                                ck_assert_msg(poll(pollfds, 2, 20000) > 0, "waited too long for " #condition);           \
                }                                                                                                    \
        } while (0)
