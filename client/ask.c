/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Questions to the service: how each is put, how its answer is read, and how the program is told. */

#include <errno.h>
#include <string.h>

#include "client/client.h"

enum {
        ASK_PAYLOAD_MAX = 8 + 1 + DIRECT_NAME_MAX, /* of the largest question: an id and a text8 */
        ASK_LIST_MAX = 1024 * 1024, /* clients: a hundred times what a service is made for, so a bad one can't fill the memory */
        ASK_ERROR_MAX = 4095, /* numbers that the kernel's errno can have */
};

typedef enum AnswerResult {
        ANSWER_DONE,
        ANSWER_MORE, /* the question is to be put again, for the next part */
        ANSWER_BAD,
        ANSWER_NO_MEMORY,
} AnswerResult;

static void copy_name(char *ret, WireText name) {
        size_t n = name.size < DIRECT_NAME_MAX ? name.size : DIRECT_NAME_MAX;

        if (n > 0)
                memcpy(ret, name.data, n);
        ret[n] = '\0';
}

/* How the questions are put */

static void put_alive(const Question *q, WireWriter *w) {
        wire_write_u64(w, q->target);
        if (q->target == 0)
                wire_write_text8(w, q->name, strlen(q->name));
}

static void put_name(const Question *q, WireWriter *w) {
        wire_write_text8(w, q->name, strlen(q->name));
}

static void put_list(const Question *q, WireWriter *w) {
        size_t n = q->answer.list.n_peers;

        wire_write_u64(w, n > 0 ? q->answer.list.peers[n - 1].id : 0);
}

static void put_watch(const Question *q, WireWriter *w) {
        wire_write_u64(w, q->target);
        wire_write_u8(w, 1);
}

static void put_load(const Question *q, WireWriter *w) {
}

/* How the answers are read */

static AnswerResult read_alive(Question *q, WireReader *r) {
        WireAlive alive;

        if (wire_alive_parse(r->p, (size_t) (r->end - r->p), &alive) < 0)
                return ANSWER_BAD;
        q->answer.alive = (DirectAlive) {
                .id = alive.id,
                .state = alive.state,
                .silence_usec = alive.silence_ms * USEC_PER_MSEC,
                .kernel_silence_usec = alive.kernel_silence_ms * USEC_PER_MSEC,
                .rtt_usec = alive.rtt_us,
        };
        copy_name(q->answer.alive.name, alive.name);
        return ANSWER_DONE;
}

static AnswerResult read_resolve(Question *q, WireReader *r) {
        uint64_t id = wire_read_u64(r);
        unsigned state = wire_read_u8(r);

        if (state == WIRE_STATE_UNKNOWN || state == WIRE_STATE_GONE)
                id = 0;
        q->answer.id = id;
        q->result = id != 0 ? 0 : -ENXIO;
        return ANSWER_DONE;
}

static DirectPeer *list_append_peer(Question *q) {
        size_t n = q->answer.list.n_allocated > 0 ? q->answer.list.n_allocated * 2 : 64;
        DirectPeer *peers;

        if (q->answer.list.n_peers == q->answer.list.n_allocated) {
                peers = realloc(q->answer.list.peers, n * sizeof(*peers));
                if (!peers)
                        return NULL;
                q->answer.list.peers = peers;
                q->answer.list.n_allocated = n;
        }
        return &q->answer.list.peers[q->answer.list.n_peers++];
}

/* Ids have to grow: else a bad service could keep the question going for ever. */
static AnswerResult read_list(Question *q, WireReader *r) {
        uint64_t last = q->answer.list.n_peers > 0 ? q->answer.list.peers[q->answer.list.n_peers - 1].id : 0;
        uint32_t count;

        wire_read_u64(r);
        count = wire_read_u32(r);
        for (uint32_t i = 0; i < count && !r->failed; i++) {
                DirectPeer *peer;
                uint64_t id = wire_read_u64(r);
                uint8_t state = wire_read_u8(r);
                WireText name = wire_read_text8(r);

                if (r->failed || id <= last || q->answer.list.n_peers >= ASK_LIST_MAX)
                        return ANSWER_BAD;
                peer = list_append_peer(q);
                if (!peer)
                        return ANSWER_NO_MEMORY;
                *peer = (DirectPeer) { .id = id, .state = state };
                copy_name(peer->name, name);
                last = id;
        }
        return count > 0 ? ANSWER_MORE : ANSWER_DONE;
}

static AnswerResult read_watch(Question *q, WireReader *r) {
        wire_read_u64(r);
        q->answer.state = wire_read_u8(r);
        return ANSWER_DONE;
}

/* As many fields as both sides know. */
static AnswerResult read_load(Question *q, WireReader *r) {
        uint8_t *p = (uint8_t *) &q->answer.load;

        q->answer.load = (DirectLoad) {};
        for (size_t i = 0; i < sizeof(DirectLoad) / sizeof(uint64_t) && r->end - r->p >= (ptrdiff_t) sizeof(uint64_t); i++) {
                uint64_t value = wire_read_u64(r);

                memcpy(p + i * sizeof(value), &value, sizeof(value));
        }
        return ANSWER_DONE;
}

static const struct {
        WireQuestion wire;
        void (*put)(const Question *q, WireWriter *w);
        AnswerResult (*read)(Question *q, WireReader *r);
} questions[_QUESTION_N] = {
        [QUESTION_ALIVE] = { WIRE_ASK_ALIVE, put_alive, read_alive },
        [QUESTION_RESOLVE] = { WIRE_ASK_RESOLVE, put_name, read_resolve },
        [QUESTION_LIST] = { WIRE_ASK_LIST, put_list, read_list },
        [QUESTION_WATCH] = { WIRE_ASK_WATCH, put_watch, read_watch },
        [QUESTION_LOAD] = { WIRE_ASK_LOAD, put_load, read_load },
        [QUESTION_NAME] = { WIRE_ASK_RESOLVE, put_name, read_resolve },
};

static int client_put_question(DirectClient *client, const Question *q) {
        uint8_t payload[ASK_PAYLOAD_MAX];
        WireWriter w = wire_writer(payload, sizeof(payload));
        WireHeader header = { .type = WIRE_ASK, .kind = (uint16_t) questions[q->kind].wire, .tag = question_get_tag(q) };
        int r;

        questions[q->kind].put(q, &w);
        if (client->session.state != SESSION_UP)
                return 0; /* client_renew_questions() does it */
        header.length = (uint32_t) wire_writer_size(&w);
        r = sender_control(&client->sender, &header, payload);
        if (r >= 0)
                client_output_later(client);
        return r;
}

int client_ask(DirectClient *client, Question *q) {
        int r;

        r = questions_add(&client->questions, q);
        if (r < 0) {
                question_free(q);
                return r;
        }
        r = client_put_question(client, q);
        if (r < 0) {
                questions_remove(&client->questions, q);
                question_free(q);
        }
        return r;
}

void client_renew_questions(DirectClient *client) {
        MapNode *next;

        for (MapNode *node = map_next(&client->questions.by_tag, NULL); node; node = next) {
                Question *q = container_of(node, Question, by_tag);

                next = map_next(&client->questions.by_tag, node);
                if (q->kind == QUESTION_WATCH) { /* watches_renew() asks for all */
                        questions_remove(&client->questions, q);
                        question_free(q);
                } else if (q->kind != QUESTION_CALL && client_put_question(client, q) < 0)
                        questions_finish(&client->questions, q, -ENOMEM, NULL, 0);
        }
}

static int client_answer_failed(DirectClient *client, Question *q, const WireHeader *header, const uint8_t *payload) {
        WireFailure failure;

        if (wire_failure_parse(payload, header->length, &failure) < 0)
                return -EPROTO;
        questions_finish(&client->questions, q, failure.error > 0 && failure.error <= ASK_ERROR_MAX ? -failure.error : -EREMOTEIO,
                         failure.text.data, failure.text.size);
        return 0;
}

int client_answer(DirectClient *client, const WireHeader *header, const uint8_t *payload) {
        WireReader reader = wire_reader(payload, header->length);
        AnswerResult result;
        Question *q;
        int r;

        q = questions_find(&client->questions, header->tag);
        if (!q || q->kind == QUESTION_CALL)
                return 0; /* to a question that nobody waits for any more */
        if (header->kind != questions[q->kind].wire)
                return -EPROTO;
        if (header->flags & WIRE_ANSWER_FAILED)
                return client_answer_failed(client, q, header, payload);
        result = questions[q->kind].read(q, &reader);
        if (result == ANSWER_BAD || reader.failed)
                return -EPROTO;
        r = result == ANSWER_NO_MEMORY ? -ENOMEM : result == ANSWER_MORE ? client_put_question(client, q) : q->result;
        if (r < 0 || result == ANSWER_DONE)
                questions_finish(&client->questions, q, r, NULL, 0);
        return 0;
}

/* What the library asks for its own purposes */

static void client_put_off_watches(DirectClient *client) {
        client->asks_watches = true;
        client_put_off(client);
}

static void watch_done(Question *q, void *userdata) {
        DirectClient *client = userdata;
        Watch *watch;

        watch = watches_find(&client->watches, q->target);
        if (watch)
                watch->tag = 0;
        if (q->result == -ENOSPC && !client->watches_all) {
                client->watches_all = true; /* who wants more than the service allows watches everyone */
                client_ask_watch(0, true, false, client);
        }
        if (q->result == -ENOMEM)
                client_put_off_watches(client); /* unwatched, it might be away for ever */
        if (q->result == 0 && q->target != 0)
                client_watch_answer(client, q->target, q->answer.state);
        else if (q->target != 0)
                sender_target_alive(&client->sender, q->target); /* if it is not, frames come back */
        question_free(q);
}

/* Nobody waits for an answer any more. */
static void client_drop_watch_question(DirectClient *client, uint64_t id) {
        Watch *watch;
        Question *q;

        watch = watches_find(&client->watches, id);
        q = watch && watch->tag != 0 ? questions_find(&client->questions, watch->tag) : NULL;
        if (!q)
                return;
        questions_remove(&client->questions, q);
        question_free(q);
        watch->tag = 0;
}

static void client_ask_watch_on(DirectClient *client, uint64_t id) {
        Question *q;
        Watch *watch;

        client_drop_watch_question(client, id);
        q = question_new(QUESTION_WATCH);
        if (!q) {
                client_put_off_watches(client);
                return;
        }
        q->target = id;
        q->done = watch_done;
        q->done_userdata = client;
        if (client_ask(client, q) < 0) {
                client_put_off_watches(client);
                return;
        }
        watch = watches_find(&client->watches, id);
        if (watch)
                watch->tag = question_get_tag(q);
}

void client_ask_watch(uint64_t id, bool on, bool is_gone, void *userdata) {
        DirectClient *client = userdata;
        uint8_t payload[9];

        if (client->session.state != SESSION_UP)
                return; /* watches_renew() asks for all */
        if (on) {
                client_ask_watch_on(client, id);
                return;
        }
        client_drop_watch_question(client, id);
        if (is_gone)
                return;
        wire_store_u64(payload, id);
        payload[8] = 0;
        /* Tag 0 is no question's: the answer is of no interest. Without memory, we get events that we do not want */
        if (sender_control(&client->sender, &(WireHeader) { .length = sizeof(payload), .type = WIRE_ASK, .kind = WIRE_ASK_WATCH },
                           payload) >= 0)
                client_output_later(client);
}

/* What becomes of a message to a name: `error` 0, it is sent to `id`. */
static void client_release_waiting(DirectClient *client, Waiting *waiting, const char *name, uint64_t id, int error) {
        uint64_t n_failed = 0;
        int failure = error;

        while (waiting) {
                Waiting *next = waiting->next;
                int r = error;

                waiting->envelope.target = id;
                if (r == 0)
                        r = sender_message(&client->sender, &waiting->envelope, waiting->data, waiting->size, waiting->sent);
                if (r < 0) {
                        failure = r;
                        n_failed += !waiting->sent;
                        if (waiting->sent) {
                                waiting->sent->next = NULL;
                                sender_tell(&client->sender, waiting->sent, r);
                        }
                }
                free(waiting);
                waiting = next;
        }
        if (n_failed > 0)
                client_push_event(client, &(DirectEvent) {
                        .type = DIRECT_EVENT_UNDELIVERED, .error = failure, .id = id, .name = name, .count = n_failed });
}

static void client_drop_name(DirectClient *client, Name *name, int error) {
        client_release_waiting(client, names_take_waiting(&client->names, name), name->text, 0, error);
        names_remove(&client->names, name);
}

void client_drop_names(DirectClient *client, int error) {
        Name *name;

        while ((name = names_find_unknown(&client->names)))
                client_drop_name(client, name, error);
}

static void name_done(Question *q, void *userdata) {
        DirectClient *client = userdata;
        uint64_t id = q->answer.id;
        int r = q->result;
        Name *name;

        name = names_find(&client->names, q->name);
        if (name && name->id == 0) {
                if (r == 0)
                        r = watches_use(&client->watches, id);
                if (r == 0) {
                        names_resolve(&client->names, name, id);
                        client_release_waiting(client, names_take_waiting(&client->names, name), name->text, id, 0);
                        client_output_later(client);
                } else
                        client_drop_name(client, name, r);
        }
        question_free(q);
}

int client_ask_name(DirectClient *client, const char *name) {
        Question *q;

        q = question_new(QUESTION_NAME);
        if (!q)
                return -ENOMEM;
        strncpy(q->name, name, sizeof(q->name) - 1);
        q->done = name_done;
        q->done_userdata = client;
        return client_ask(client, q);
}

/* How the program is told */

static void question_deliver(DirectClient *client, Notice *notice) {
        Question *q = container_of(notice, Question, notice);

        if (q->result < 0)
                client_set_error(client, "%s", q->text && *q->text ? q->text : strerror(-q->result));
        switch (q->kind) {
        case QUESTION_CALL:
                if (q->answer.reply)
                        client_taken(client, q->answer.reply, usec_now());
                q->handler.call(client, q->result, q->answer.reply, q->userdata);
                q->answer.reply = NULL;
                break;
        case QUESTION_ALIVE:
                q->handler.alive(client, q->result, q->result == 0 ? &q->answer.alive : NULL, q->userdata);
                break;
        case QUESTION_RESOLVE:
                q->handler.resolve(client, q->result, q->result == 0 ? q->answer.id : 0, q->userdata);
                break;
        case QUESTION_LIST:
                q->handler.list(client, q->result, q->result == 0 ? q->answer.list.peers : NULL,
                                q->result == 0 ? q->answer.list.n_peers : 0, q->userdata);
                break;
        default:
                break;
        }
        question_free(q);
}

static void question_cancel(DirectClient *client, Notice *notice) {
        Question *q = container_of(notice, Question, notice);

        if (q->kind == QUESTION_CALL)
                q->answer.reply = direct_message_free(q->answer.reply);
        q->result = -ECANCELED;
        question_deliver(client, notice);
}

void client_question_finished(Question *q, void *userdata) {
        static const NoticeType type = { question_deliver, question_cancel };
        DirectClient *client = userdata;
        size_t weight = sizeof(*q);

        if (q->kind == QUESTION_CALL) {
                watches_unuse(&client->watches, q->target);
                if (q->answer.reply)
                        weight += message_get_weight(q->answer.reply);
        } else if (q->kind == QUESTION_LIST)
                weight += q->answer.list.n_allocated * sizeof(DirectPeer);
        inbox_push(&client->inbox, &q->notice, &type, weight);
}

/* The public forms that do not wait */

static int client_start(DirectClient *client, QuestionKind kind, const char *name, uint64_t timeout, void *userdata,
                        Question **ret) {
        Question *q;
        int r;

        if (name && !wire_name_is_valid(name, strlen(name)))
                return -EINVAL;
        r = client_check_session(client);
        if (r < 0)
                return r;
        q = question_new(kind);
        if (!q)
                return -ENOMEM;
        if (name)
                strcpy(q->name, name);
        q->deadline = timeout == DIRECT_FOREVER ? USEC_NEVER : usec_add(usec_now(), timeout);
        q->userdata = userdata;
        *ret = q;
        return 0;
}

static int client_start_question(DirectClient *client, Question *q) {
        int r;

        r = client_ask(client, q);
        client_settle(client);
        return r;
}

int direct_alive_start(DirectClient *client, const char *name, uint64_t timeout_usec, DirectAliveHandler handler,
                       void *userdata) {
        Question *q;
        int r;

        if (!client || !name || !handler)
                return -EINVAL;
        r = client_start(client, QUESTION_ALIVE, name, timeout_usec, userdata, &q);
        if (r < 0)
                return r;
        q->handler.alive = handler;
        return client_start_question(client, q);
}

int direct_resolve_start(DirectClient *client, const char *name, uint64_t timeout_usec, DirectResolveHandler handler,
                         void *userdata) {
        Question *q;
        int r;

        if (!client || !name || !handler)
                return -EINVAL;
        r = client_start(client, QUESTION_RESOLVE, name, timeout_usec, userdata, &q);
        if (r < 0)
                return r;
        q->handler.resolve = handler;
        return client_start_question(client, q);
}

int direct_list_start(DirectClient *client, uint64_t timeout_usec, DirectListHandler handler, void *userdata) {
        Question *q;
        int r;

        if (!client || !handler)
                return -EINVAL;
        r = client_start(client, QUESTION_LIST, NULL, timeout_usec, userdata, &q);
        if (r < 0)
                return r;
        q->handler.list = handler;
        return client_start_question(client, q);
}

DirectPeer *direct_list_free(DirectPeer *peers) {
        free(peers);
        return NULL;
}

int direct_watch(DirectClient *client, uint64_t id, int on) {
        int r;

        if (!client || id >= WIRE_TARGET_GROUP)
                return -EINVAL;
        if (client->session.state == SESSION_IDLE)
                return -ENOTCONN;
        r = watches_set(&client->watches, id, on);
        client_settle(client);
        return r;
}
