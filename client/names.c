/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A cache that is right because its owner watches every client in it and says when one has left. Owns the entries and the copies
 * of what waits; it asks and sends nothing itself. */

#include <errno.h>
#include <string.h>

#include "client/names.h"

void names_init(Names *n, void (*released)(uint64_t id, void *userdata), void *userdata) {
        *n = (Names) { .released = released, .userdata = userdata };
        list_init(&n->age);
}

Name *names_find(const Names *n, const char *text) {
        for (MapNode *node = map_find(&n->by_text, map_hash_bytes(text, strlen(text))); node; node = map_find_next(node)) {
                Name *name = container_of(node, Name, by_text);

                if (strcmp(name->text, text) == 0)
                        return name;
        }
        return NULL;
}

Name *names_add(Names *n, const char *text) {
        Name *name;

        name = malloc(sizeof(*name));
        if (!name)
                return NULL;
        *name = (Name) {};
        list_init(&name->age);
        name->waiting_last = &name->waiting;
        strncpy(name->text, text, sizeof(name->text) - 1);
        map_insert(&n->by_text, &name->by_text, map_hash_bytes(name->text, strlen(name->text)));
        return name;
}

static void waiting_free(Waiting *waiting) {
        while (waiting) {
                Waiting *next = waiting->next;

                free(waiting);
                waiting = next;
        }
}

void names_remove(Names *n, Name *name) {
        waiting_free(names_take_waiting(n, name));
        map_remove(&n->by_text, &name->by_text);
        list_remove(&name->age);
        if (name->id != 0) {
                map_remove(&n->by_id, &name->by_id);
                n->released(name->id, n->userdata);
        }
        free(name);
}

int names_wait(Names *n, Name *name, const Envelope *envelope, const void *data, size_t size, Sent *sent) {
        Waiting *waiting;

        if (size > SIZE_MAX - sizeof(*waiting))
                return -ENOMEM;
        waiting = malloc(sizeof(*waiting) + size);
        if (!waiting)
                return -ENOMEM;
        *waiting = (Waiting) { .envelope = *envelope, .sent = sent, .size = size };
        if (size > 0)
                memcpy(waiting->data, data, size);
        *name->waiting_last = waiting;
        name->waiting_last = &waiting->next;
        n->n_waiting++;
        n->n_queued += size;
        return 0;
}

Waiting *names_take_waiting(Names *n, Name *name) {
        Waiting *waiting = name->waiting;

        for (const Waiting *w = waiting; w; w = w->next) {
                n->n_waiting--;
                n->n_queued -= w->size;
        }
        name->waiting = NULL;
        name->waiting_last = &name->waiting;
        return waiting;
}

void names_resolve(Names *n, Name *name, uint64_t id) {
        name->id = id;
        map_insert(&n->by_id, &name->by_id, id);
        list_append(&n->age, &name->age);
        if (n->by_id.n_nodes > NAMES_MAX)
                names_remove(n, container_of(n->age.next, Name, age));
}

void names_forget_id(Names *n, uint64_t id) {
        MapNode *node;

        while ((node = map_find(&n->by_id, id)))
                names_remove(n, container_of(node, Name, by_id));
}

void names_clear(Names *n) {
        MapNode *next;

        for (MapNode *node = map_next(&n->by_text, NULL); node; node = next) {
                Name *name = container_of(node, Name, by_text);

                next = map_next(&n->by_text, node);
                if (name->id != 0)
                        names_remove(n, name);
        }
}

Name *names_find_unknown(const Names *n) {
        for (MapNode *node = NULL; (node = map_next(&n->by_text, node));)
                if (container_of(node, Name, by_text)->id == 0)
                        return container_of(node, Name, by_text);
        return NULL;
}

void names_deinit(Names *n) {
        MapNode *node;

        while ((node = map_any(&n->by_text)))
                names_remove(n, container_of(node, Name, by_text));
        map_deinit(&n->by_text);
        map_deinit(&n->by_id);
}
