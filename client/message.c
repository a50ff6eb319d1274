/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A message that the program has taken belongs to it alone and outlives the handle: it refers to nothing. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "client/message.h"

DirectMessage *message_new(size_t size) {
        DirectMessage *message;

        if (size > SIZE_MAX - sizeof(*message))
                return NULL;
        message = malloc(sizeof(*message) + size);
        if (!message)
                return NULL;
        /* The notice is set when it joins a queue; and so much is cleared by a few moves, where for all of it GCC has `rep stos`,
         * which takes as long as the malloc() */
        memset(&message->receipt, 0, offsetof(DirectMessage, size) - offsetof(DirectMessage, receipt));
        message->size = size;
        return message;
}

DirectMessage *direct_message_free(DirectMessage *message) {
        if (message)
                intake_take(&message->receipt);
        free(message);
        return NULL;
}

uint64_t direct_message_get_source(const DirectMessage *message) {
        return message ? message->source : 0;
}

uint16_t direct_message_get_kind(const DirectMessage *message) {
        return message ? message->kind : 0;
}

const void *direct_message_get_data(const DirectMessage *message) {
        return message ? (const void *) message->data : "";
}

size_t direct_message_get_size(const DirectMessage *message) {
        return message ? message->size : 0;
}

int direct_message_is_broadcast(const DirectMessage *message) {
        return message && message->is_broadcast;
}

int direct_message_is_request(const DirectMessage *message) {
        return message && message->is_request;
}

uint32_t direct_message_get_stream(const DirectMessage *message) {
        return message ? message->stream : 0;
}

uint64_t direct_message_get_offset(const DirectMessage *message) {
        return message ? message->offset : 0;
}

uint64_t direct_message_get_total(const DirectMessage *message) {
        return message ? message->total : 0;
}

int direct_message_is_last(const DirectMessage *message) {
        return message && message->is_last;
}

int direct_message_is_failed(const DirectMessage *message) {
        return message && message->is_failed;
}
