/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Stands where the descriptors would be passed on. Owns nothing. */

#include <stdlib.h>
#include <string.h>

#include "service/core/handover.h"
#include "tests/unit/fake-handover.h"

static size_t count_links(const FakeNet *n) {
        size_t n_links = 0;

        for (const FakeLink *l = n->links; l; l = l->next)
                n_links += l->link != NULL;
        return n_links;
}

static void *must(void *p) {
        fake_require(p);
        return p;
}

int fake_net_save(FakeNet *n, uint8_t **ret_data, size_t *ret_size) {
        Link **links = must(calloc(count_links(n) + 1, sizeof(*links)));
        size_t n_links = 0;
        int r;

        for (FakeLink *l = n->links; l; l = l->next)
                if (l->link)
                        links[n_links++] = l->link;
        router_set_now(n->router, n->now);
        fake_in_core = true;
        r = handover_save(n->router, links, n_links, ret_data, ret_size);
        fake_in_core = false;
        free(links);
        return r;
}

static void forget_router(FakeNet *n) {
        for (FakeLink *l = n->links; l; l = l->next)
                if (l->link) {
                        link_kill(l->link);
                        l->link = link_free(l->link);
                }
        router_free(n->router);
}

static void adopt(FakeNet *n, Router *router, const HandoverLink *links, size_t n_links) {
        forget_router(n);
        n->router = router;
        for (size_t i = 0; i < n_links; i++) {
                FakeLink *l = links[i].userdata;

                l->link = links[i].ret_link;
                fake_require(!l->link || l->link->dirty); /* or no data plane would look at it */
                l->write_blocked = l->hung = false; /* a new epoll set tells that anew */
        }
}

int fake_net_take_over(FakeNet *n, const uint8_t *data, size_t size) {
        HandoverLink *links = must(calloc(count_links(n) + 1, sizeof(*links)));
        size_t n_links = 0;
        Router *router;
        int r;

        for (FakeLink *l = n->links; l; l = l->next)
                if (l->link)
                        links[n_links++] = (HandoverLink) { .userdata = l, .address = "nowhere", .principal = l->principal };
        fake_in_core = true;
        r = handover_restore(data, size, &n->config, n->router->ops, n, n->now, links, n_links, &router);
        fake_in_core = false;
        if (r >= 0)
                adopt(n, router, links, n_links);
        free(links);
        return r;
}

void fake_net_hand_over(FakeNet *n) {
        uint8_t *data;
        size_t size;

        fake_require(fake_net_save(n, &data, &size) == 0);
        fake_require(fake_net_take_over(n, data, size) == 0);
        free(data);
}

uint8_t *fake_get_queued(const FakeLink *l, size_t *ret_size) {
        const Chunk *chunk = NULL;
        uint8_t *all = must(malloc(l->link->outbox.n_kept + 1));
        OutboxPart part;
        size_t n = 0;

        while ((chunk = outbox_next_part(&l->link->outbox, chunk, &part))) {
                memcpy(all + n, part.data, part.size);
                n += part.size;
        }
        fake_require(n == l->link->outbox.n_kept);
        *ret_size = n;
        return all;
}
