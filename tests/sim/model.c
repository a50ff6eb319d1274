/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns a list of all that have joined and left, in their order, over all starts of the service. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/wire.h"
#include "tests/sim/model.h"
#include "tests/sim/world.h"

typedef struct Change {
        unsigned number;
        uint64_t epoch, id;
        bool joined;
} Change;

typedef struct Member {
        uint64_t id;
        char name[WIRE_NAME_MAX + 1];
        unsigned first_number; /* the start that has issued the id */
        bool is_member;        /* of the present start */
        bool has_left;         /* for good, whatever start comes after */
} Member;

static struct {
        Change *changes;
        size_t n_changes;
        Member *members;
        size_t n_members;
        unsigned number;
        uint64_t epoch, id_max, former_id_max; /* the highest id, and that of earlier starts */
} model;

void model_init(void) {
        memset(&model, 0, sizeof(model));
}

void model_deinit(void) {
        free(model.changes);
        free(model.members);
}

void model_started(unsigned number) {
        model.number = number;
        model.epoch = 0;
        model.former_id_max = model.id_max;
        for (size_t i = 0; i < model.n_members; i++)
                model.members[i].is_member = false;
}

static Member *member_find(uint64_t id) {
        for (size_t i = 0; i < model.n_members; i++)
                if (model.members[i].id == id)
                        return &model.members[i];
        return NULL;
}

static void model_change(uint64_t id, bool joined, uint64_t epoch) {
        if (epoch != model.epoch + 1)
                world_violation("the epoch went from %" PRIu64 " to %" PRIu64 " when %" PRIu64 " %s", model.epoch, epoch, id,
                                joined ? "joined" : "left");
        model.epoch = epoch;
        if ((model.n_changes & (model.n_changes - 1)) == 0)
                model.changes = sim_must(realloc(model.changes, (model.n_changes ? model.n_changes * 2 : 1) * sizeof(Change)));
        model.changes[model.n_changes++] = (Change) { model.number, epoch, id, joined };
        world_say("service: %" PRIu64 " %s @%" PRIu64, id, joined ? "joined" : "left", epoch);
        world_trace(id, epoch * 2 + joined);
}

static Member *member_new(uint64_t id, const char *name) {
        Member *m;

        /* Who waits for a name has its id already, and may join after others with higher ones */
        if (id <= model.former_id_max)
                world_violation("the id %" PRIu64 " was issued again, after %" PRIu64, id, model.former_id_max);
        if (id > model.id_max)
                model.id_max = id;
        model.members = sim_must(realloc(model.members, (model.n_members + 1) * sizeof(Member)));
        m = &model.members[model.n_members++];
        *m = (Member) { .id = id, .first_number = model.number };
        snprintf(m->name, sizeof(m->name), "%s", name);
        return m;
}

void model_joined(uint64_t id, const char *name, uint64_t epoch) {
        Member *m = member_find(id);

        model_change(id, true, epoch);
        for (size_t i = 0; i < model.n_members; i++)
                if (model.members[i].is_member && strcmp(model.members[i].name, name) == 0)
                        world_violation("%" PRIu64 " has joined with the name %s of %" PRIu64, id, name, model.members[i].id);
        if (!m)
                m = member_new(id, name);
        else if (m->is_member || m->has_left || m->first_number == model.number || strcmp(m->name, name) != 0)
                world_violation("the id %" PRIu64 " of %s was used again by %s", id, m->name, name);
        m->is_member = true;
}

void model_left(uint64_t id, uint64_t epoch) {
        Member *m = member_find(id);

        model_change(id, false, epoch);
        if (!m || !m->is_member)
                world_violation("%" PRIu64 " has left, and was not there", id);
        else {
                m->is_member = false;
                m->has_left = true;
        }
}

bool model_is_change(unsigned number, uint64_t id, bool joined, uint64_t epoch) {
        for (size_t i = model.n_changes; i-- > 0;) {
                const Change *c = &model.changes[i];

                if (c->number == number && c->epoch == epoch)
                        return c->id == id && c->joined == joined;
        }
        return false;
}

bool model_has_left(unsigned number, uint64_t id, uint64_t epoch) {
        bool was_member = false;

        for (size_t i = 0; i < model.n_changes; i++) {
                const Change *c = &model.changes[i];

                if (c->number != number || c->id != id)
                        continue;
                if (!c->joined && c->epoch <= epoch)
                        return true;
                was_member = true;
        }
        return !was_member; /* of the time before, and has not come back */
}

const char *model_get_name(uint64_t id) {
        const Member *m = member_find(id);

        return m ? m->name : NULL;
}

uint64_t model_next_id(uint64_t after) {
        uint64_t next = 0;

        for (size_t i = 0; i < model.n_members; i++) {
                uint64_t id = model.members[i].id;

                if (id > after && (next == 0 || id < next))
                        next = id;
        }
        return next;
}
