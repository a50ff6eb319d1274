/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* From the first frame of a connection to WELCOME or REFUSED. */

#include "service/core/link.h"

enum {
        HANDSHAKE_TIMEOUT_USEC = 5 * 1000 * 1000, /* PROTOCOL.md, section 3 */
        HANDSHAKE_PROBE_USEC = 1000 * 1000,       /* likewise */
};

/* The first frame, whatever it is. */
void handshake_begin(Link *l, const WireHeader *header, const uint8_t *payload);

/* There was no HELLO in time: closes the link, without a word to one who has said none. */
void handshake_time_out(Link *l);

/* The link has waited for its name long enough. */
void handshake_give_up(Link *l);

/* A name has become free: the first that waits for it gets it. */
void handshake_name_free(Router *r, WireText name);

/* The link that holds a name has answered: those who wait for it are refused. */
void handshake_name_held(Router *r, WireText name);

/* Somebody waits for this name. */
bool handshake_is_waited_for(Router *r, WireText name);
