/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What is in line for the socket: which runs become one piece, what keeps a block, and what a partial write leaves. */

#include "client/line.h"
#include "tests/unit/run-tests.h"

static BlockPool pool;
static Line line;

static void setup(void) {
        pool = (BlockPool) {};
        line = (Line) {};
}

static void teardown(void) {
        line_reset(&line, &pool);
        block_pool_deinit(&pool);
}

static Block *block_of(size_t size, unsigned seed) {
        Block *block;

        block = block_new(&pool, size);
        for (size_t i = 0; i < size; i++)
                block->data[i] = (uint8_t) (i * 7 + seed);
        block->n_data = size;
        return block;
}

/* All that is in line, in one row. */
static size_t collect(uint8_t *p) {
        struct iovec iov[LINE_PIECES_MAX];
        size_t n, size = 0;

        n = line_gather(&line, iov);
        for (size_t i = 0; i < n; i++) {
                memcpy(p + size, iov[i].iov_base, iov[i].iov_len);
                size += iov[i].iov_len;
        }
        ck_assert_uint_eq(size, line.n_bytes);
        return size;
}

/* Neighbours in one block are one piece, and hold one reference. */
START_TEST(test_merge) {
        Block *block = block_of(40000, 0), *other = block_of(40000, 1);
        static uint8_t all[80000];

        line_put(&line, &pool, block, block->data, 10000, false);
        line_put(&line, &pool, block, block->data + 10000, 10000, false);
        ck_assert_uint_eq(line.n_pieces, 1);
        ck_assert_uint_eq(block->n_references, 2);
        line_put(&line, &pool, block, block->data + 30000, 10000, false); /* not a neighbour */
        ck_assert_uint_eq(line.n_pieces, 2);
        ck_assert_uint_eq(block->n_references, 3);
        line_put(&line, &pool, other, other->data, 10000, false);
        ck_assert_uint_eq(line.n_pieces, 3);
        ck_assert_uint_eq(collect(all), 40000);
        ck_assert_int_eq(memcmp(all, block->data, 20000), 0);
        ck_assert_int_eq(memcmp(all + 20000, block->data + 30000, 10000), 0);
        ck_assert_int_eq(memcmp(all + 30000, other->data, 10000), 0);

        line_written(&line, &pool, 20000);
        ck_assert_uint_eq(block->n_references, 2);
        line_written(&line, &pool, 10000);
        ck_assert_uint_eq(block->n_references, 1);
        ck_assert_uint_eq(line.n_written, 30000);
        line_reset(&line, &pool);
        ck_assert_uint_eq(other->n_references, 1);
        ck_assert_uint_eq(line.n_written, line.n_put);
        block_unref(&pool, block);
        block_unref(&pool, other);
}
END_TEST

/* What is smaller than LINE_COPY_MAX is copied one behind the other; at that size it is referred to. */
START_TEST(test_copy) {
        Block *block = block_of(LINE_COPY_MAX, 3);
        static uint8_t all[100 * LINE_COPY_MAX];
        size_t size = 0;

        for (unsigned i = 0; i < 20; i++) {
                line_put(&line, &pool, block, block->data, 100 + i, false);
                size += 100 + i;
        }
        ck_assert_uint_eq(line.n_pieces, 1);
        ck_assert_uint_eq(block->n_references, 1);
        line_put(&line, &pool, block, block->data, LINE_COPY_MAX - 1, false);
        ck_assert_uint_eq(line.n_pieces, 1);
        line_put(&line, &pool, block, block->data, LINE_COPY_MAX, false);
        ck_assert_uint_eq(line.n_pieces, 2);
        ck_assert_uint_eq(block->n_references, 2);
        ck_assert_uint_eq(collect(all), size + 2 * LINE_COPY_MAX - 1);
        memset(block->data, 0, 100); /* the copies are copies */
        collect(all);
        ck_assert_uint_eq(all[1], 10);
        ck_assert_uint_eq(all[size + LINE_COPY_MAX - 1 + 1], 0);
        line_written(&line, &pool, line.n_bytes);
        ck_assert_uint_eq(block->n_references, 1);
        ck_assert_uint_eq(line.copy->n_data, 0); /* and the next ones lie where the last lay */
        block_unref(&pool, block);
}
END_TEST

/* When the block for copies is full, those in line keep it and another takes its place. */
START_TEST(test_copy_blocks) {
        Block *block = block_of(LINE_COPY_MAX, 0), *first;
        static uint8_t all[200 * LINE_COPY_MAX];
        unsigned n = 0;

        line_put(&line, &pool, block, block->data, 2000, false);
        first = line.copy;
        for (n = 1; line.copy == first; n++)
                line_put(&line, &pool, block, block->data + n % 40, 2000, false);
        ck_assert_uint_eq(line.n_pieces, 2);
        ck_assert_uint_eq(first->n_references, 1);
        ck_assert_uint_eq(line.copy->n_references, 2);
        ck_assert_uint_eq(collect(all), n * 2000);
        for (unsigned i = 0; i < n; i++)
                ck_assert_int_eq(memcmp(all + i * 2000, block->data + i % 40, 2000), 0);
        line_written(&line, &pool, (n - 1) * 2000);
        ck_assert_uint_eq(pool.n_large, 1);
        line_put(&line, &pool, block, block->data, 10, false); /* not over what is still in line */
        ck_assert_uint_eq(collect(all), 2010);
        ck_assert_int_eq(memcmp(all, block->data + (n - 1) % 40, 2000), 0);
        block_unref(&pool, block);
}
END_TEST

/* It says that it is full while a frame of a store and both pieces of a bulk's still fit. */
START_TEST(test_full) {
        Block *block = block_of(BLOCK_LARGE, 0);
        unsigned n = 0;

        while (!line_is_full(&line))
                line_put(&line, &pool, block, block->data + 3000 * (n++ % 2), 2500, false);
        ck_assert_uint_eq(line.n_pieces, n);
        ck_assert_uint_le(line.n_pieces - 1 + 3, LINE_PIECES_MAX);
        line_reset(&line, &pool);
        ck_assert(!line_is_full(&line));
        for (n = 0; !line_is_full(&line); n++)
                line_put(&line, &pool, block, block->data, 65536, false);
        ck_assert_uint_eq(n, 3);
        block_unref(&pool, block);
}
END_TEST

/* The ring goes round many times. */
START_TEST(test_ring) {
        Block *block = block_of(BLOCK_LARGE, 9);
        static uint8_t sent[16 * 1024 * 1024], got[16 * 1024 * 1024], all[LINE_SIZE_MAX + BLOCK_LARGE];
        size_t n_sent = 0, n_got = 0;
        uint32_t seed = 1;

        while (n_sent < sizeof(sent) - 2 * BLOCK_LARGE) {
                while (!line_is_full(&line) && (seed = seed * 1103515245 + 12345) >> 29 != 0) {
                        size_t start = (seed >> 8) % 60000, size = 1 + (seed >> 4) % (seed & 1 << 20 ? 5000 : 3000);

                        line_put(&line, &pool, block, block->data + start, size, false);
                        memcpy(sent + n_sent, block->data + start, size);
                        n_sent += size;
                }
                seed = seed * 1103515245 + 12345;
                if (line.n_bytes > 0) {
                        size_t n = 1 + (seed >> 3) % line.n_bytes;

                        collect(all);
                        memcpy(got + n_got, all, n);
                        n_got += n;
                        line_written(&line, &pool, n);
                }
        }
        n_got += collect(got + n_got);
        ck_assert_uint_eq(n_got, n_sent);
        ck_assert_int_eq(memcmp(sent, got, n_sent), 0);
        ck_assert_uint_eq(line.n_put, n_sent);
        line_reset(&line, &pool);
        ck_assert_uint_eq(block->n_references, 1);
        block_unref(&pool, block);
}
END_TEST

/* Frames as the flows put them: small ones, one in two pieces, a large one, and one in two pieces that are both copied. */
static const struct {
        size_t size;
        bool is_continued;
} parts[] = {
        { 50, false }, { 60, false }, { 48, true }, { 2500, false }, { 3000, false }, { 48, true }, { 9, false }, { 40, false },
};
static const size_t frame_ends[] = { 50, 110, 2658, 5658, 5715, 5755 };

/* After any number of bytes: if a frame was cut, what has to go before the next one ends where a frame ends; if none was, nothing
 * has to, or whole frames. */
START_TEST(test_begun) {
        Block *block = block_of(BLOCK_LARGE, 2);
        static uint8_t all[8000], begun[8000];

        for (size_t n = 0; n <= frame_ends[5]; n++) {
                struct iovec iov[LINE_PIECES_MAX];
                size_t n_begun = 0, n_iov, n_all;
                bool is_end = n == 0;

                for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
                        line_put(&line, &pool, block, block->data + 5000 * i, parts[i].size, parts[i].is_continued);
                ck_assert_uint_eq(line.n_bytes, frame_ends[5]);
                line_written(&line, &pool, n / 2); /* in two steps, at times through the same piece */
                line_written(&line, &pool, n - n / 2);
                n_all = collect(all);
                n_iov = line_gather_begun(&line, iov);
                for (size_t i = 0; i < n_iov; i++) {
                        memcpy(begun + n_begun, iov[i].iov_base, iov[i].iov_len);
                        n_begun += iov[i].iov_len;
                }
                ck_assert_uint_le(n_begun, n_all);
                ck_assert_int_eq(memcmp(begun, all, n_begun), 0);
                for (unsigned i = 0; i < 6; i++)
                        is_end |= n + n_begun == frame_ends[i];
                ck_assert_msg(is_end, "%zu bytes are out, %zu have to follow", n, n_begun);
                line_reset(&line, &pool);
                ck_assert_uint_eq(line_gather_begun(&line, iov), 0);
                ck_assert_uint_eq(block->n_references, 1);
        }
        block_unref(&pool, block);
}
END_TEST

TEST_MAIN_FIXTURE("client-line", setup, teardown, test_merge, test_copy, test_copy_blocks, test_full, test_ring, test_begun)
