/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Which name an id has or had: messages carry ids, people read names. */

#include <stdint.h>

#include "directclient.h"

typedef struct NamesEntry {
        uint64_t id; /* 0: free */
        char name[DIRECT_NAME_MAX + 1];
} NamesEntry;

typedef struct Names {
        NamesEntry *entries; /* open addressing */
        uint32_t n_slots;    /* a power of two, or 0 */
        uint32_t n_used;
} Names;

#define NAMES_NULL ((Names) {})

void names_deinit(Names *names);

/* When memory runs out, the name is left out: the id is shown instead. */
void names_add(Names *names, uint64_t id, const char *name);

/* The name, or NULL. */
const char *names_get(const Names *names, uint64_t id);
