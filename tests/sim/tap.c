/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns the beginning of the frame that is passing, or all of it if frames are held back. */

#include <stdlib.h>
#include <string.h>

#include "tests/sim/tap.h"
#include "tests/sim/world.h"

void tap_init(Tap *t, TapHandler handler, bool holds) {
        *t = (Tap) { .handler = handler, .holds = holds };
        t->frame = sim_must(malloc(WIRE_FRAME_MAX));
}

void tap_deinit(Tap *t) {
        free(t->frame);
        free(t->out);
        t->frame = t->out = NULL;
}

static void tap_put_out(Tap *t) {
        if (t->n_out + t->n_passed > t->n_out_allocated) {
                t->n_out_allocated = (t->n_out + t->n_passed) * 2;
                t->out = sim_must(realloc(t->out, t->n_out_allocated));
        }
        memcpy(t->out + t->n_out, t->frame, t->n_passed);
        t->n_out += t->n_passed;
}

static size_t tap_wanted(const Tap *t) {
        return t->n_passed < WIRE_HEADER_SIZE ? WIRE_HEADER_SIZE : WIRE_HEADER_SIZE + wire_load_u32(t->frame);
}

void tap_feed(Tap *t, Conn *c, const uint8_t *data, size_t size) {
        while (size > 0) {
                size_t n = tap_wanted(t) - t->n_passed, room = t->holds ? WIRE_FRAME_MAX : WIRE_HEADER_SIZE + TAP_PAYLOAD_MAX;

                if (n > size)
                        n = size;
                if (t->n_frame < room) {
                        size_t part = n < room - t->n_frame ? n : room - t->n_frame;

                        memcpy(t->frame + t->n_frame, data, part);
                        t->n_frame += part;
                }
                t->n_passed += n;
                data += n;
                size -= n;
                if (t->n_passed == WIRE_HEADER_SIZE && wire_load_u32(t->frame) > WIRE_PAYLOAD_MAX) {
                        world_violation("a frame of %u bytes", wire_load_u32(t->frame));
                        return;
                }
                if (t->n_passed < WIRE_HEADER_SIZE || t->n_passed < tap_wanted(t))
                        continue;
                if (t->handler(c, t->frame, t->n_frame) && t->holds)
                        tap_put_out(t);
                t->n_frame = t->n_passed = 0;
        }
}
