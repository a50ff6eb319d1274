/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Whose coming and going is of interest: to the program, and to the library itself. */

#include <stdbool.h>
#include <stdint.h>

#include "client/map.h"
#include "client/util.h"

typedef struct Watch {
        MapNode by_id;
        List idle;       /* among those that nobody needs any more; else alone */
        unsigned n_uses; /* of the library: calls, names, messages under way */
        bool wanted;     /* by the program */
        uint8_t state;   /* WireState, as last heard */
        uint32_t tag;    /* of the question, for whoever puts it; 0: none */
} Watch;

typedef struct Watches {
        Map by_id;
        List idle; /* the longest idle first */
        size_t n_idle;
        bool everyone; /* the program wants to hear of all */
        /* Tells the service. The Watch is there meanwhile, but for `everyone`; it also hears (off, and `is_gone`) of one that
         * has left. */
        void (*ask)(uint64_t id, bool on, bool is_gone, void *userdata);
        void *userdata;
} Watches;

enum {
        /* A program calls the same few others again and again: a watch outlives the call that it was made for, so the second
         * call costs no question. The bound is for those who call ever new ones. */
        WATCHES_IDLE_MAX = 256,
};

void watches_init(Watches *w, void (*ask)(uint64_t id, bool on, bool is_gone, void *userdata), void *userdata);
void watches_deinit(Watches *w);

/* By the program; id 0: everyone. 0 or -ENOMEM. */
int watches_set(Watches *w, uint64_t id, bool on);

/* By the library: each use() that returns 0 wants one unuse(). 0 or -ENOMEM. */
int watches_use(Watches *w, uint64_t id);
void watches_unuse(Watches *w, uint64_t id);

/* The session has ended: the library needs none of them any more. Tells nobody. */
void watches_clear(Watches *w);

/* After a new connection: asks for all again. */
void watches_renew(Watches *w);

/* True if the program wants to hear of this client. */
bool watches_is_wanted(const Watches *w, uint64_t id);

Watch *watches_find(const Watches *w, uint64_t id);

/* It has left for good: ids do not come back. Uses that are left are counted no more. */
void watches_forget(Watches *w, uint64_t id);
