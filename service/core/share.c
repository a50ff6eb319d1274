/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One object for each pair, as long as the target is over its mark. What a sender has queued there is not looked for among all
 * that is queued: a Share counts what was added, in two parts, and drops the older one when the target has taken so much that it
 * must be gone. So it counts up to twice what is there, and allows for that. */

#include <errno.h>
#include <stdlib.h>

#include "service/core/router.h"
#include "service/core/share.h"

struct Share {
        Link *sender;
        Link *target;
        uint64_t older, newer;         /* bytes */
        uint64_t older_end, newer_end; /* where in the target's stream they end */
        LIST_ENTRY(Share) of_sender;   /* in sender->shares */
        LIST_ENTRY(Share) of_target;   /* in target->sharing */
};

/* The shorter of the two lists decides how long it takes. */
static Share *find(const Link *sender, const Link *target) {
        Share *a = LIST_FIRST(&sender->shares), *b = LIST_FIRST(&target->sharing);

        for (; a && b; a = LIST_NEXT(a, of_sender), b = LIST_NEXT(b, of_target)) {
                if (a->target == target)
                        return a;
                if (b->sender == sender)
                        return b;
        }
        return NULL;
}

static Share *add(Link *sender, Link *target) {
        Share *share;

        share = malloc(sizeof(*share));
        if (!share)
                return NULL;
        *share = (Share) { .sender = sender, .target = target };
        LIST_INSERT_HEAD(&sender->shares, share, of_sender);
        LIST_INSERT_HEAD(&target->sharing, share, of_target);
        return share;
}

static void drop(Share *share) {
        LIST_REMOVE(share, of_sender);
        LIST_REMOVE(share, of_target);
        free(share);
}

bool share_take(Link *sender, Link *target, size_t size) {
        uint64_t taken = target->session->bytes_out;
        const Router *r = target->router;
        Share *share;

        if (r->config.sender_share == 0 || r->queued_bytes > LINK_QUEUED_SCARCE)
                return false;
        share = find(sender, target);
        if (!share)
                share = add(sender, target);
        if (!share)
                return false;
        if (taken >= share->older_end) {
                share->older = taken >= share->newer_end ? 0 : share->newer;
                share->older_end = share->newer_end;
                share->newer = 0;
        }
        if (share->older + share->newer + size > r->config.sender_share)
                return false;
        share->newer += size;
        share->newer_end = taken + outbox_size(&target->outbox) + size;
        return true;
}

void share_release(Link *target) {
        while (!LIST_EMPTY(&target->sharing))
                drop(LIST_FIRST(&target->sharing));
}

void share_forget(Link *l) {
        share_release(l);
        while (!LIST_EMPTY(&l->shares))
                drop(LIST_FIRST(&l->shares));
}

const Share *share_next(const Link *sender, const Share *after, const Link **ret_target, ShareFacts *ret_facts) {
        const Share *share = after ? LIST_NEXT(after, of_sender) : LIST_FIRST(&sender->shares);

        if (share) {
                *ret_target = share->target;
                *ret_facts = (ShareFacts) { share->older, share->newer, share->older_end, share->newer_end };
        }
        return share;
}

int share_add(Link *sender, Link *target, const ShareFacts *facts) {
        Share *share;

        share = add(sender, target);
        if (!share)
                return -ENOMEM;
        share->older = facts->older;
        share->newer = facts->newer;
        share->older_end = facts->older_end;
        share->newer_end = facts->newer_end;
        return 0;
}
