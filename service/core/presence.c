/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A watch is one object in two lists, of the watcher and of the watched. Events go in order with forwarded frames, so a client
 * never hears that another has left before the last that it sent. A watcher that does not read must not make the service hold
 * events without bound: PRESENCE_QUEUE_MAX over its high-water mark they are left out, and when it reads again it gets the
 * present state of all that it watches. */

#include <errno.h>
#include <stdlib.h>

#include "service/core/presence.h"
#include "service/core/router.h"

struct Watch {
        Session *watcher;
        Session *watched; /* NULL: it has left while the watcher could not be told */
        uint64_t id;
        uint8_t reason; /* why it left */
        LIST_ENTRY(Watch) of_watcher;
        LIST_ENTRY(Watch) of_watched;
};

static Watch *watch_find(const Session *watcher, uint64_t id) {
        Watch *watch;

        LIST_FOREACH(watch, &watcher->watches, of_watcher)
                if (watch->id == id)
                        return watch;
        return NULL;
}

static void watch_free(Watch *watch) {
        if (watch->watched)
                LIST_REMOVE(watch, of_watched);
        LIST_REMOVE(watch, of_watcher);
        watch->watcher->n_watches--;
        free(watch);
}

/* `watched` is NULL for one that has left. */
static int watch_add(Session *watcher, Session *watched, uint64_t id, uint8_t reason) {
        Watch *watch;

        if (watch_find(watcher, id))
                return 0;
        if (watcher->n_watches >= PRESENCE_WATCHES_MAX)
                return -ENOSPC;
        watch = malloc(sizeof(*watch));
        if (!watch)
                return -ENOMEM;
        *watch = (Watch) { .watcher = watcher, .watched = watched, .id = id, .reason = reason };
        LIST_INSERT_HEAD(&watcher->watches, watch, of_watcher);
        if (watched)
                LIST_INSERT_HEAD(&watched->watchers, watch, of_watched);
        watcher->n_watches++;
        return 0;
}

int presence_watch(Session *watcher, Session *watched) {
        return watch_add(watcher, watched, watched->id, WIRE_REASON_NONE);
}

void presence_unwatch(Session *watcher, uint64_t id) {
        Watch *watch = watch_find(watcher, id);

        if (watch)
                watch_free(watch);
}

void presence_watch_everyone(Router *r, Session *watcher, bool on) {
        if (on == watcher->watches_everyone)
                return;
        watcher->watches_everyone = on;
        if (on)
                LIST_INSERT_HEAD(&r->presence.everyone, watcher, everyone);
        else
                LIST_REMOVE(watcher, everyone);
}

/* An event as a frame: made once, queued for many. */
typedef struct EventFrame {
        uint8_t data[WIRE_HEADER_SIZE + 8 + 1 + 1 + 2 + 8 + 1 + WIRE_NAME_MAX];
        size_t size;
        const uint8_t *shared; /* a copy that lasts for the turn, or NULL */
} EventFrame;

static void event_frame_init(EventFrame *f, Router *r, uint64_t id, WireText name, WireEvent event, WireReason reason) {
        WirePresence presence = { .epoch = r->presence.epoch, .event = event, .reason = reason, .id = id, .name = name };
        WireHeader header = { .type = WIRE_PRESENCE };
        uint8_t *shared;

        header.length = (uint32_t) wire_presence_store(&presence, f->data + WIRE_HEADER_SIZE, sizeof(f->data) - WIRE_HEADER_SIZE);
        wire_header_store(f->data, &header);
        f->size = WIRE_HEADER_SIZE + header.length;
        shared = turn_scratch(&r->turn, f->size);
        f->shared = shared ? memcpy(shared, f->data, f->size) : NULL;
}

static bool can_take_events(const Session *watcher) {
        const Link *link = watcher->link;

        return link && outbox_size(&link->outbox) <= link->router->config.outbox_high + PRESENCE_QUEUE_MAX;
}

static void tell_one(Session *watcher, const EventFrame *f) {
        Link *link = watcher->link;

        if (!can_take_events(watcher))
                watcher->missed_presence = true;
        else if (f->shared)
                link_post_run(link, f->shared, f->size);
        else
                link_post_run_copied(link, f->data, f->size);
}

static void tell_everyone(Router *r, Session *s, const EventFrame *f) {
        Session *watcher;

        LIST_FOREACH(watcher, &r->presence.everyone, everyone)
                if (watcher != s)
                        tell_one(watcher, f);
}

/* Nobody is told the same twice. */
static void tell_watchers(Session *s, const EventFrame *f, bool everyone_was_told) {
        Watch *watch;

        LIST_FOREACH(watch, &s->watchers, of_watched)
                if (!everyone_was_told || !watch->watcher->watches_everyone || watch->watcher == s)
                        tell_one(watch->watcher, f);
}

void presence_tell(Router *r, Session *s, WireEvent event, WireReason reason) {
        EventFrame f;
        Watch *watch;

        if (!s->ghost && (event == WIRE_EVENT_JOINED || event == WIRE_EVENT_LEFT))
                r->presence.epoch++;
        event_frame_init(&f, r, s->id, session_name(s), event, reason);
        if (!s->ghost)
                tell_everyone(r, s, &f);
        tell_watchers(s, &f, !s->ghost);
        if (event == WIRE_EVENT_LEFT)
                LIST_FOREACH(watch, &s->watchers, of_watched)
                        watch->reason = (uint8_t) reason;
}

void presence_tell_resumed_ghost(Router *r, Session *s) {
        EventFrame joined, back;

        r->presence.epoch++;
        event_frame_init(&joined, r, s->id, session_name(s), WIRE_EVENT_JOINED, WIRE_REASON_NONE);
        tell_everyone(r, s, &joined);
        event_frame_init(&back, r, s->id, session_name(s), WIRE_EVENT_BACK, WIRE_REASON_NONE);
        tell_watchers(s, &back, false); /* those who watch everyone have heard something else */
}

static void catch_up_one(Router *r, Session *watcher, Watch *watch) {
        const Session *s = watch->watched;
        EventFrame f;

        if (!s) {
                event_frame_init(&f, r, watch->id, (WireText) {}, WIRE_EVENT_LEFT, watch->reason);
                watch_free(watch);
        } else if (s->state == WIRE_STATE_AWAY)
                event_frame_init(&f, r, s->id, session_name(s), WIRE_EVENT_AWAY, WIRE_REASON_LINK_LOST);
        else
                event_frame_init(&f, r, s->id, session_name(s), WIRE_EVENT_BACK, WIRE_REASON_NONE);
        tell_one(watcher, &f);
        if (s && s->state == WIRE_STATE_BUSY) {
                event_frame_init(&f, r, s->id, session_name(s), WIRE_EVENT_BUSY, WIRE_REASON_NONE);
                tell_one(watcher, &f);
        }
}

void presence_catch_up(Router *r, Session *watcher) {
        Watch *watch = LIST_FIRST(&watcher->watches);

        watcher->missed_presence = false;
        while (watch) {
                Watch *next = LIST_NEXT(watch, of_watcher);

                if (!can_take_events(watcher)) {
                        watcher->missed_presence = true;
                        return;
                }
                catch_up_one(r, watcher, watch);
                watch = next;
        }
        if (watcher->watches_everyone) {
                EventFrame f;

                /* It tells nothing new but the epoch: who sees a gap asks LIST. */
                event_frame_init(&f, r, watcher->id, session_name(watcher), WIRE_EVENT_ALIVE, WIRE_REASON_NONE);
                tell_one(watcher, &f);
        }
}

void presence_forget(Router *r, Session *s) {
        Watch *watch = LIST_FIRST(&s->watchers);

        while (watch) {
                Watch *next = LIST_NEXT(watch, of_watched);

                if (watch->watcher->missed_presence && watch->watcher != s) {
                        LIST_REMOVE(watch, of_watched);
                        watch->watched = NULL;
                } else
                        watch_free(watch);
                watch = next;
        }
        while (!LIST_EMPTY(&s->watches))
                watch_free(LIST_FIRST(&s->watches));
        presence_watch_everyone(r, s, false);
}

const Watch *presence_next_watch(const Session *watcher, const Watch *after, WatchFacts *ret) {
        const Watch *watch = after ? LIST_NEXT(after, of_watcher) : LIST_FIRST(&watcher->watches);

        if (watch)
                *ret = (WatchFacts) { .id = watch->id, .has_left = !watch->watched, .reason = watch->reason };
        return watch;
}

int presence_watch_left(Session *watcher, uint64_t id, uint8_t reason) {
        return watch_add(watcher, NULL, id, reason);
}
