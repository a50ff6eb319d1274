/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From a client id to what it stands for: open addressing, made for one look-up per run of frames. */

#include <stddef.h>
#include <stdint.h>

typedef struct IdMapEntry {
        uint64_t id; /* 0: free */
        void *value;
} IdMapEntry;

typedef struct IdMap {
        IdMapEntry *entries;
        size_t n;
        size_t mask; /* the number of entries less one; 0: none yet */
} IdMap;

#define IDMAP_NULL ((IdMap) {})

void idmap_deinit(IdMap *m);

/* `id` is not 0 and not in the map. Returns 0 or -ENOMEM. */
int idmap_add(IdMap *m, uint64_t id, void *value);
void idmap_remove(IdMap *m, uint64_t id);

/* Ids are counted up by the service itself, so their low bits spread them better than a hash would, and nobody can choose
 * them. */
static inline void *idmap_find(const IdMap *m, uint64_t id) {
        if (m->mask == 0 || id == 0)
                return NULL;
        for (size_t i = id & m->mask;; i = (i + 1) & m->mask) {
                if (m->entries[i].id == id)
                        return m->entries[i].value;
                if (m->entries[i].id == 0)
                        return NULL;
        }
}
