/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A ring of pieces that refer to blocks of others. Small runs, such as one message to each of many targets, are copied one
 * behind the other, so that they are one piece for the kernel. */

#include <string.h>

#include "client/line.h"

void line_reset(Line *l, BlockPool *pool) {
        for (unsigned i = 0; i < l->n_pieces; i++)
                block_unref(pool, l->pieces[(l->first + i) % LINE_PIECES_MAX].block);
        l->copy = block_unref(pool, l->copy);
        l->first = l->n_pieces = 0;
        l->n_bytes = 0;
        l->n_written = l->n_put;
        l->is_begun = false;
}

static void line_add(Line *l, Block *block, const uint8_t *data, size_t size, bool is_continued) {
        LinePiece *last = l->n_pieces > 0 ? &l->pieces[(l->first + l->n_pieces - 1) % LINE_PIECES_MAX] : NULL;

        l->n_bytes += size;
        l->n_put += size;
        if (last && last->block == block && last->data + last->size == data) {
                last->size += size;
                last->is_continued = is_continued;
                return;
        }
        l->pieces[(l->first + l->n_pieces++) % LINE_PIECES_MAX] =
                (LinePiece) { .data = data, .size = size, .block = block_ref(block), .is_continued = is_continued };
}

void line_put(Line *l, BlockPool *pool, Block *block, const uint8_t *data, size_t size, bool is_continued) {
        Block *copy = l->copy;

        if (size < LINE_COPY_MAX) {
                if (!copy || copy->n_allocated - copy->n_data < size) {
                        l->copy = block_unref(pool, copy);
                        copy = l->copy = block_new(pool, BLOCK_LARGE);
                }
                if (copy) { /* else the reference does as well */
                        memcpy(copy->data + copy->n_data, data, size);
                        data = copy->data + copy->n_data;
                        copy->n_data += size;
                        block = copy;
                }
        }
        line_add(l, block, data, size, is_continued);
}

size_t line_gather(const Line *l, struct iovec *iov) {
        for (unsigned i = 0; i < l->n_pieces; i++) {
                const LinePiece *piece = &l->pieces[(l->first + i) % LINE_PIECES_MAX];

                iov[i] = (struct iovec) { (void *) piece->data, piece->size };
        }
        return l->n_pieces;
}

size_t line_gather_begun(const Line *l, struct iovec *iov) {
        size_t n = 0;
        bool more = l->is_begun;

        for (unsigned i = 0; i < l->n_pieces && more; i++) {
                const LinePiece *piece = &l->pieces[(l->first + i) % LINE_PIECES_MAX];

                iov[n++] = (struct iovec) { (void *) piece->data, piece->size };
                more = piece->is_continued;
        }
        return n;
}

void line_written(Line *l, BlockPool *pool, size_t n) {
        l->n_bytes -= n;
        l->n_written += n;
        while (n > 0) {
                LinePiece *piece = &l->pieces[l->first];

                if (n < piece->size) {
                        piece->data += n;
                        piece->size -= n;
                        l->is_begun = true;
                        return;
                }
                n -= piece->size;
                l->is_begun = piece->is_continued;
                block_unref(pool, piece->block);
                l->first = (l->first + 1) % LINE_PIECES_MAX;
                l->n_pieces--;
        }
        /* What is copied next may lie where the last copies lay, if nobody refers to those any more */
        if (l->copy && l->copy->n_references == 1)
                l->copy->n_data = 0;
}
