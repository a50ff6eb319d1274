/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Where a service leaves its links for its successor: the descriptor store of the service manager. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The name of what is stored, among the descriptors that the manager passes */
#define HANDOVER_STORE_NAME "handover"

/* Does the manager keep descriptors for this service? */
bool handover_store_is_available(void);

/* Stores the state and the descriptors, in their order, each with a mark. They stay open here: whoever exits now has handed them
 * over. Returns 0; or a negative errno, and nothing is stored; or 1: it may be, nobody knows, and none of the descriptors may be
 * used any more. */
int handover_store_put(const uint8_t *data, size_t size, const int *fds, const uint8_t *marks, size_t n_fds);

typedef struct HandoverStored {
        const uint8_t *data;
        size_t size;
        int *fds;
        uint8_t *marks;
        size_t n_fds;
} HandoverStored;

#define HANDOVER_STORED_NULL ((HandoverStored) {})

/* Takes out what the manager has passed as `fd`, which is closed, and removes it from the store. Returns 0; -EBADMSG: that is not
 * what handover_store_put() stores; or another negative errno. Then all that came is closed. */
int handover_store_take(int fd, HandoverStored *ret_stored);

/* Closes the descriptors that are still in there. */
void handover_stored_deinit(HandoverStored *stored);
