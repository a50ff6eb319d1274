/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A stream that is cut at arbitrary places gives the same frames as the whole. The first byte says how many pieces there are
 * (at most 255); as many bytes follow, each the size of a piece in units of 1, 7 or 4096 bytes; the rest is the stream. */

#include <string.h>

#include "fuzz.h"
#include "protocol/framer.h"

enum { STREAM_MAX = 1 << 19 };

/* A sum over all frames and their ends, and how the stream ended. */
typedef struct Result {
        uint64_t sum;
        unsigned n_frames;
        int end;
        size_t n_left;
} Result;

static void result_add(Result *r, const uint8_t *frame, size_t size) {
        for (size_t i = 0; i < size; i++)
                r->sum = (r->sum ^ frame[i]) * UINT64_C(1099511628211); /* FNV-1a */
        r->sum = (r->sum ^ size) * UINT64_C(1099511628211);
        r->n_frames++;
}

static size_t take_frames(Result *r, const uint8_t *data, size_t n) {
        size_t begin = 0, size;

        while ((r->end = framer_peek(data + begin, n - begin, &size)) == 0) {
                fuzz_assert(size >= WIRE_HEADER_SIZE && size <= WIRE_FRAME_MAX && size <= n - begin);
                result_add(r, data + begin, size);
                begin += size;
        }
        return begin;
}

static Result read_whole(const uint8_t *data, size_t n) {
        Result r = {};

        r.n_left = n - take_frames(&r, data, n);
        return r;
}

static void feed(Framer *f, Result *r, const uint8_t *data, size_t n) {
        static uint8_t buffer[WIRE_FRAME_MAX + STREAM_MAX];
        size_t have = framer_take(f, buffer), begin;

        memcpy(buffer + have, data, n);
        have += n;
        begin = take_frames(r, buffer, have);
        r->n_left = have - begin;
        if (r->end == FRAMER_E_MORE)
                fuzz_assert(framer_keep(f, buffer + begin, have - begin) == 0);
}

static Result read_pieces(const uint8_t *sizes, size_t n_sizes, const uint8_t *data, size_t n) {
        static const size_t units[] = { 1, 7, 4096 };
        Framer f = FRAMER_NULL;
        Result r = { .end = FRAMER_E_MORE };

        for (size_t i = 0; i < n_sizes && n > 0 && r.end == FRAMER_E_MORE; i++) {
                size_t piece = sizes[i] * units[sizes[i] % 3];

                if (piece > n)
                        piece = n;
                feed(&f, &r, data, piece);
                data += piece;
                n -= piece;
        }
        if (r.end == FRAMER_E_MORE)
                feed(&f, &r, data, n);
        framer_deinit(&f);
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Result whole, pieces;
        size_t n_sizes;

        if (size == 0 || size > STREAM_MAX)
                return 0;
        n_sizes = data[0];
        data++;
        size--;
        if (n_sizes > size)
                n_sizes = size;
        whole = read_whole(data + n_sizes, size - n_sizes);
        pieces = read_pieces(data, n_sizes, data + n_sizes, size - n_sizes);
        fuzz_assert(whole.sum == pieces.sum && whole.n_frames == pieces.n_frames && whole.end == pieces.end);
        /* After a length that is too large, how much had been read behind it is a matter of the pieces. */
        fuzz_assert(whole.end != FRAMER_E_MORE || whole.n_left == pieces.n_left);
        return 0;
}
