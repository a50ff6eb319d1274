/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Listens on one way of a connection: finds the frames in the bytes that pass, and tells of each when its last byte has passed. A
 * seeded bug may want to change frames, or to swallow them: then they are kept until they are whole. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol/wire.h"

enum { TAP_PAYLOAD_MAX = 512 }; /* enough of a payload for all control frames that are looked into */

typedef struct Conn Conn;

/* `frame` has the header and what of the payload is kept; false: swallow it (only if the tap holds frames back). */
typedef bool (*TapHandler)(Conn *c, uint8_t *frame, size_t size);

typedef struct Tap {
        TapHandler handler;
        bool holds;
        uint8_t *frame; /* holding: the whole; else its beginning */
        size_t n_frame, n_passed;
        uint8_t *out; /* holding: what may go on */
        size_t n_out, start_out, n_out_allocated;
} Tap;

void tap_init(Tap *t, TapHandler handler, bool holds);
void tap_deinit(Tap *t);
void tap_feed(Tap *t, Conn *c, const uint8_t *data, size_t size);
