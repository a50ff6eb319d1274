/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Hands all links over to the next start of the service, and takes them over from the one before: the router's state
 * (core/handover.h) and the data plane's descriptors go through the manager's store (handover-store.h). Nothing is flushed for
 * it: what the kernel does not take is part of the state, and clients wait only for the start of a program. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "service/handover-store.h"
#include "service/server-private.h"
#include "service/token.h"

/* In front of the router's bytes: whose they are. The ids in there are of one state directory, and would be issued twice
 * with another. */
typedef struct StateMark {
        uint8_t bytes[WIRE_TOKEN_SIZE];
} StateMark;

static StateMark state_mark(const Server *s) {
        StateMark mark;

        token_make(state_get_key(s->state), 0, (WireText) { .data = "" }, "handover", mark.bytes); /* no client has the id 0 */
        return mark;
}

static void cleanup_free(uint8_t **p) {
        free(*p);
}

/* Handing over */

static int save(const Server *s, const NetLinks *links, uint8_t **ret_data, size_t *ret_size) {
        StateMark mark = state_mark(s);
        uint8_t *data, *marked;
        size_t size;
        int r;

        r = handover_save(s->router, links->links, links->n, &data, &size);
        if (r < 0)
                return r;
        marked = realloc(data, sizeof(mark) + size);
        if (!marked) {
                free(data);
                return -ENOMEM;
        }
        memmove(marked + sizeof(mark), marked, size);
        memcpy(marked, &mark, sizeof(mark));
        *ret_data = marked;
        *ret_size = sizeof(mark) + size;
        return 0;
}

static int store(const Server *s, const NetLinks *links) {
        __attribute__((cleanup(cleanup_free))) uint8_t *data = NULL;
        size_t size;
        int r;

        r = save(s, links, &data, &size);
        return r < 0 ? r : handover_store_put(data, size, links->fds, links->marks, links->n);
}

int server_hand_over(Server *s) {
        NetLinks links;
        int r;

        (void) net_turn(s->net, false); /* so that nothing is borrowed, or waits to be told */
        router_set_now(s->router, net_now());
        r = net_get_links(s->net, &links);
        if (r >= 0) {
                r = store(s, &links);
                if (r >= 0)
                        log_full(LOG_INFO, 0, &(LogFields) { .message = LOG_MESSAGE_STOPPING },
                                 "Stopping: %zu connections are left with the manager for the next start.", links.n);
                net_links_deinit(&links);
        }
        return r < 0 ? log_warning(r, "Can't hand connections over (%s): clients are told to come back.", strerror(-r)) : 1;
}

/* Taking over */

static int restore(Server *s, const RouterConfig *config, const HandoverStored *stored, NetPassed *passed) {
        StateMark mark = state_mark(s);

        if (stored->size < sizeof(mark) || memcmp(stored->data, &mark, sizeof(mark)) != 0)
                return -EBADMSG;
        return handover_restore(stored->data + sizeof(mark), stored->size - sizeof(mark), config, &server_ops, s, net_now(),
                                passed->links, passed->n, &s->router);
}

/* The account of who may resume has been lost between the two services, but the router knows who is there. */
static void mend_account(Server *s) {
        const Router *r = s->router;
        const Sessions *ss = &r->sessions;
        int e = 0;

        if (state_get_loss(s->state) == STATE_LOSS_NONE)
                return;
        for (size_t i = 0; e >= 0 && i < r->former.n; i++)
                e = state_add_resumable(s->state, r->former.ranges[i]);
        for (size_t i = 0; e >= 0 && i < ss->n_members; i++)
                if (!idranges_has(&r->former, ss->members[i]->id))
                        e = state_add_resumable(s->state, (IdRange) { ss->members[i]->id, ss->members[i]->id + 1 });
        if (e >= 0 && r->next_id < r->end_id)
                e = state_add_resumable(s->state, (IdRange) { r->next_id, r->end_id });
        if (e >= 0 && r->spare_first < r->spare_end)
                e = state_add_resumable(s->state, (IdRange) { r->spare_first, r->spare_end });
        (void) state_settle(s->state); /* without it they can't resume, as was said */
}

static int adopt(Server *s, const RouterConfig *config, const HandoverStored *stored, NetPassed *passed) {
        int r;

        r = restore(s, config, stored, passed);
        if (r < 0)
                return r;
        r = net_new(s->router, s->config.kernel_timeout_usec, server_out_of_descriptors, s, &s->net);
        if (r >= 0) {
                net_adopt(s->net, passed);
                mend_account(s);
                log_info("Took over %" PRIu64 " connections of %zu clients.", s->router->n_links, s->router->sessions.n_members);
        }
        return r;
}

static int take_over(Server *s, const RouterConfig *config, int fd) {
        HandoverStored stored = HANDOVER_STORED_NULL;
        NetPassed passed = NET_PASSED_NULL;
        int r;

        r = handover_store_take(fd, &stored);
        if (r < 0)
                return r;
        r = net_passed_init(&passed, stored.fds, stored.marks, stored.n_fds);
        stored.n_fds = 0; /* they have changed hands */
        if (r >= 0)
                r = adopt(s, config, &stored, &passed);
        net_passed_deinit(&passed);
        handover_stored_deinit(&stored);
        if (r < 0)
                s->router = router_free(s->router);
        return r;
}

int server_take_over(Server *s, const RouterConfig *config) {
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; i < s->n_passed; i++)
                if (strcmp(s->passed[i], HANDOVER_STORE_NAME) == 0) {
                        int fd = SD_LISTEN_FDS_START + (int) i;

                        if (n++ == 0)
                                r = take_over(s, config, fd);
                        else
                                close(fd); /* nobody stores two */
                }
        if (r < 0)
                log_warning(r,
                            "Can't take over the connections of the service before (%s): they are closed, and clients come back.",
                            r == -EBADMSG ? "they are not as they should be" : strerror(-r));
        return n > 0 && r >= 0;
}
