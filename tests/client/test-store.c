/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Frames in blocks: where they lie, what the cursor does, and when a block goes back to the pool. */

#include "client/store.h"
#include "tests/unit/run-tests.h"

static BlockPool pool;
static Store store;

static void setup(void) {
        pool = (BlockPool) {};
        store = STORE_NULL;
}

static void teardown(void) {
        store_deinit(&store, &pool);
        ck_assert(store_is_empty(&store));
        ck_assert_uint_eq(store.n_bytes, 0);
        block_pool_deinit(&pool);
        ck_assert_ptr_null(pool.small);
        ck_assert_ptr_null(pool.large);
}

/* Fills a frame so that its number and each of its bytes can be found again. */
static void fill(uint8_t *frame, size_t n_payload, uint16_t kind) {
        wire_header_store(frame, &(WireHeader) { .length = (uint32_t) n_payload, .type = WIRE_DATA, .kind = kind });
        memset(frame + WIRE_HEADER_SIZE, kind & 0xff, n_payload);
}

static uint8_t *put(size_t n_payload, uint16_t kind) {
        uint8_t *frame;

        frame = store_put(&store, &pool, WIRE_HEADER_SIZE + n_payload);
        ck_assert_ptr_nonnull(frame);
        fill(frame, n_payload, kind);
        return frame;
}

static unsigned get_kind(const uint8_t *frame) {
        return wire_load_u16(frame + 6);
}

static uint8_t *next(void) {
        Block *block;

        return store_next(&store, &block);
}

static void check_next(unsigned kind) {
        ck_assert_ptr_nonnull(next());
        ck_assert_uint_eq(get_kind(next()), kind);
}

START_TEST(test_empty) {
        Block *block = NULL;
        size_t start = 0;

        ck_assert(store_is_empty(&store));
        ck_assert_ptr_null(next());
        ck_assert_ptr_null(store_first(&store));
        ck_assert_ptr_null(store_walk(&store, &block, &start));
        store_rewind(&store);
        ck_assert_ptr_null(next());
}
END_TEST

/* Sizes around those of the blocks: each frame lies whole in one block, and nothing overwrites another. */
START_TEST(test_whole) {
        static const size_t sizes[] = { 0, 1, 40, 4000, BLOCK_SMALL - WIRE_HEADER_SIZE, BLOCK_SMALL - WIRE_HEADER_SIZE + 1, 30000,
                                        WIRE_PAYLOAD_MAX - 1, WIRE_PAYLOAD_MAX };
        enum { N = 9 * 9 };
        Block *block = NULL;
        size_t start = 0;
        uint64_t n_bytes = 0;
        unsigned n = 0;

        for (unsigned i = 0; i < N; i++) {
                size_t size = sizes[(i * 5 + i / 9) % 9];

                put(size, (uint16_t) i);
                n_bytes += WIRE_HEADER_SIZE + size;
        }
        ck_assert_uint_eq(store.n_bytes, n_bytes);
        ck_assert_uint_eq(store.n_put, N);
        for (const uint8_t *frame; (frame = store_walk(&store, &block, &start)); n++) {
                size_t size = sizes[(n * 5 + n / 9) % 9], n_right = 0;

                ck_assert_uint_eq(get_kind(frame), n);
                ck_assert_uint_eq(frame_size(frame), WIRE_HEADER_SIZE + size);
                ck_assert(frame >= block->data && frame + frame_size(frame) <= block->data + block->n_data);
                ck_assert_uint_le(block->n_data, block->n_allocated);
                while (n_right < size && frame[WIRE_HEADER_SIZE + n_right] == n)
                        n_right++;
                ck_assert_uint_eq(n_right, size);
        }
        ck_assert_uint_eq(n, N);
}
END_TEST

START_TEST(test_cursor) {
        for (uint16_t i = 0; i < 200; i++)
                put(1000, i);
        for (unsigned i = 0; i < 200; i++) {
                check_next(i);
                store_advance(&store);
        }
        ck_assert_ptr_null(next());

        /* What is put now is where the cursor was waiting, in the same block or in a new one */
        put(1, 200);
        check_next(200);
        store_advance(&store);
        put(WIRE_PAYLOAD_MAX, 201);
        check_next(201);
        store_advance(&store);
        ck_assert_ptr_null(next());
}
END_TEST

/* Behind, at, and after the cursor; and what a rewind finds at each place. */
START_TEST(test_drop) {
        for (uint16_t i = 0; i < 100; i++)
                put(2000, i);
        for (unsigned i = 0; i < 50; i++)
                store_advance(&store);
        for (unsigned i = 0; i < 50; i++) {
                ck_assert_uint_eq(get_kind(store_first(&store)), i);
                ck_assert_uint_eq(store_drop(&store, &pool), WIRE_HEADER_SIZE + 2000);
                check_next(50);
        }
        for (unsigned i = 50; i < 60; i++) { /* takes the cursor along */
                check_next(i);
                store_drop(&store, &pool);
        }
        check_next(60);
        for (unsigned i = 60; i < 100; i++) {
                store_rewind(&store);
                check_next(i);
                for (unsigned j = i; j < 100; j++)
                        store_advance(&store);
                ck_assert_ptr_null(next());
                if (i % 2)
                        store_rewind(&store);
                store_drop(&store, &pool);
        }
        ck_assert(store_is_empty(&store));
        ck_assert_ptr_null(store.head);
        ck_assert_ptr_null(store.tail);
        ck_assert_ptr_null(next());
        ck_assert_uint_eq(store.n_bytes, 0);
        ck_assert_uint_eq(store.n_dropped, 100);
        put(3, 7);
        check_next(7);
        ck_assert_uint_eq(get_kind(store_first(&store)), 7);
}
END_TEST

/* One in, one out, for ever: memory goes round, and the first block is as small as a quiet flow needs. */
START_TEST(test_steady) {
        put(10, 0);
        ck_assert_uint_eq(store.head->n_allocated, BLOCK_SMALL);
        for (uint16_t i = 1; i < 10000; i++) {
                put(100, i);
                store_drop(&store, &pool);
                check_next(i);
        }
        ck_assert_uint_le(pool.n_small + pool.n_large, 3);
}
END_TEST

START_TEST(test_put_block) {
        Block *block;

        put(10, 0);
        block = block_new(&pool, WIRE_FRAME_MAX);
        fill(block->data, 50000, 1);
        block->n_data = WIRE_HEADER_SIZE + 50000;
        store_put_block(&store, block);
        ck_assert_uint_eq(block->n_references, 2);
        put(10, 2); /* there is room behind it in the block */
        ck_assert_ptr_eq(store.tail, block);
        for (unsigned i = 0; i < 3; i++) {
                check_next(i);
                store_advance(&store);
        }
        store_drop(&store, &pool);
        store_drop(&store, &pool);
        ck_assert_uint_eq(block->n_references, 2);
        store_drop(&store, &pool);
        ck_assert_uint_eq(block->n_references, 1);
        ck_assert_uint_eq(get_kind(block->data), 1); /* ours still */
        block_unref(&pool, block);
        ck_assert_uint_eq(pool.n_large, 1);

        /* The first of all */
        block = block_new(&pool, 100);
        fill(block->data, 0, 3);
        block->n_data = WIRE_HEADER_SIZE;
        store_put_block(&store, block);
        block_unref(&pool, block);
        check_next(3);
        ck_assert_ptr_eq(store_first(&store), block->data);
        ck_assert_uint_eq(store.n_bytes, WIRE_HEADER_SIZE);
}
END_TEST

/* Whoever refers to a block keeps it, whatever becomes of its frames. */
START_TEST(test_references) {
        const uint8_t *frame = put(100, 5);
        Block *block = block_ref(store.head);

        store_drop(&store, &pool);
        ck_assert_uint_eq(pool.n_small, 0);
        put(100, 6);
        ck_assert_ptr_ne(store.head, block);
        ck_assert_uint_eq(get_kind(frame), 5);
        ck_assert_ptr_null(block_unref(&pool, block));
        ck_assert_uint_eq(pool.n_small, 1);
        ck_assert_ptr_null(block_unref(&pool, NULL));
}
END_TEST

START_TEST(test_pool) {
        enum { N = 200 };
        static Block *blocks[N];
        static const size_t sizes[] = { 1, BLOCK_SMALL, BLOCK_SMALL + 1, BLOCK_LARGE, BLOCK_LARGE + 1 };
        static const size_t allocated[] = { BLOCK_SMALL, BLOCK_SMALL, BLOCK_LARGE, BLOCK_LARGE, BLOCK_LARGE + 1 };
        unsigned n_small, n_large;

        for (unsigned i = 0; i < N; i++) {
                blocks[i] = block_new(&pool, sizes[i % 5]);
                ck_assert_uint_eq(blocks[i]->n_allocated, allocated[i % 5]);
                ck_assert_uint_eq(blocks[i]->n_data, 0);
                ck_assert_uint_eq(blocks[i]->n_references, 1);
                blocks[i]->n_data = 77;
        }
        for (unsigned i = 0; i < N; i++)
                block_unref(&pool, blocks[i]);
        n_small = pool.n_small;
        n_large = pool.n_large;
        ck_assert(n_small > 0 && n_small < 80); /* bounded: each was given back 80 times */
        ck_assert(n_large > 0 && n_large < 80);
        for (unsigned i = 0; i < n_small + 1; i++) { /* one more than there are */
                blocks[i] = block_new(&pool, 1);
                ck_assert_uint_eq(blocks[i]->n_data, 0);
        }
        ck_assert_uint_eq(pool.n_small, 0);
        ck_assert_uint_eq(pool.n_large, n_large);
        for (unsigned i = 0; i < n_small + 1; i++)
                block_unref(&pool, blocks[i]);
        ck_assert_ptr_null(block_new(&pool, SIZE_MAX));
}
END_TEST

TEST_MAIN_FIXTURE("client-store", setup, teardown, test_empty, test_whole, test_cursor, test_drop, test_steady, test_put_block,
                  test_references, test_pool)
