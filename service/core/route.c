/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A run goes to its target's outbox without a copy. Nothing is dropped silently: what can't be forwarded is bounced, frame by
 * frame, and a broadcast that a receiver can't take in time is counted and leaves it a MARK. */

#include "service/core/pause.h"
#include "service/core/presence.h"
#include "service/core/route.h"
#include "service/core/router.h"
#include "service/core/share.h"

static bool is_over(const Link *l) {
        return l->outbox.n_kept > l->router->config.outbox_high;
}

/* Who only acknowledges what a client had sent must not wait for it to read: its other flows would stand still with that. But
 * there is a bound to what is kept of that, too. */
static bool is_overloaded(const Run *run, const Link *to) {
        return run->class == RUN_URGENT && to->outbox.n_urgent > to->router->config.urgent_high;
}

static void bounce(Link *from, const Run *run, WireBounce reason) {
        for (size_t position = 0, n = 0; position < run->size; position += n) {
                const uint8_t *frame = run->data + position;
                WireHeader header;

                wire_header_load(frame, &header);
                n = WIRE_HEADER_SIZE + header.length;
                if (header.type != WIRE_DATA && header.type != WIRE_ACK &&
                    !(header.type == WIRE_RESEND && reason == WIRE_BOUNCE_OVERLOADED))
                        continue; /* is repeated, or not needed, when the target is back */
                from->router->load.bounces++;
                header = (WireHeader) {
                        .type = WIRE_BOUNCE,
                        .kind = reason,
                        .target = header.target,
                        .sequence = header.sequence,
                        .stream = header.stream,
                        .tag = header.tag,
                };
                link_post_urgent(from, &header, NULL);
        }
        pause_self(from);
}

static void deliver(Link *from, Link *to, const Run *run) {
        Router *r = from->router;

        if (run->class == RUN_URGENT && to->outbox.n_kept > 0)
                link_post_run_urgent(to, run->data, run->size);
        else
                link_post_run(to, run->data, run->size);
        to->session->messages_out += run->n_messages;
        r->load.counters.messages_out += run->n_messages;
}

/* A receiver that has been full for too long does without; the MARK that it gets later makes it ask. */
static void deliver_or_skip(Link *from, Link *to, const Run *run) {
        if (to->skips_broadcasts) {
                to->session->missed_broadcasts = true;
                to->router->load.skipped_broadcasts += run->n_messages;
                return;
        }
        if (is_over(to))
                pause_add(from, to, true);
        deliver(from, to, run);
}

/* The number of the last reliable broadcast in the run: kept, so that receivers can be told what they have missed. */
static void note_sequence(Session *s, Router *r, const Run *run) {
        for (size_t position = 0, n = 0; position < run->size; position += n) {
                WireHeader header;

                wire_header_load(run->data + position, &header);
                n = WIRE_HEADER_SIZE + header.length;
                if (header.sequence <= s->last_broadcast || (header.type != WIRE_DATA && header.type != WIRE_MARK))
                        continue;
                r->n_broadcasters += s->last_broadcast == 0;
                s->last_broadcast = header.sequence;
        }
}

static void broadcast(Link *from, const Run *run) {
        Router *r = from->router;

        note_sequence(from->session, r, run);
        for (size_t i = 0; i < r->sessions.n_members; i++) {
                Session *s = r->sessions.members[i];
                Link *to = s->link;

                if (!to)
                        s->missed_broadcasts = true;
                else if (to != from)
                        deliver_or_skip(from, to, run);
        }
}

void route_run(Link *from, const Run *run) {
        Router *r = from->router;
        Session *target;

        from->session->messages_in += run->n_messages;
        r->load.counters.messages_in += run->n_messages;
        r->turn_messages += run->n_messages;
        if (run->target == WIRE_TARGET_BROADCAST) {
                broadcast(from, run);
                return;
        }
        target = sessions_find(&r->sessions, run->target);
        if (!target || !target->link) {
                bounce(from, run, target || router_may_come_back(r, run->target) ? WIRE_BOUNCE_AWAY : WIRE_BOUNCE_NO_CLIENT);
                return;
        }
        if (run->class == RUN_BROADCASTS) {
                deliver_or_skip(from, target->link, run);
                return;
        }
        if (is_overloaded(run, target->link)) {
                bounce(from, run, WIRE_BOUNCE_OVERLOADED);
                return;
        }
        if (run->class != RUN_URGENT && is_over(target->link) && !share_take(from, target->link, run->size))
                pause_add(from, target->link, false);
        deliver(from, target->link, run);
}

void route_drained(Link *to) {
        Router *r = to->router;
        Session *s = to->session;

        to->skips_broadcasts = false;
        pause_release(to);
        share_release(to);
        if (!s)
                return;
        if (s->missed_broadcasts)
                route_send_marks(to, false);
        if (s->missed_presence)
                presence_catch_up(r, s);
}

void route_send_marks(Link *to, bool baseline) {
        Router *r = to->router;
        Session *receiver = to->session;

        receiver->missed_broadcasts = false;
        if (r->n_broadcasters == 0)
                return;
        for (size_t i = 0; i < r->sessions.n_members; i++) {
                const Session *s = r->sessions.members[i];
                WireHeader mark = {
                        .type = WIRE_MARK,
                        .flags = baseline ? WIRE_MARK_BASELINE : 0,
                        .source = s->id,
                        .target = receiver->id,
                        .sequence = s->last_broadcast,
                };

                if (s != receiver && s->last_broadcast > 0)
                        link_post(to, &mark, NULL);
        }
}
