/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A frame that has arrived whole is used where the caller's read put it, so most links own no buffer at all. What a read leaves
 * of an incomplete frame is copied here, in a buffer of just the size it needs, and goes to the front of the next read. */

#include <errno.h>
#include <stdlib.h>

#include "protocol/framer.h"

void framer_deinit(Framer *f) {
        free(f->tail);
        *f = FRAMER_NULL;
}

int framer_keep(Framer *f, const uint8_t *data, size_t n) {
        if (n >= WIRE_FRAME_MAX)
                return -EINVAL;
        if (n > f->n_allocated) {
                uint8_t *tail;

                tail = realloc(f->tail, n);
                if (!tail)
                        return -ENOMEM;
                f->tail = tail;
                f->n_allocated = (uint32_t) n;
        }
        if (n > 0)
                memcpy(f->tail, data, n);
        f->n_tail = (uint32_t) n;
        return 0;
}

size_t framer_take(Framer *f, uint8_t *buffer) {
        size_t n = f->n_tail;

        if (n > 0)
                memcpy(buffer, f->tail, n);
        framer_deinit(f);
        return n;
}
