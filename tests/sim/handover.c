/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the bytes, as the kernel does between the two. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/actor.h"
#include "tests/sim/alloc.h"
#include "tests/sim/bug.h"
#include "tests/sim/handover.h"

/* What a client is about to see of its link */
typedef struct View {
        bool is_open, is_paused;
        uint8_t state, session_state;
        uint64_t id;
        size_t n_tail;
        uint8_t *queued;
        size_t n_queued;
} View;

static struct {
        uint8_t *data;
        size_t size;
        bool is_damaged;
} handover;

int handover_begin(FakeNet *net) {
        handover_forget();
        return fake_net_save(net, &handover.data, &handover.size);
}

void handover_forget(void) {
        free(handover.data);
        memset(&handover, 0, sizeof(handover));
}

void handover_damage(Rng *rng) {
        handover.is_damaged = true;
        if (rng_chance(rng, 70))
                handover.data[rng_below(rng, handover.size)] ^= (uint8_t) rng_between(rng, 1, 255);
        else
                handover.size = rng_below(rng, handover.size);
}

/* NULL: the service is done with it; the FakeLink went with a service, perhaps. */
static const FakeLink *link_of(const Conn *c) {
        return c->service_done ? NULL : c->link;
}

static View view_of(const Conn *c) {
        const Link *l = link_of(c) ? c->link->link : NULL;
        View v = { .is_open = l };

        if (!l)
                return v;
        v.is_paused = !LIST_EMPTY(&l->pauses);
        v.state = l->state;
        v.session_state = l->session ? l->session->state : 0;
        v.id = l->session ? l->session->id : 0;
        v.n_tail = l->framer.n_tail;
        v.queued = fake_get_queued(c->link, &v.n_queued);
        return v;
}

static bool views_are_equal(const View *a, const View *b) {
        /* Without memory for it nobody is paused, and goes on once more */
        return a->is_open == b->is_open && (a->is_paused == b->is_paused || alloc_get_failed() > 0) && a->state == b->state &&
               a->session_state == b->session_state && a->id == b->id && a->n_tail == b->n_tail && a->n_queued == b->n_queued &&
               (a->n_queued == 0 || memcmp(a->queued, b->queued, a->n_queued) == 0);
}

static View *view_all(void) {
        View *views = NULL;
        size_t n = 0;

        for (const Conn *c = net_first(); c; c = c->next) {
                views = sim_must(realloc(views, (n + 1) * sizeof(View)));
                views[n++] = view_of(c);
        }
        return views;
}

/* … against how it is now */
static void check_views(const View *views) {
        size_t i = 0;

        for (const Conn *c = net_first(); c; c = c->next, i++) {
                View now = view_of(c);

                if (!views_are_equal(&views[i], &now))
                        world_violation("c%u: its link was changed by a handover: state %u, %u, paused %d, %d, id %" PRIu64
                                        ", %" PRIu64 ", tail %zu, %zu, queued %zu, %zu",
                                        c->actor->number, views[i].state, now.state, views[i].is_paused, now.is_paused,
                                        views[i].id, now.id, views[i].n_tail, now.n_tail, views[i].n_queued, now.n_queued);
                free(now.queued);
        }
}

static void free_views(View *views) {
        size_t i = 0;

        for (const Conn *c = net_first(); c; c = c->next)
                free(views[i++].queued);
        free(views);
}

/* The rest of a frame that was written in part */
static void forget_begun(FakeNet *net) {
        for (FakeLink *l = net->links; l; l = l->next) {
                OutboxPart part;

                if (l->link && outbox_next_part(&l->link->outbox, NULL, &part) && part.begun)
                        link_sent(l->link, part.size);
        }
}

/* Nobody whose link was up and is not broken otherwise sees it lost. */
void handover_check_links(void) {
        for (const Conn *c = net_first(); c; c = c->next)
                if (c->was_handed_over && (!link_of(c) || !c->link->link) && alloc_get_failed() == 0)
                        world_violation("c%u: its link was lost with a handover", c->actor->number);
}

static void note_links(void) {
        for (Conn *c = net_first(); c; c = c->next) {
                const FakeLink *l = link_of(c);

                c->was_handed_over = l && l->link && l->link->state == LINK_UP && !l->closed && !l->is_dead;
        }
}

int handover_end(FakeNet *net) {
        uint64_t epoch = net->router->presence.epoch;
        View *views = view_all();
        int r;

        note_links();
        r = fake_net_take_over(net, handover.data, handover.size);
        if (r >= 0) {
                if (handover.is_damaged)
                        world_violation("what was damaged was taken over");
                check_views(views);
                if (net->router->presence.epoch != epoch)
                        world_violation("the epoch was changed by a handover");
                if (bug == BUG_HANDOVER)
                        forget_begun(net);
        }
        free_views(views);
        handover_forget();
        return r;
}
