/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What one sender may still queue for a link that is over its high-water mark. Who keeps to what receivers grant stays within
 * that and need not wait, so a client that has stopped holds nobody up, however many send to it. */

#include "service/core/link.h"

enum {
        /* A share is so many times the credit that a flow begins with: by default 512 KiB, the most that the library grants to
         * one sender; and where it grants the least, since many send, twice that is counted (share.c). */
        SHARE_CREDITS = 4,
};

/* `size` more bytes for `target`, which is over its mark. False: that is more than the sender's share, or there is no memory to
 * know, or too much is queued for all links together. */
bool share_take(Link *sender, Link *target, size_t size);

/* `target` has drained: the shares begin anew. */
void share_release(Link *target);

/* The link has ended. */
void share_forget(Link *l);

/* ---- For the handover ---- */

/* In bytes; the ends are where in all that the target's session was sent. */
typedef struct ShareFacts {
        uint64_t older, newer;
        uint64_t older_end, newer_end;
} ShareFacts;

/* The share of `sender` behind `after`, or its first (NULL). NULL: there are no more. */
const Share *share_next(const Link *sender, const Share *after, const Link **ret_target, ShareFacts *ret_facts);

/* There must be none yet. Returns 0 or -ENOMEM. */
int share_add(Link *sender, Link *target, const ShareFacts *facts);
