/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Walks over the router and writes it down, a record for each thing. What can be derived from the rest is not written: sums,
 * tables, lists of who waits for a link. Changes nothing. */

#include <assert.h>

#include "service/core/handover-load.h"
#include "service/core/handover-records.h"
#include "service/core/handover.h"
#include "service/core/pause.h"
#include "service/core/share.h"

enum { SESSION_SIZE = 512 }; /* of most, with link and watches */

static void save_router(RecordWriter *w, const Router *r, size_t n_links) {
        record_begin(w, RECORD_ROUTER);
        record_put_u16(w, WIRE_VERSION);
        record_put_u32(w, (uint32_t) n_links);
        record_put_bytes(w, r->instance, sizeof(r->instance));
        record_put_u64(w, r->random);
        record_put_age(w, r->now, r->start_usec);
        record_put_rest(w, r->now, r->former_until_usec);
        record_put_u64(w, r->presence.epoch);
        record_put_u64(w, r->next_id);
        record_put_u64(w, r->end_id);
        record_put_u64(w, r->spare_first);
        record_put_u64(w, r->spare_end);
        record_put_rest(w, r->now, r->load_timer.slot != 0 ? r->load_timer.when : TIMERS_NEVER);
        record_end(w);
}

static void save_former(RecordWriter *w, const Router *r) {
        record_begin(w, RECORD_FORMER);
        for (size_t i = 0; i < r->former.n; i++) {
                record_put_u64(w, r->former.ranges[i].first);
                record_put_u64(w, r->former.ranges[i].end);
        }
        record_end(w);
}

static void save_session(RecordWriter *w, const Router *r, const Session *s) {
        unsigned flags = 0;

        flags |= s->ghost ? RECORD_SESSION_GHOST : 0;
        flags |= s->watches_everyone ? RECORD_SESSION_WATCHES_EVERYONE : 0;
        flags |= s->missed_presence ? RECORD_SESSION_MISSED_PRESENCE : 0;
        flags |= s->missed_broadcasts ? RECORD_SESSION_MISSED_BROADCASTS : 0;
        record_begin(w, RECORD_SESSION);
        record_put_u64(w, s->id);
        record_put_u8(w, s->state);
        record_put_u8(w, (uint8_t) flags);
        record_put_text8(w, s->name, s->n_name);
        record_put_text16(w, s->program, strlen(s->program));
        record_put_u64(w, s->since_usec);
        record_put_u64(w, s->last_broadcast);
        record_put_u64(w, s->messages_in);
        record_put_u64(w, s->messages_out);
        record_put_u64(w, s->bytes_in);
        record_put_u64(w, s->bytes_out);
        record_put_rest(w, r->now, s->grace.slot != 0 ? s->grace.when : 0);
        record_end(w);
}

static void save_watches(RecordWriter *w, const Session *s) {
        const Watch *watch = NULL;
        WatchFacts facts;

        while ((watch = presence_next_watch(s, watch, &facts))) {
                record_begin(w, facts.has_left ? RECORD_WATCH_LEFT : RECORD_WATCH);
                record_put_u64(w, s->id);
                record_put_u64(w, facts.id);
                if (facts.has_left)
                        record_put_u8(w, facts.reason);
                record_end(w);
        }
}

static void save_sessions(RecordWriter *w, const Router *r) {
        const IdMap *map = &r->sessions.by_id;

        for (size_t i = 0; i < r->sessions.n_members; i++)
                save_session(w, r, r->sessions.members[i]);
        for (size_t i = 0; map->mask != 0 && i <= map->mask; i++) {
                const Session *s = map->entries[i].value;

                if (map->entries[i].id != 0 && s->ghost)
                        save_session(w, r, s);
        }
        for (size_t i = 0; i < r->sessions.n_members; i++)
                save_watches(w, r->sessions.members[i]);
}

static unsigned link_flags(const Link *l) {
        unsigned flags = 0;

        flags |= l->blocked ? RECORD_LINK_BLOCKED : 0;
        flags |= l->stalled ? RECORD_LINK_STALLED : 0;
        flags |= l->stall.slot != 0 ? RECORD_LINK_STALL_TIMER : 0;
        flags |= l->full_usec != 0 ? RECORD_LINK_FULL : 0;
        flags |= l->skips_broadcasts ? RECORD_LINK_SKIPS_BROADCASTS : 0;
        flags |= l->ping_outstanding ? RECORD_LINK_PINGED : 0;
        flags |= l->probed ? RECORD_LINK_PROBED : 0;
        flags |= l->leaving ? RECORD_LINK_LEAVING : 0;
        flags |= l->outbox.opened ? RECORD_LINK_OPENED : 0;
        flags |= l->unconfirmed ? RECORD_LINK_UNCONFIRMED : 0;
        return flags;
}

static void save_link(RecordWriter *w, const Link *l, uint32_t index) {
        const Router *r = l->router;

        assert(!l->dirty && l->outbox.n_borrowed == 0);
        record_begin(w, RECORD_LINK);
        record_put_u32(w, index);
        record_put_u8(w, l->state == LINK_WAITING ? LINK_OPENING : l->state);
        record_put_u16(w, (uint16_t) link_flags(l));
        record_put_u64(w, l->state == LINK_UP ? l->session->id : 0);
        record_put_text8(w, l->principal, strlen(l->principal));
        record_put_rest(w, r->now, l->timer.when);
        record_put_rest(w, r->now, l->stall.slot != 0 ? l->stall.when : 0);
        record_put_age(w, r->now, l->heard_usec);
        record_put_age(w, r->now, l->blocked_usec);
        record_put_age(w, r->now, l->stalled_usec);
        record_put_age(w, r->now, l->full_usec);
        record_put_age(w, r->now, l->ping_usec);
        record_put_u32(w, l->ping_tag);
        record_put_u32(w, l->rtt_usec);
        record_put_u64(w, l->n_discarded);
        record_end(w);
}

/* What was read of an incomplete frame, and what is queued, to the byte at which the kernel has stopped taking it. */
static void save_bytes(RecordWriter *w, const Link *l, uint32_t index) {
        const Chunk *chunk = NULL;
        OutboxPart part;

        if (l->framer.n_tail > 0) {
                record_begin(w, RECORD_TAIL);
                record_put_u32(w, index);
                record_put_bytes(w, l->framer.tail, l->framer.n_tail);
                record_end(w);
        }
        while ((chunk = outbox_next_part(&l->outbox, chunk, &part))) {
                record_begin(w, RECORD_OUTPUT);
                record_put_u32(w, index);
                record_put_u8(w, (uint8_t) ((part.begun ? RECORD_OUTPUT_BEGUN : 0) | (part.urgent ? RECORD_OUTPUT_URGENT : 0)));
                record_put_bytes(w, part.data, part.size);
                record_end(w);
        }
}

/* Few wait for a name, so looking for their places costs nothing. */
static void save_waiting(RecordWriter *w, const Router *r, Link *const *links, size_t n_links) {
        const Link *l;

        TAILQ_FOREACH(l, &r->waiting, waiting_entry) {
                size_t i = 0;

                while (i < n_links && links[i] != l)
                        i++;
                record_begin(w, RECORD_WAITING);
                record_put_u32(w, (uint32_t) i);
                record_put_u64(w, l->session->id);
                record_put_text8(w, l->session->name, l->session->n_name);
                record_put_text16(w, l->session->program, strlen(l->session->program));
                record_end(w);
        }
}

static void save_pauses(RecordWriter *w, const Link *l) {
        const Pause *pause = NULL;
        const Link *target;
        bool broadcast;

        while ((pause = pause_next(l, pause, &target, &broadcast))) {
                record_begin(w, RECORD_PAUSE);
                record_put_u64(w, l->session->id);
                record_put_u64(w, target->session->id);
                record_put_u8(w, broadcast);
                record_end(w);
        }
}

static void save_shares(RecordWriter *w, const Link *l) {
        const Share *share = NULL;
        const Link *target;
        ShareFacts facts;

        while ((share = share_next(l, share, &target, &facts))) {
                record_begin(w, RECORD_SHARE);
                record_put_u64(w, l->session->id);
                record_put_u64(w, target->session->id);
                record_put_u64(w, facts.older);
                record_put_u64(w, facts.newer);
                record_put_u64(w, facts.older_end);
                record_put_u64(w, facts.newer_end);
                record_end(w);
        }
}

int handover_save(const Router *r, Link *const *links, size_t n_links, uint8_t **ret_data, size_t *ret_size) {
        RecordWriter w;

        assert(!r->stopping && !r->is_unsettled && r->turn.n_segments == 0 && n_links <= UINT32_MAX);
        records_begin(&w, r->queued_bytes + SESSION_SIZE * (r->sessions.n_members + n_links));
        save_router(&w, r, n_links);
        save_former(&w, r);
        save_sessions(&w, r);
        for (size_t i = 0; i < n_links; i++)
                if (links[i]->state != LINK_DEAD)
                        save_link(&w, links[i], (uint32_t) i);
        save_waiting(&w, r, links, n_links);
        for (size_t i = 0; i < n_links; i++)
                save_bytes(&w, links[i], (uint32_t) i);
        for (size_t i = 0; i < n_links; i++)
                save_pauses(&w, links[i]);
        for (size_t i = 0; i < n_links; i++)
                save_shares(&w, links[i]);
        handover_save_load(&w, &r->load, r->now);
        return records_end(&w, ret_data, ret_size);
}
