/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Three views of one set: a hash for the route of a frame, a tree for names, and an array in order of ids for lists, which
 * are read in pieces. Ids grow, so a newcomer goes to the array's end; only a client that resumes after a restart is put in
 * between. */

#include <assert.h>
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "service/core/session.h"

static int compare_names(const void *a, const void *b) {
        return strcmp(((const Session *) a)->name, ((const Session *) b)->name);
}

Session *session_new(uint64_t id, WireText program) {
        Session *s;

        s = calloc(1, sizeof(*s));
        if (!s)
                return NULL;
        if (session_set_program(s, program) < 0)
                return session_free(s);
        s->id = id;
        s->grace = TIMER_INIT(TIMER_GRACE);
        LIST_INIT(&s->watchers);
        LIST_INIT(&s->watches);
        return s;
}

Session *session_free(Session *s) {
        if (!s)
                return NULL;
        free(s->program);
        free(s);
        return NULL;
}

int session_set_program(Session *s, WireText program) {
        char *copy;

        copy = strndup(program.data, program.size);
        if (!copy)
                return -ENOMEM;
        free(s->program);
        s->program = copy;
        return 0;
}

void session_set_name(Session *s, WireText name) {
        assert(wire_name_is_valid(name.data, name.size));
        memcpy(s->name, name.data, name.size);
        s->name[name.size] = '\0';
        s->n_name = (uint8_t) name.size;
}

void sessions_deinit(Sessions *ss) {
        while (ss->by_name)
                tdelete(*(Session **) ss->by_name, &ss->by_name, compare_names);
        for (size_t i = 0; ss->by_id.mask != 0 && i <= ss->by_id.mask; i++)
                session_free(ss->by_id.entries[i].value);
        idmap_deinit(&ss->by_id);
        free(ss->members);
        *ss = SESSIONS_NULL;
}

size_t sessions_after(const Sessions *ss, uint64_t after) {
        size_t low = 0, high = ss->n_members;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (ss->members[middle]->id <= after)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static int add_member(Sessions *ss, Session *s) {
        size_t i;

        if (ss->n_members == ss->n_allocated) {
                size_t n = ss->n_allocated == 0 ? 64 : ss->n_allocated * 2;
                Session **members;

                members = reallocarray(ss->members, n, sizeof(*members));
                if (!members)
                        return -ENOMEM;
                ss->members = members;
                ss->n_allocated = n;
        }
        if (!tsearch(s, &ss->by_name, compare_names))
                return -ENOMEM;
        i = sessions_after(ss, s->id);
        memmove(ss->members + i + 1, ss->members + i, (ss->n_members - i) * sizeof(*ss->members));
        ss->members[i] = s;
        ss->n_members++;
        return 0;
}

int sessions_add(Sessions *ss, Session *s) {
        int r;

        r = idmap_add(&ss->by_id, s->id, s);
        if (r < 0 || s->ghost)
                return r;
        r = add_member(ss, s);
        if (r < 0)
                idmap_remove(&ss->by_id, s->id);
        return r;
}

int sessions_add_ghost(Sessions *ss, Session *s) {
        int r;

        assert(s->ghost);
        r = add_member(ss, s);
        if (r < 0)
                return r;
        s->ghost = false;
        return 0;
}

void sessions_remove(Sessions *ss, Session *s) {
        size_t i;

        idmap_remove(&ss->by_id, s->id);
        if (s->ghost)
                return;
        tdelete(s, &ss->by_name, compare_names);
        i = sessions_after(ss, s->id - 1);
        ss->n_members--;
        memmove(ss->members + i, ss->members + i + 1, (ss->n_members - i) * sizeof(*ss->members));
}

Session *sessions_find_name(const Sessions *ss, WireText name) {
        Session key;
        Session **found;

        if (!wire_name_is_valid(name.data, name.size))
                return NULL;
        session_set_name(&key, name);
        found = tfind(&key, &ss->by_name, compare_names);
        return found ? *found : NULL;
}
