/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A frame never lies in two blocks, so it can go to the socket from where it is. A Store refers to its blocks, and so does
 * whatever is in line for the socket: a frame can be dropped here while it is still being written. It does not know why a frame
 * is kept. */

#include <stdlib.h>

#include "client/store.h"

enum {
        POOL_SMALL_MAX = 64, /* 256 KiB: flows that become quiet and busy again in turn */
        POOL_LARGE_MAX = 20, /* 1.3 MiB: one window of large frames */
};

Block *block_new(BlockPool *pool, size_t size) {
        Block *block = NULL;

        if (size <= BLOCK_SMALL) {
                size = BLOCK_SMALL;
                if ((block = pool->small)) {
                        pool->small = block->next;
                        pool->n_small--;
                }
        } else if (size <= BLOCK_LARGE) {
                size = BLOCK_LARGE;
                if ((block = pool->large)) {
                        pool->large = block->next;
                        pool->n_large--;
                }
        }
        if (!block) {
                if (size > SIZE_MAX - sizeof(*block))
                        return NULL;
                block = malloc(sizeof(*block) + size);
        }
        if (block)
                *block = (Block) { .n_references = 1, .n_allocated = size };
        return block;
}

Block *block_unref(BlockPool *pool, Block *block) {
        if (!block || --block->n_references > 0)
                return NULL;
        if (block->n_allocated == BLOCK_SMALL && pool->n_small < POOL_SMALL_MAX) {
                block->next = pool->small;
                pool->small = block;
                pool->n_small++;
        } else if (block->n_allocated == BLOCK_LARGE && pool->n_large < POOL_LARGE_MAX) {
                block->next = pool->large;
                pool->large = block;
                pool->n_large++;
        } else
                free(block);
        return NULL;
}

static void free_list(Block *block) {
        while (block) {
                Block *next = block->next;

                free(block);
                block = next;
        }
}

void block_pool_deinit(BlockPool *pool) {
        free_list(pool->small);
        free_list(pool->large);
        *pool = (BlockPool) {};
}

void store_deinit(Store *s, BlockPool *pool) {
        while (s->head) {
                Block *block = s->head;

                s->head = block->next;
                block_unref(pool, block);
        }
        *s = STORE_NULL;
}

static void append(Store *s, Block *block) {
        if (s->tail)
                s->tail->next = block;
        else {
                s->head = block;
                s->start = 0;
        }
        s->tail = block;
}

static void count(Store *s, Block *block, size_t start, size_t size) {
        if (!s->cursor) {
                s->cursor = block;
                s->cursor_start = start;
        }
        s->n_bytes += size;
        s->n_put++;
}

uint8_t *store_put(Store *s, BlockPool *pool, size_t size) {
        Block *block = s->tail;
        size_t start;

        if (!block || block->n_allocated - block->n_data < size) {
                block = block_new(pool, s->tail && size < BLOCK_LARGE ? BLOCK_LARGE : size);
                if (!block)
                        return NULL;
                append(s, block);
        }
        start = block->n_data;
        block->n_data += size;
        count(s, block, start, size);
        return block->data + start;
}

void store_put_block(Store *s, Block *block) {
        append(s, block_ref(block));
        count(s, block, 0, block->n_data);
}

static void step(Block **block, size_t *start) {
        *start += frame_size((*block)->data + *start);
        if (*start == (*block)->n_data) {
                *block = (*block)->next;
                *start = 0;
        }
}

void store_advance(Store *s) {
        step(&s->cursor, &s->cursor_start);
}

void store_rewind(Store *s) {
        s->cursor = store_is_empty(s) ? NULL : s->head;
        s->cursor_start = s->start;
}

size_t store_drop(Store *s, BlockPool *pool) {
        Block *head = s->head;
        size_t size = frame_size(head->data + s->start);

        if (s->cursor == head && s->cursor_start == s->start)
                store_advance(s);
        s->start += size;
        s->n_bytes -= size;
        s->n_dropped++;
        if (s->start == head->n_data) {
                s->head = head->next;
                s->start = 0;
                if (!s->head)
                        s->tail = NULL;
                block_unref(pool, head);
        }
        return size;
}

uint8_t *store_walk(const Store *s, Block **block, size_t *start) {
        if (!*block) {
                *block = store_is_empty(s) ? NULL : s->head;
                *start = s->start;
        } else
                step(block, start);
        return *block ? (*block)->data + *start : NULL;
}
