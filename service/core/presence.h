/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who watches whom, the epoch of the membership, and the events that tell of it. */

#include "service/core/session.h"

typedef struct Router Router;

enum {
        PRESENCE_WATCHES_MAX = 4096, /* of one client; more are better served by watching everyone */
        /* What may be queued for a watcher over its high-water mark before it misses events: some ten thousand of them */
        PRESENCE_QUEUE_MAX = 1024 * 1024,
};

typedef struct Presence {
        uint64_t epoch;
        LIST_HEAD(EveryoneList, Session) everyone;
} Presence;

/* Returns 0, -ENOSPC (PRESENCE_WATCHES_MAX), or -ENOMEM. Watching twice is once. */
int presence_watch(Session *watcher, Session *watched);
void presence_unwatch(Session *watcher, uint64_t id);
void presence_watch_everyone(Router *r, Session *watcher, bool on);

/* Tells all who watch `s`. JOINED and LEFT of a member raise the epoch. */
void presence_tell(Router *r, Session *s, WireEvent event, WireReason reason);

/* A session from before a restart is back: those who have watched it hear that, all others that it has joined. */
void presence_tell_resumed_ghost(Router *r, Session *s);

/* `watcher` can take events again after it has missed some: tells it how things stand. */
void presence_catch_up(Router *r, Session *watcher);

/* The session ends (its LEFT has been told): its watches, and those of it, end. */
void presence_forget(Router *r, Session *s);

/* ---- For the handover ---- */

typedef struct WatchFacts {
        uint64_t id;
        bool has_left; /* and the watcher could not be told */
        uint8_t reason;
} WatchFacts;

/* The watch behind `after`, or the first (NULL). NULL: there are no more. */
const Watch *presence_next_watch(const Session *watcher, const Watch *after, WatchFacts *ret);

/* A watch of somebody who has left. Returns as presence_watch(). */
int presence_watch_left(Session *watcher, uint64_t id, uint8_t reason);
