/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two questions are kept apart. Is the program busy? It has not answered a ping for as long as it was silent before: a state, no
 * more. Is the peer dead? Only its kernel can say that, through the data plane. Timers are lazy: hearing from a link costs an
 * assignment, and its timer finds out when it fires. A link that the service itself does not read from can't be found silent. */

#include "service/core/handshake.h"
#include "service/core/liveness.h"
#include "service/core/pause.h"
#include "service/core/router.h"

static void arm(Link *l, uint64_t when) {
        timers_arm(&l->router->timers, &l->timer, when);
}

void liveness_begin(Link *l) {
        l->heard_usec = l->router->now;
        arm(l, l->router->now + l->router->config.ping_interval_usec);
}

void liveness_heard(Link *l) {
        l->heard_usec = l->router->now;
        if (l->session->state == WIRE_STATE_BUSY)
                router_set_state(l->router, l->session, WIRE_STATE_ALIVE, WIRE_EVENT_ALIVE, WIRE_REASON_NONE);
}

void liveness_ping(Link *l) {
        WireHeader ping = { .type = WIRE_PING };

        if (l->ping_outstanding)
                return;
        ping.tag = ++l->ping_tag;
        l->ping_outstanding = true;
        l->ping_usec = l->router->now;
        link_post_urgent(l, &ping, NULL);
}

void liveness_pong(Link *l, uint32_t tag) {
        if (!l->ping_outstanding || tag != l->ping_tag)
                return; /* unasked for: harmless */
        l->ping_outstanding = false;
        l->rtt_usec = (uint32_t) (l->router->now - l->ping_usec);
        if (l->probed) {
                l->probed = false;
                handshake_name_held(l->router, session_name(l->session));
        }
}

static void check_silence(Link *l) {
        Router *r = l->router;
        uint64_t interval = r->config.ping_interval_usec;
        uint64_t silence = r->now - l->heard_usec;

        if (!link_wants_input(l)) {
                arm(l, r->now + interval);
                return;
        }
        if (silence < interval) {
                arm(l, l->heard_usec + interval);
                return;
        }
        if (!l->ping_outstanding)
                liveness_ping(l);
        else if (silence >= 2 * interval && r->now - l->ping_usec >= interval && l->session->state == WIRE_STATE_ALIVE)
                router_set_state(r, l->session, WIRE_STATE_BUSY, WIRE_EVENT_BUSY, WIRE_REASON_NONE);
        arm(l, r->now + interval);
}

void liveness_check(Link *l) {
        switch ((LinkState) l->state) {
        case LINK_OPENING:
                handshake_time_out(l);
                break;
        case LINK_WAITING:
                handshake_give_up(l);
                break;
        case LINK_UP:
                check_silence(l);
                break;
        case LINK_CLOSING:
                link_kill(l);
                break;
        case LINK_DEAD:
                break;
        }
}

static uint64_t earliest(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

/* When the blocked output must be looked at next. */
static uint64_t next_stall_check(const Link *l) {
        const RouterConfig *config = &l->router->config;
        uint64_t next = l->stalled ? l->router->now + LINK_STALL_CHECK_USEC : l->blocked_usec + LINK_STALL_USEC;

        if (l->full_usec != 0 && !l->skips_broadcasts)
                next = earliest(next, l->full_usec + config->broadcast_wait_usec);
        if (l->full_usec != 0 && config->slow_client_timeout_usec > 0)
                next = earliest(next, l->full_usec + config->slow_client_timeout_usec);
        return next;
}

void liveness_blocked(Link *l) {
        uint64_t next;

        if (!l->blocked || l->state == LINK_DEAD)
                return;
        next = next_stall_check(l);
        if (l->stall.slot == 0 || next < l->stall.when)
                timers_arm(&l->router->timers, &l->stall, next);
}

void liveness_sent(Link *l) {
        if (l->stall.slot == 0 && l->state != LINK_DEAD)
                timers_arm(&l->router->timers, &l->stall, l->router->now + LINK_PENDING_USEC);
}

static void set_stalled(Link *l, bool on) {
        if (l->stalled == on)
                return;
        l->stalled = on;
        l->stalled_usec = l->blocked ? l->blocked_usec : l->router->now - LINK_PENDING_USEC;
        l->router->ops->stalled(l->router->userdata, l, on);
}

static void too_slow(Link *l) {
        Session *s = l->session;
        Router *r = l->router;

        link_goodbye(l, WIRE_REASON_TOO_SLOW, 0, "its messages were not read in time (SlowClientTimeoutSec=)");
        router_end_session(r, s, WIRE_REASON_TOO_SLOW, "");
}

void liveness_check_stall(Link *l) {
        Router *r = l->router;
        uint64_t next;

        if (l->state == LINK_DEAD)
                return;
        if (!l->blocked && !r->ops->is_pending(r->userdata, l)) {
                set_stalled(l, false);
                return;
        }
        if (l->full_usec != 0 && !l->skips_broadcasts && r->now >= l->full_usec + r->config.broadcast_wait_usec) {
                l->skips_broadcasts = true;
                pause_release_broadcasts(l);
        }
        if (!l->blocked || r->now >= l->blocked_usec + LINK_STALL_USEC)
                set_stalled(l, true);
        if (l->stalled && r->ops->is_dead(r->userdata, l)) {
                link_end(l, LINK_TIMEOUT);
                return;
        }
        if (l->state == LINK_UP && l->full_usec != 0 && r->config.slow_client_timeout_usec > 0 &&
            r->now >= l->full_usec + r->config.slow_client_timeout_usec)
                too_slow(l);
        if (l->state == LINK_DEAD)
                return;
        next = next_stall_check(l);
        timers_arm(&r->timers, &l->stall, next > r->now ? next : r->now + LINK_STALL_CHECK_USEC);
}
