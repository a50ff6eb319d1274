/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One object for each pair, in a list at both ends, so that a sender to several full outboxes goes on only when the last of them
 * has drained. A paused link is not read from, so what it can add meanwhile is bounded by what was read before. */

#include <stdlib.h>

#include "service/core/pause.h"
#include "service/core/router.h"

struct Pause {
        Link *sender;
        Link *target;
        bool broadcast;
        LIST_ENTRY(Pause) of_sender; /* in sender->pauses */
        LIST_ENTRY(Pause) of_target; /* in target->pausing */
};

static bool has_room_to_leave(const Link *target) {
        return target->outbox.n_kept <= target->router->config.outbox_high + LINK_LEAVING_BYTES;
}

bool pause_has_room_to_leave(const Link *sender) {
        const Pause *pause;

        LIST_FOREACH(pause, &sender->pauses, of_sender)
                if (!has_room_to_leave(pause->target))
                        return false;
        return true;
}

static Pause *find(const Link *sender, const Link *target) {
        Pause *pause;

        /* A sender that waits is not read from, so it was added in the batch that is being routed, most likely as the last. */
        if (target->last_paused == sender) {
                LIST_FOREACH(pause, &target->pausing, of_target)
                        if (pause->sender == sender)
                                return pause;
        }
        return NULL;
}

static void remove_pause(Pause *pause) {
        Link *sender = pause->sender;

        if (pause->target->last_paused == sender)
                pause->target->last_paused = NULL;
        LIST_REMOVE(pause, of_sender);
        LIST_REMOVE(pause, of_target);
        free(pause);
        if (LIST_EMPTY(&sender->pauses)) {
                sender->router->n_paused--;
                sender->heard_usec = sender->router->now; /* its silence was ours */
                link_set_dirty(sender);
        }
}

void pause_restore(Link *sender, Link *target, bool broadcast) {
        Pause *pause;

        if (sender->state != LINK_UP)
                return;
        pause = find(sender, target);
        if (pause) {
                pause->broadcast = pause->broadcast && broadcast;
                return;
        }
        pause = malloc(sizeof(*pause));
        if (!pause)
                return;
        if (LIST_EMPTY(&sender->pauses)) {
                sender->router->n_paused++;
                link_set_dirty(sender);
        }
        *pause = (Pause) { .sender = sender, .target = target, .broadcast = broadcast };
        LIST_INSERT_HEAD(&sender->pauses, pause, of_sender);
        LIST_INSERT_HEAD(&target->pausing, pause, of_target);
        target->last_paused = sender;
}

void pause_add(Link *sender, Link *target, bool broadcast) {
        if (broadcast && target->skips_broadcasts)
                return;
        if (sender->leaving && has_room_to_leave(target))
                return;
        pause_restore(sender, target, broadcast);
}

void pause_self(Link *l) {
        if (l->outbox.n_kept > l->router->config.outbox_high)
                pause_add(l, l, false);
}

void pause_release(Link *target) {
        while (!LIST_EMPTY(&target->pausing))
                remove_pause(LIST_FIRST(&target->pausing));
}

void pause_release_broadcasts(Link *target) {
        Pause *pause = LIST_FIRST(&target->pausing);

        while (pause) {
                Pause *next = LIST_NEXT(pause, of_target);

                if (pause->broadcast)
                        remove_pause(pause);
                pause = next;
        }
}

void pause_forget(Link *sender) {
        while (!LIST_EMPTY(&sender->pauses))
                remove_pause(LIST_FIRST(&sender->pauses));
}

const Pause *pause_next(const Link *sender, const Pause *after, const Link **ret_target, bool *ret_broadcast) {
        const Pause *pause = after ? LIST_NEXT(after, of_sender) : LIST_FIRST(&sender->pauses);

        if (pause) {
                *ret_target = pause->target;
                *ret_broadcast = pause->broadcast;
        }
        return pause;
}
