/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Two queues, because direct_receive() takes messages past events that wait for direct_process(); the serial number keeps the
 * order between them for programs that take both through handlers. It owns what waits in it, does not know what that is, and
 * calls no handler itself. */

#include "client/inbox.h"

static void queue_push(NoticeQueue *q, Notice *notice) {
        notice->next = NULL;
        *q->last = notice;
        q->last = &notice->next;
}

static Notice *queue_pop(NoticeQueue *q) {
        Notice *notice = q->first;

        if (!notice)
                return NULL;
        q->first = notice->next;
        if (!q->first)
                q->last = &q->first;
        return notice;
}

void inbox_init(Inbox *inbox) {
        *inbox = (Inbox) {};
        inbox->messages.last = &inbox->messages.first;
        inbox->others.last = &inbox->others.first;
}

static void inbox_add(Inbox *inbox, NoticeQueue *q, Notice *notice, const NoticeType *type, size_t weight) {
        notice->type = type;
        notice->serial = ++inbox->serial;
        notice->weight = weight;
        queue_push(q, notice);
        inbox->weight += weight;
        if (inbox->weight > INBOX_WEIGHT_MAX)
                inbox->full = true;
}

void inbox_push(Inbox *inbox, Notice *notice, const NoticeType *type, size_t weight) {
        inbox_add(inbox, &inbox->others, notice, type, weight);
}

void inbox_push_message(Inbox *inbox, Notice *notice, const NoticeType *type, size_t weight) {
        inbox_add(inbox, &inbox->messages, notice, type, weight);
        inbox->unseen = true;
}

static Notice *inbox_take(Inbox *inbox, NoticeQueue *q) {
        Notice *notice;

        notice = queue_pop(q);
        if (!notice)
                return NULL;
        inbox->weight -= notice->weight;
        if (inbox->weight <= INBOX_WEIGHT_MAX / 2)
                inbox->full = false;
        return notice;
}

Notice *inbox_pop_message(Inbox *inbox) {
        return inbox_take(inbox, &inbox->messages);
}

Notice *inbox_pop(Inbox *inbox, bool with_messages) {
        const Notice *message = with_messages ? inbox->messages.first : NULL, *other = inbox->others.first;

        return inbox_take(inbox, message && (!other || message->serial < other->serial) ? &inbox->messages : &inbox->others);
}

bool inbox_is_waiting(const Inbox *inbox, bool with_messages) {
        return inbox->others.first || (with_messages && inbox->messages.first);
}
