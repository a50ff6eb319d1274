/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* A message that was received, or a part of one: one allocation, payload included. */

#include <stdalign.h>
#include <stdbool.h>

#include "client/directclient.h"
#include "client/inbox.h"
#include "client/intake.h"

struct DirectMessage {
        Notice notice;
        Receipt receipt; /* until the program has taken it */
        uint64_t source;
        uint64_t offset;
        uint64_t total;
        uint32_t stream;
        uint32_t tag;
        uint16_t kind;
        bool is_broadcast;
        bool is_request;
        bool is_last;
        bool is_failed;
        bool is_replied;
        size_t size;
        alignas(max_align_t) uint8_t data[]; /* so that a program can look at it as an array of anything */
};

/* Room for `size` bytes, everything else 0. NULL: no memory. */
DirectMessage *message_new(size_t size);

static inline size_t message_get_weight(const DirectMessage *message) {
        return sizeof(*message) + message->size;
}
