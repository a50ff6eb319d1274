/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Calls: requests that wait for their reply, and the replies to others' requests. A call watches its target, so that it ends
 * when that dies. */

#include <errno.h>
#include <string.h>

#include "client/client.h"

enum {
        CALL_ERROR_MAX = UINT16_MAX,
        CALL_TEXT_MAX = 4096, /* words for people, not data */
};

int client_call(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size, Question *q) {
        Envelope envelope = { .target = target, .kind = kind, .flags = WIRE_RELIABLE | WIRE_REQUEST };
        int r;

        q->target = target;
        r = questions_add(&client->questions, q);
        if (r < 0) {
                question_free(q);
                return r;
        }
        envelope.tag = question_get_tag(q);
        r = watches_use(&client->watches, target);
        if (r >= 0) {
                r = sender_message(&client->sender, &envelope, data, size, NULL);
                if (r >= 0) {
                        client_output(client);
                        return 0;
                }
                watches_unuse(&client->watches, target);
        }
        questions_remove(&client->questions, q);
        question_free(q);
        return r;
}

int direct_call_start(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size, uint64_t timeout_usec,
                      DirectCallHandler handler, void *userdata) {
        Question *q;
        int r;

        if (!client || !handler || (!data && size > 0) || target == 0 || target >= WIRE_TARGET_GROUP)
                return -EINVAL;
        r = client_reserve(client, size);
        if (r < 0)
                return r;
        q = question_new(QUESTION_CALL);
        if (!q)
                return -ENOMEM;
        q->deadline = timeout_usec == DIRECT_FOREVER ? USEC_NEVER : usec_add(usec_now(), timeout_usec);
        q->handler.call = handler;
        q->userdata = userdata;
        r = client_call(client, target, kind, data, size, q);
        client_settle(client);
        return r;
}

/* A message with the flag REPLY: whole, or a part of one that is too large. Taken over. */
void client_reply(DirectClient *client, DirectMessage *message, uint8_t flags) {
        WireFailure failure;
        Question *q;

        q = questions_find(&client->questions, message->tag);
        if (!q || q->kind != QUESTION_CALL || q->target != message->source) {
                direct_message_free(message); /* too late */
                return;
        }
        if (message->stream != 0)
                questions_finish(&client->questions, q, -EMSGSIZE, NULL, 0);
        else if (!(flags & WIRE_FAILED)) {
                q->answer.reply = message;
                message = NULL;
                questions_finish(&client->questions, q, 0, NULL, 0);
        } else if (wire_failure_parse(message->data, message->size, &failure) == 0)
                questions_finish(&client->questions, q, -EREMOTEIO,
                                 failure.text.size > 0 ? failure.text.data : strerror(failure.error),
                                 failure.text.size > 0 ? failure.text.size : SIZE_MAX);
        else
                questions_finish(&client->questions, q, -EREMOTEIO, NULL, 0);
        direct_message_free(message);
}

static int client_send_reply(DirectClient *client, DirectMessage *request, uint8_t flags, const void *data, size_t size) {
        Envelope envelope = { .flags = (uint8_t) (WIRE_RELIABLE | WIRE_REPLY | flags) };
        int r;

        if (!request->is_request)
                return -EINVAL;
        if (request->is_replied)
                return -EALREADY;
        r = client_reserve(client, size);
        if (r < 0)
                return r;
        envelope.target = request->source;
        envelope.kind = request->kind;
        envelope.tag = request->tag;
        r = sender_message(&client->sender, &envelope, data, size, NULL);
        if (r < 0)
                return r;
        request->is_replied = true;
        client_output(client);
        client_settle(client);
        return 0;
}

int direct_reply(DirectClient *client, DirectMessage *request, const void *data, size_t size) {
        if (!client || !request || (!data && size > 0))
                return -EINVAL;
        return client_send_reply(client, request, 0, data, size);
}

int direct_reply_error(DirectClient *client, DirectMessage *request, int error, const char *text) {
        uint8_t payload[2 + 2 + CALL_TEXT_MAX];
        int r;

        if (!text)
                text = "";
        if (!client || !request || error <= 0 || error > CALL_ERROR_MAX || strlen(text) > CALL_TEXT_MAX ||
            !wire_text_is_clean(text, strlen(text)))
                return -EINVAL;
        r = wire_failure_store(&(WireFailure) { (uint16_t) error, { text, strlen(text) } }, payload, sizeof(payload));
        if (r < 0)
                return r;
        return client_send_reply(client, request, WIRE_FAILED, payload, (size_t) r);
}
