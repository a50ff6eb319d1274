/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One outgoing flow, and the wire that its frames go out on: what the tests of flows begin with. */

#include <errno.h>

#include "client/flow.h"
#include "tests/unit/run-tests.h"

enum { CREDIT = 1024 * 1024 };

static BlockPool pool;
static Line line;
static Peer peer;
static Flow flow;
static uint8_t wire[4 * 1024 * 1024]; /* what went out */
static size_t n_wire, n_read;

static inline void setup(void) {
        pool = (BlockPool) {};
        line = (Line) {};
        peer = (Peer) { .state = PEER_UP };
        n_wire = n_read = 0;
        flow_init(&flow, &peer, NULL, CREDIT);
}

static inline void teardown(void) {
        for (Sent *sent = flow.outcomes, *next; sent; sent = next) {
                next = sent->next;
                free(sent);
        }
        line_reset(&line, &pool);
        flow_deinit(&flow, &pool);
        block_pool_deinit(&pool);
}

/* Everything in line goes to the wire. */
static inline void drain(void) {
        struct iovec iov[LINE_PIECES_MAX];
        size_t n = line_gather(&line, iov);

        for (size_t i = 0; i < n; i++) {
                ck_assert_uint_le(n_wire + iov[i].iov_len, sizeof(wire));
                memcpy(wire + n_wire, iov[i].iov_base, iov[i].iov_len);
                n_wire += iov[i].iov_len;
        }
        line_written(&line, &pool, line.n_bytes);
}

/* As long as it can. */
static inline void send_all(void) {
        while (flow_can_send(&flow)) {
                int r = flow_send(&flow, &line, &pool, 64 * 1024);

                drain();
                if (r == -EAGAIN)
                        break;
                ck_assert_int_eq(r, 0);
        }
}

static inline const uint8_t *get(WireHeader *ret) {
        const uint8_t *frame = wire + n_read;

        if (n_read == n_wire)
                return NULL;
        wire_header_load(frame, ret);
        n_read += WIRE_HEADER_SIZE + ret->length;
        ck_assert_uint_le(n_read, n_wire);
        return frame + WIRE_HEADER_SIZE;
}

static inline void check_nothing(void) {
        WireHeader header;

        ck_assert_ptr_null(get(&header));
}
