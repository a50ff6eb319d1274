/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Who waits for whom: a link whose outbox is over the high-water mark stops reading from those who write to it. */

#include "service/core/link.h"

/* `sender` is not read from until `target` has drained below the low-water mark. With `broadcast`, it waits no longer than the
 * bound for broadcasts. Does nothing if it waits for it already. Without memory for it, the sender just goes on once more. */
void pause_add(Link *sender, Link *target, bool broadcast);

/* The same for a pause that was there before a handover, whatever speaks against a new one. */
void pause_restore(Link *sender, Link *target, bool broadcast);

/* The service's own answers to it are more than it reads: not read from until it does. */
void pause_self(Link *l);

/* `target` has drained, or has ended: all who wait for it go on. */
void pause_release(Link *target);

/* Those who only broadcast to `target` go on: it has taken too long. */
void pause_release_broadcasts(Link *target);

/* True if all that `sender` waits for could take the rest of what it has sent: see LINK_LEAVING_BYTES. */
bool pause_has_room_to_leave(const Link *sender);

/* `sender` has ended, or is let go on. */
void pause_forget(Link *sender);

/* For the handover: the pause of `sender` behind `after`, or its first (NULL). NULL: there are no more. */
const Pause *pause_next(const Link *sender, const Pause *after, const Link **ret_target, bool *ret_broadcast);
