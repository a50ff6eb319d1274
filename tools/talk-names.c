/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A hash table from ids to names. Nothing is taken out when a client leaves: its last messages may still be on their way then,
 * since presence overtakes large messages. Instead the table starts afresh when it is full; what is forgotten so is shown by
 * its id. */

#include "tools/talk-names.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        NAMES_SLOTS_MIN = 64,
        NAMES_SLOTS_MAX = 65536, /* 4.5 MiB: more clients than that come and go on a busy service in days */
};

void names_deinit(Names *names) {
        free(names->entries);
        *names = NAMES_NULL;
}

/* Ids are given out one after the other, so their low bits alone spread them well. */
static NamesEntry *names_slot(const Names *names, uint64_t id) {
        uint32_t i = (uint32_t) id & (names->n_slots - 1);

        while (names->entries[i].id != 0 && names->entries[i].id != id)
                i = (i + 1) & (names->n_slots - 1);
        return &names->entries[i];
}

static bool names_grow(Names *names) {
        Names larger = { .n_slots = names->n_slots ? names->n_slots * 2 : NAMES_SLOTS_MIN, .n_used = names->n_used };

        if (larger.n_slots > NAMES_SLOTS_MAX) {
                memset(names->entries, 0, names->n_slots * sizeof(NamesEntry));
                names->n_used = 0;
                return true;
        }
        larger.entries = calloc(larger.n_slots, sizeof(NamesEntry));
        if (!larger.entries)
                return false;
        for (uint32_t i = 0; i < names->n_slots; i++)
                if (names->entries[i].id != 0)
                        *names_slot(&larger, names->entries[i].id) = names->entries[i];
        free(names->entries);
        *names = larger;
        return true;
}

void names_add(Names *names, uint64_t id, const char *name) {
        NamesEntry *entry;

        /* At most half full, so that there is always a free slot, and a near one */
        if (names->n_used * 2 >= names->n_slots && !names_grow(names))
                return;
        entry = names_slot(names, id);
        if (entry->id == 0)
                names->n_used++;
        entry->id = id;
        snprintf(entry->name, sizeof(entry->name), "%s", name);
}

const char *names_get(const Names *names, uint64_t id) {
        const NamesEntry *entry;

        if (names->n_slots == 0)
                return NULL;
        entry = names_slot(names, id);
        return entry->id == id ? entry->name : NULL;
}
