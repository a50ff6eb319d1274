/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Runs the two planes by turns. The service sleeps in the data plane's epoll set, which has sd-event's descriptor in it, so a
 * turn of messages costs one epoll_wait(); sd-event is asked only when its descriptor says so, or when a turn has noted
 * something for the bus. Then the control plane handles one event, and a turn of the data plane without sleep follows, by which
 * what it has changed goes out. So neither keeps the other waiting, however much each has to do. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "service/server-private.h"

enum { MEMORY_RETRY_MSEC = 20 }; /* nobody tells when there is memory again */

/* One event, by the phases of sd_event_wait(3). Returns 1: there was one, and there may be more; 0: there is none, and the
 * descriptor tells of the next; or a negative errno. */
static int handle_control(Server *s) {
        int r = 0;

        if (sd_event_get_state(s->event) == SD_EVENT_ARMED)
                r = sd_event_wait(s->event, 0);
        if (r == 0)
                r = sd_event_prepare(s->event);
        return r > 0 ? sd_event_dispatch(s->event) : r;
}

/* sd-event takes memory at times: what was ready is so again next time. */
static int wait_for_memory(Server *s) {
        unsigned left_out;

        if (log_limit_pass(&s->limits[SERVER_LIMIT_MEMORY], net_now(), &left_out))
                log_error(-ENOMEM, "The event loop has no memory, and goes on when there is some.");
        (void) poll(NULL, 0, MEMORY_RETRY_MSEC);
        return 1;
}

static bool is_ending(const Server *s) {
        int code;

        return sd_event_get_exit_code(s->event, &code) >= 0;
}

static void turn(Server *s, bool may_sleep) {
        s->control_is_due = !may_sleep;
        if (net_turn(s->net, may_sleep))
                s->control_is_due = true;
        (void) server_feed_ids(s); /* it has said what failed, and is tried again with the next client */
        if (s->stopping && s->router->n_links == 0) {
                sd_event_exit(s->event, 0);
                s->control_is_due = true;
        }
}

int server_run(Server *s) {
        int r;

        log_full(LOG_INFO, 0, &(LogFields) { .message = LOG_MESSAGE_STARTED }, "Ready.");
        sd_notify(false, "READY=1");
        s->control_is_due = true;
        do {
                r = s->control_is_due ? handle_control(s) : 0;
                if (r == -ENOMEM)
                        r = wait_for_memory(s);
                if (r >= 0 && !(s->control_is_due && is_ending(s))) /* then links may be somebody else's already */
                        turn(s, r == 0);
        } while (r >= 0 && sd_event_get_state(s->event) != SD_EVENT_FINISHED);
        return r < 0 ? log_error(r, "The event loop failed: %s.", strerror(-r)) : 0;
}
