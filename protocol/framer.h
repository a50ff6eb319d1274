/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Cuts a byte stream into frames. The bytes stay where the caller read them; a Framer owns only the tail of a frame that has not
 * arrived whole. */

#include "protocol/wire.h"

enum {
        _FRAMER_E_SUCCESS,
        FRAMER_E_MORE,   /* the frame is not there in full */
        FRAMER_E_LENGTH, /* the header announces more than WIRE_PAYLOAD_MAX */
};

typedef struct Framer {
        uint8_t *tail;
        uint32_t n_tail;
        uint32_t n_allocated;
} Framer;

#define FRAMER_NULL ((Framer) {})

void framer_deinit(Framer *f);

/* The size of the frame at `data`, of which `n` bytes are there: 0 and *ret_size, or FRAMER_E_*. A length that is too large is
 * reported as soon as its four bytes are there. Call it again at data + size for the next frame. */
static inline int framer_peek(const uint8_t *data, size_t n, size_t *ret_size) {
        uint32_t length;

        if (n < 4)
                return FRAMER_E_MORE;
        length = wire_load_u32(data);
        if (length > WIRE_PAYLOAD_MAX)
                return FRAMER_E_LENGTH;
        if (n < WIRE_HEADER_SIZE + (size_t) length)
                return FRAMER_E_MORE;
        *ret_size = WIRE_HEADER_SIZE + (size_t) length;
        return 0;
}

/* Keeps a copy of the tail (less than one frame) that a read left. Returns 0, -ENOMEM (the stream is broken then), or -EINVAL. */
int framer_keep(Framer *f, const uint8_t *data, size_t n);

/* Moves the kept tail to `buffer`, which has room for WIRE_FRAME_MAX bytes; the next read goes behind it. Returns its size. */
size_t framer_take(Framer *f, uint8_t *buffer);
