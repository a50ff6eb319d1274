/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A session is what outlives a link: id, name, watches, counters. Sessions is the membership: by id, by name, in order of ids. */

#include <sys/queue.h>

#include "protocol/wire.h"
#include "service/core/idmap.h"
#include "service/core/timers.h"

typedef struct Link Link;
typedef struct Watch Watch;

LIST_HEAD(WatchList, Watch);

typedef struct Session {
        uint64_t id;
        Link *link; /* NULL: away */
        uint8_t state;
        bool ghost; /* of the time before a restart: watched, not seen again yet; not a member */
        bool watches_everyone;
        bool missed_presence;   /* events could not be queued for it; it gets the present state when it reads again */
        bool missed_broadcasts; /* it gets MARKs when it reads again */
        uint8_t n_name;
        char name[WIRE_NAME_MAX + 1];
        char *program;
        uint64_t since_usec; /* when it joined, on the clock of people; set by whoever hears of that */
        uint64_t last_broadcast; /* the number of its last reliable broadcast; 0: none */
        uint64_t messages_in, messages_out, bytes_in, bytes_out;
        Timer grace;
        struct WatchList watchers; /* who watches this one */
        struct WatchList watches;  /* whom this one watches */
        uint32_t n_watches;
        LIST_ENTRY(Session) everyone; /* in Presence.everyone */
} Session;

static inline WireText session_name(const Session *s) {
        return (WireText) { .data = s->name, .size = s->n_name };
}

typedef struct Sessions {
        IdMap by_id; /* members and ghosts */
        void *by_name; /* tsearch(3): a balanced tree, which no choice of names can unbalance; members only */
        Session **members; /* in order of ids */
        size_t n_members;
        size_t n_allocated;
        size_t n_away;
} Sessions;

#define SESSIONS_NULL ((Sessions) {})

/* Frees the tables and all sessions in them. */
void sessions_deinit(Sessions *ss);

/* A session that is no member yet. `program` is copied. NULL: out of memory. */
Session *session_new(uint64_t id, WireText program);
Session *session_free(Session *s);

/* What the client says of itself, copied. Returns 0 or -ENOMEM. */
int session_set_program(Session *s, WireText program);

/* `name` must be valid and not taken. */
void session_set_name(Session *s, WireText name);

/* Makes it a member (or a ghost, if `s->ghost`). Returns 0 or -ENOMEM, and then nothing has changed. */
int sessions_add(Sessions *ss, Session *s);

/* Makes a ghost, with its name set by now, a member. Returns 0 or -ENOMEM. */
int sessions_add_ghost(Sessions *ss, Session *s);

/* Takes it out; the caller frees it. */
void sessions_remove(Sessions *ss, Session *s);

static inline Session *sessions_find(const Sessions *ss, uint64_t id) {
        return idmap_find(&ss->by_id, id);
}
Session *sessions_find_name(const Sessions *ss, WireText name);

/* The position in `members` of the first member with an id above `after`. */
size_t sessions_after(const Sessions *ss, uint64_t after);
