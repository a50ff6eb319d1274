/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which id a name has, as long as its client is there; and the messages that wait for the service to say. */

#include "client/bulk.h"
#include "client/directclient.h"
#include "client/map.h"
#include "client/util.h"

typedef struct Waiting Waiting;

/* A message to a name whose id is not known yet */
struct Waiting {
        Waiting *next;
        Envelope envelope;
        Sent *sent; /* or NULL */
        size_t size;
        uint8_t data[];
};

typedef struct Name {
        MapNode by_text;
        MapNode by_id; /* once it is known */
        List age;
        uint64_t id;   /* 0: not known yet */
        Waiting *waiting;
        Waiting **waiting_last;
        char text[DIRECT_NAME_MAX + 1];
} Name;

typedef struct Names {
        Map by_text;
        Map by_id;
        List age; /* of those with an id, the oldest first */
        size_t n_waiting;  /* messages that wait */
        uint64_t n_queued; /* their bytes */
        void (*released)(uint64_t id, void *userdata); /* a name no longer stands for this id */
        void *userdata;
} Names;

enum {
        NAMES_MAX = 4096, /* what is remembered beyond that is asked for again */
};

void names_init(Names *n, void (*released)(uint64_t id, void *userdata), void *userdata);
void names_deinit(Names *n);

/* NULL: not there. */
Name *names_find(const Names *n, const char *text);

/* A name that is asked for. NULL: no memory. */
Name *names_add(Names *n, const char *text);
void names_remove(Names *n, Name *name);

/* A copy of the message waits; `sent` (may be NULL) is taken over on success. 0 or -ENOMEM. */
int names_wait(Names *n, Name *name, const Envelope *envelope, const void *data, size_t size, Sent *sent);

/* Takes the messages that waited: a list, each to be freed, and told what becomes of it. */
Waiting *names_take_waiting(Names *n, Name *name);

/* The answer. */
void names_resolve(Names *n, Name *name, uint64_t id);

/* The client has left: its name is to be asked for again. */
void names_forget_id(Names *n, uint64_t id);

/* The session has ended: what is known is forgotten; what is asked for stays. */
void names_clear(Names *n);

/* Any name that is not known yet, or NULL. */
Name *names_find_unknown(const Names *n);
