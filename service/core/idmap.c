/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Linear probing at most half full, with entries moved back on removal, so that there are no grave stones to walk over. Ids of
 * long-lived clients from before a restart and fresh ones may share low bits; that costs a step or two. Owns the array, not the
 * values. */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "service/core/idmap.h"

enum { IDMAP_FIRST_SIZE = 64 };

void idmap_deinit(IdMap *m) {
        free(m->entries);
        *m = IDMAP_NULL;
}

static void insert(IdMapEntry *entries, size_t mask, uint64_t id, void *value) {
        size_t i = id & mask;

        while (entries[i].id != 0)
                i = (i + 1) & mask;
        entries[i] = (IdMapEntry) { .id = id, .value = value };
}

int idmap_add(IdMap *m, uint64_t id, void *value) {
        assert(id != 0 && !idmap_find(m, id));

        if (m->mask == 0 || (m->n + 1) * 2 > m->mask + 1) {
                size_t size = m->mask == 0 ? IDMAP_FIRST_SIZE : (m->mask + 1) * 2;
                IdMapEntry *entries;

                entries = calloc(size, sizeof(*entries));
                if (!entries)
                        return -ENOMEM;
                for (size_t i = 0; m->mask != 0 && i <= m->mask; i++)
                        if (m->entries[i].id != 0)
                                insert(entries, size - 1, m->entries[i].id, m->entries[i].value);
                free(m->entries);
                m->entries = entries;
                m->mask = size - 1;
        }
        insert(m->entries, m->mask, id, value);
        m->n++;
        return 0;
}

void idmap_remove(IdMap *m, uint64_t id) {
        size_t hole, i;

        if (!idmap_find(m, id))
                return;
        for (hole = id & m->mask; m->entries[hole].id != id;)
                hole = (hole + 1) & m->mask;

        /* An entry after the hole moves into it unless its own place lies between the hole and where it is. */
        for (i = (hole + 1) & m->mask; m->entries[i].id != 0; i = (i + 1) & m->mask) {
                size_t home = m->entries[i].id & m->mask;

                if (((i - home) & m->mask) >= ((i - hole) & m->mask)) {
                        m->entries[hole] = m->entries[i];
                        hole = i;
                }
        }
        m->entries[hole] = (IdMapEntry) {};
        m->n--;
}
