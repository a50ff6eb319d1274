/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A link's life: opening, up (or waiting for its name first), closing, dead. It owns its outbox and its incomplete frame; the
 * data plane owns the descriptor and frees the link when it has closed that. What a link can make the service hold is accounted
 * here, in Router.queued_bytes. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "service/core/handshake.h"
#include "service/core/liveness.h"
#include "service/core/pause.h"
#include "service/core/route.h"
#include "service/core/router.h"
#include "service/core/share.h"

enum {
        LINK_N_TIMERS = 2,
        READ_SIZE_SCARCE = 4 * 1024, /* over LINK_QUEUED_SCARCE: what ten thousand senders add before they wait is 40 MiB */
};

int link_new(Router *r, void *userdata, const char *address, const char *principal, Link **ret_link) {
        Link *l;

        l = calloc(1, sizeof(*l));
        if (!l || timers_reserve(&r->timers, LINK_N_TIMERS) < 0) {
                free(l);
                return -ENOMEM;
        }
        l->router = r;
        l->userdata = userdata;
        l->address = address;
        l->principal = principal;
        l->timer = TIMER_INIT(TIMER_LINK);
        l->stall = TIMER_INIT(TIMER_STALL);
        LIST_INIT(&l->pauses);
        LIST_INIT(&l->pausing);
        LIST_INIT(&l->shares);
        LIST_INIT(&l->sharing);
        timers_arm(&r->timers, &l->timer, r->now + HANDSHAKE_TIMEOUT_USEC);
        r->n_links++;
        *ret_link = l;
        return 0;
}

static void charge(Link *l) {
        Router *r = l->router;

        r->queued_bytes += l->outbox.n_kept - l->n_charged;
        l->n_charged = l->outbox.n_kept;
        if (l->full_usec == 0 && l->outbox.n_kept > r->config.outbox_high) {
                l->full_usec = r->now;
                liveness_blocked(l);
        }
}

/* Nobody reaches the link any more, and nobody waits for it. */
static void detach(Link *l, LinkState state) {
        if (l->state == LINK_WAITING) {
                TAILQ_REMOVE(&l->router->waiting, l, waiting_entry);
                router_session_free(l->router, l->session);
        } else if (l->session)
                l->session->link = NULL;
        l->session = NULL;
        l->state = state;
        pause_release(l);
        pause_forget(l);
        share_forget(l);
        framer_deinit(&l->framer);
        link_set_dirty(l);
}

Link *link_free(Link *l) {
        Router *r;

        if (!l)
                return NULL;
        r = l->router;
        if (l->state != LINK_DEAD)
                link_end(l, LINK_RESET);
        if (l->dirty)
                TAILQ_REMOVE(&r->dirty, l, dirty_entry);
        outbox_deinit(&l->outbox);
        charge(l);
        timers_disarm(&r->timers, &l->timer);
        timers_disarm(&r->timers, &l->stall);
        timers_unreserve(&r->timers, LINK_N_TIMERS);
        r->n_links--;
        free(l);
        return NULL;
}

void link_set_dirty(Link *l) {
        if (l->dirty)
                return;
        l->dirty = true;
        TAILQ_INSERT_TAIL(&l->router->dirty, l, dirty_entry);
}

size_t link_get_read_size(const Link *l) {
        if (l->state == LINK_OPENING)
                return WIRE_HELLO_FRAME_MAX - l->framer.n_tail;
        if (l->router->queued_bytes > LINK_QUEUED_SCARCE)
                return READ_SIZE_SCARCE;
        return l->n_last_read >= LINK_READ_SIZE_USUAL ? LINK_READ_SIZE_MAX : LINK_READ_SIZE_USUAL;
}

/* Output */

static bool takes_output(const Link *l) {
        return l->state != LINK_CLOSING && l->state != LINK_DEAD && !l->failed;
}

static void posted(Link *l, int r) {
        charge(l);
        l->failed = l->failed || r < 0;
        link_set_dirty(l);
}

void link_post_run(Link *l, const uint8_t *data, size_t size) {
        if (takes_output(l))
                posted(l, outbox_borrow(&l->outbox, &l->router->turn, data, size));
}

void link_post_run_copied(Link *l, const uint8_t *data, size_t size) {
        if (takes_output(l))
                posted(l, outbox_copy(&l->outbox, &l->router->turn, data, size));
}

void link_post_run_urgent(Link *l, const uint8_t *data, size_t size) {
        if (takes_output(l))
                posted(l, outbox_copy_urgent(&l->outbox, &l->router->turn, data, size));
}

typedef void (*PostFunction)(Link *l, const uint8_t *data, size_t size);

static void post_frame(Link *l, const WireHeader *header, const uint8_t *payload, PostFunction post) {
        uint8_t small[WIRE_HEADER_SIZE + 512];
        uint8_t *frame = small;

        if (header->length > sizeof(small) - WIRE_HEADER_SIZE) {
                frame = malloc(WIRE_HEADER_SIZE + header->length);
                if (!frame) {
                        posted(l, -ENOMEM);
                        return;
                }
        }
        wire_header_store(frame, header);
        if (header->length > 0)
                memcpy(frame + WIRE_HEADER_SIZE, payload, header->length);
        post(l, frame, WIRE_HEADER_SIZE + header->length);
        if (frame != small)
                free(frame);
}

void link_post(Link *l, const WireHeader *header, const uint8_t *payload) {
        post_frame(l, header, payload, link_post_run_copied);
}

void link_post_urgent(Link *l, const WireHeader *header, const uint8_t *payload) {
        post_frame(l, header, payload, link_post_run_urgent);
}

void link_sent(Link *l, size_t size) {
        Router *r = l->router;

        outbox_sent(&l->outbox, &r->turn, size);
        charge(l);
        r->load.counters.bytes_out += size;
        if (l->session)
                l->session->bytes_out += size;
        if (l->blocked && outbox_size(&l->outbox) == 0)
                l->blocked = false;
        liveness_sent(l);
        if (l->full_usec != 0 && l->outbox.n_kept <= r->config.outbox_low) {
                l->full_usec = 0;
                route_drained(l);
        } else if (l->session && l->session->missed_presence && l->outbox.n_kept <= r->config.outbox_low)
                presence_catch_up(r, l->session);
}

void link_keep(Link *l) {
        int r;

        r = outbox_keep(&l->outbox, &l->router->turn);
        charge(l);
        if (r < 0 || l->failed) {
                link_end(l, LINK_RESET);
                return;
        }
        if (l->outbox.n_kept > 0 && !l->blocked) {
                l->blocked = true;
                l->blocked_usec = l->router->now;
                liveness_blocked(l);
        }
}

/* The end */

void link_kill(Link *l) {
        if (l->state == LINK_DEAD)
                return;
        detach(l, LINK_DEAD);
        outbox_deinit(&l->outbox);
        charge(l);
}

void link_hang_up(Link *l) {
        if (l->state == LINK_WAITING)
                link_kill(l);
        if (l->state != LINK_UP || l->leaving)
                return;
        l->leaving = true;
        if (pause_has_room_to_leave(l))
                pause_forget(l); /* and each batch is judged anew */
}

/* A peer that has waited too long for its WELCOME closes, and connects again: that is no death of the program. */
static bool was_given_up(const Link *l, LinkEnd how) {
        return how == LINK_EOF && l->unconfirmed;
}

void link_end(Link *l, LinkEnd how) {
        Session *s = l->state == LINK_UP ? l->session : NULL;
        Router *r = l->router;

        link_kill(l);
        if (!s)
                return;
        switch (was_given_up(l, how) ? LINK_TIMEOUT : how) {
        case LINK_EOF:
                router_end_session(r, s, WIRE_REASON_DIED, "");
                break;
        case LINK_RESET:
                router_session_away(r, s, ROUTER_RESET_GRACE_USEC);
                break;
        case LINK_TIMEOUT:
                router_session_away(r, s, r->config.grace_usec);
                break;
        }
}

void link_finish(Link *l) {
        outbox_deinit(&l->outbox);
        charge(l);
        detach(l, LINK_CLOSING);
        timers_arm(&l->router->timers, &l->timer, l->router->now + LINK_LINGER_USEC);
}

/* The last frame follows what is queued only where somebody else still wants that to arrive. */
static void close_with(Link *l, WireType type, uint16_t code, const uint8_t *payload, size_t size, bool flush) {
        WireHeader header = { .type = type, .kind = code, .length = (uint32_t) size };

        if (l->state == LINK_CLOSING || l->state == LINK_DEAD)
                return;
        if (l->failed) { /* there is a hole before what would be the last frame */
                link_kill(l);
                return;
        }
        if (!flush) {
                outbox_drop(&l->outbox);
                charge(l);
        }
        link_post(l, &header, payload);
        detach(l, LINK_CLOSING);
        timers_arm(&l->router->timers, &l->timer, l->router->now + LINK_LINGER_USEC);
}

void link_refuse(Link *l, WireRefusal code, const char *text) {
        uint8_t payload[512];
        WireWriter w = wire_writer(payload, sizeof(payload));

        wire_write_text16(&w, text, strlen(text));
        assert(!w.failed);
        close_with(l, WIRE_REFUSED, code, payload, wire_writer_size(&w), false);
}

void link_goodbye(Link *l, WireReason code, uint32_t retry_after_ms, const char *text) {
        uint8_t payload[2048];
        WireGoodbye goodbye = {
                .retry_after_ms = retry_after_ms,
                .reason = { .data = text, .size = strlen(text) },
        };
        int n;

        n = wire_goodbye_store(&goodbye, payload, sizeof(payload));
        assert(n >= 0);
        close_with(l, WIRE_GOODBYE, code, payload, (size_t) n, code == WIRE_REASON_STOPPING || code == WIRE_REASON_RESTARTING);
}

void link_protocol_error(Link *l, const char *what) {
        Session *s = l->state == LINK_UP ? l->session : NULL;
        Router *r = l->router;

        r->load.protocol_errors++;
        r->ops->protocol_error(r->userdata, l, s, what);
        if (!s) {
                link_refuse(l, WIRE_REFUSED_PROTOCOL, what);
                return;
        }
        link_goodbye(l, WIRE_REASON_PROTOCOL, 0, what);
        router_end_session(r, s, WIRE_REASON_PROTOCOL, what);
}
