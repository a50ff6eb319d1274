/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Handing over: all that the router knows, as bytes from which another one is made that goes on where this one has stopped. The
 * embedder passes the descriptors on; a link is known by the place of its descriptor in the embedder's list. No client can
 * notice: nothing is sent because of it.
 *
 * Times are kept as distances from the moment of saving: how long ago, how long from then. So the router's clock stands still
 * while nobody serves, nobody is found silent or away for too long because of that, and the clocks of the two need not agree. */

#include "service/core/router.h"

/* After router_end_turn() and before anything else is done to the router, which must not be stopping; nothing may happen to it
 * afterwards that a client could see. `links`: in the order of their descriptors. Returns 0 and what is to be freed, or
 * -ENOMEM. */
int handover_save(const Router *r, Link *const *links, size_t n_links, uint8_t **ret_data, size_t *ret_size);

typedef struct HandoverLink {
        void *userdata; /* these three as for link_new() */
        const char *address;
        const char *principal;
        Link *ret_link; /* NULL: it was ended already; close the descriptor */
} HandoverLink;

/* Makes a router of what was saved, and all its links. The four parameters after the data are as for router_new();
 * router_add_ids() only adds to the ids that there are. No event is told: who is there is in router->sessions, which links are
 * stalled in their `stalled`. All links are dirty, so that a turn puts them where they belong. Returns 0; -ENOMEM; or -EBADMSG:
 * it is damaged, of somebody else, for a later version, or not for these descriptors. Then nothing is left of it: close all,
 * begin with router_new(), and clients resume. */
int handover_restore(const uint8_t *data, size_t size, const RouterConfig *config, const RouterOps *ops, void *userdata,
                     uint64_t now, HandoverLink *links, size_t n_links, Router **ret_router);
