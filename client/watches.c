/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One entry for each client that the service was asked about, whoever wanted it. Owns the entries; what an event means to the
 * calls, names and messages is not decided here. */

#include <errno.h>

#include "client/watches.h"

void watches_init(Watches *w, void (*ask)(uint64_t id, bool on, bool is_gone, void *userdata), void *userdata) {
        *w = (Watches) { .ask = ask, .userdata = userdata };
        list_init(&w->idle);
}

static void watch_free(Watches *w, Watch *watch) {
        map_remove(&w->by_id, &watch->by_id);
        if (!list_is_empty(&watch->idle))
                w->n_idle--;
        list_remove(&watch->idle);
        free(watch);
}

void watches_deinit(Watches *w) {
        MapNode *node;

        while ((node = map_any(&w->by_id)))
                watch_free(w, container_of(node, Watch, by_id));
        map_deinit(&w->by_id);
}

Watch *watches_find(const Watches *w, uint64_t id) {
        MapNode *node;

        node = map_find(&w->by_id, id);
        return node ? container_of(node, Watch, by_id) : NULL;
}

static Watch *watches_get(Watches *w, uint64_t id) {
        Watch *watch;

        watch = watches_find(w, id);
        if (watch)
                return watch;
        watch = malloc(sizeof(*watch));
        if (!watch)
                return NULL;
        *watch = (Watch) {};
        list_init(&watch->idle);
        map_insert(&w->by_id, &watch->by_id, id);
        w->ask(id, true, false, w->userdata);
        return watch;
}

/* Keeps one that nobody needs for a while. */
static void watches_settle(Watches *w, Watch *watch) {
        bool is_idle = watch->n_uses == 0 && !watch->wanted, was_idle = !list_is_empty(&watch->idle);

        if (is_idle == was_idle)
                return;
        if (was_idle) {
                list_remove(&watch->idle);
                w->n_idle--;
                return;
        }
        list_append(&w->idle, &watch->idle);
        if (++w->n_idle <= WATCHES_IDLE_MAX)
                return;
        watch = container_of(w->idle.next, Watch, idle);
        w->ask(watch->by_id.key, false, false, w->userdata);
        watch_free(w, watch);
}

int watches_set(Watches *w, uint64_t id, bool on) {
        Watch *watch;

        if (id == 0) {
                if (w->everyone != on)
                        w->ask(0, on, false, w->userdata);
                w->everyone = on;
                return 0;
        }
        watch = on ? watches_get(w, id) : watches_find(w, id);
        if (!watch)
                return on ? -ENOMEM : 0;
        watch->wanted = on;
        watches_settle(w, watch);
        return 0;
}

int watches_use(Watches *w, uint64_t id) {
        Watch *watch;

        watch = watches_get(w, id);
        if (!watch)
                return -ENOMEM;
        watch->n_uses++;
        watches_settle(w, watch);
        return 0;
}

void watches_unuse(Watches *w, uint64_t id) {
        Watch *watch;

        watch = watches_find(w, id);
        if (!watch || watch->n_uses == 0)
                return;
        watch->n_uses--;
        watches_settle(w, watch);
}

void watches_clear(Watches *w) {
        MapNode *next;

        for (MapNode *node = map_next(&w->by_id, NULL); node; node = next) {
                Watch *watch = container_of(node, Watch, by_id);

                next = map_next(&w->by_id, node);
                watch->n_uses = 0;
                if (!watch->wanted)
                        watch_free(w, watch);
        }
}

void watches_renew(Watches *w) {
        if (w->everyone)
                w->ask(0, true, false, w->userdata);
        for (MapNode *node = NULL; (node = map_next(&w->by_id, node));)
                w->ask(node->key, true, false, w->userdata);
}

bool watches_is_wanted(const Watches *w, uint64_t id) {
        const Watch *watch;

        if (w->everyone)
                return true;
        watch = watches_find(w, id);
        return watch && watch->wanted;
}

void watches_forget(Watches *w, uint64_t id) {
        Watch *watch;

        watch = watches_find(w, id);
        if (!watch)
                return;
        w->ask(id, false, true, w->userdata);
        watch_free(w, watch);
}
