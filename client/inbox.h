/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What has come in and waits for the program: messages, and everything else that a handler is to be told. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/directclient.h"

typedef struct Notice Notice;

/* Both take the notice over. */
typedef struct NoticeType {
        void (*deliver)(DirectClient *client, Notice *notice);
        void (*cancel)(DirectClient *client,
                       Notice *notice); /* the handle ends: whoever was promised an answer gets -ECANCELED */
} NoticeType;

/* The first member of whatever can wait here */
struct Notice {
        Notice *next;
        const NoticeType *type;
        uint64_t serial;
        size_t weight;
};

typedef struct NoticeQueue {
        Notice *first;
        Notice **last;
} NoticeQueue;

enum {
        /* Reading from the service stops above it, and goes on below half of it: enough to keep a fast link busy over one turn of
         * the program's loop, and little enough to hold for each of many handles */
        INBOX_WEIGHT_MAX = 4 * 1024 * 1024,
};

typedef struct Inbox {
        NoticeQueue messages;
        NoticeQueue others;
        uint64_t serial;
        uint64_t weight; /* of all that waits, bytes */
        bool full;
        bool unseen; /* messages came in that the last direct_process() did not know of */
} Inbox;

void inbox_init(Inbox *inbox);

void inbox_push(Inbox *inbox, Notice *notice, const NoticeType *type, size_t weight);
void inbox_push_message(Inbox *inbox, Notice *notice, const NoticeType *type, size_t weight);

/* The next message, or NULL. */
Notice *inbox_pop_message(Inbox *inbox);

/* The next of all in the order of arrival, or of all but messages; or NULL. */
Notice *inbox_pop(Inbox *inbox, bool with_messages);

/* True if inbox_pop() would find something. */
bool inbox_is_waiting(const Inbox *inbox, bool with_messages);
