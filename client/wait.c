/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The functions that block: each starts what its form without waiting starts, and runs the loop until that has come to its end.
 * Handlers are not called here; what they would be told stays in the inbox. */

#include <errno.h>
#include <string.h>

#include "client/client.h"

#define WAIT_OUTPUT_DELAY_USEC UINT64_C(200) /* direct_receive() lets output wait so long for company before it writes it */

/* Goes round: writes, sleeps, deals with what has come. */
static int client_go_round(DirectClient *client, WaitDone done, const void *userdata, uint64_t deadline) {
        bool more;
        int r;

        more = (!client->link.is_blocked && client_write(client)) || client_has_input(client);
        while (!done(client, userdata)) {
                if (intake_is_due(&client->intake) && !client->link.is_blocked)
                        (void) client_write(client);
                client_arm(client, false);
                r = client_turn(client, more ? 0 : deadline);
                if (r < 0)
                        return r;
                more = r > 0;
                if (done(client, userdata))
                        return 0;
                if (client->inbox.full && !client_wants_input(client))
                        return -ENOBUFS;
                if (deadline != USEC_NEVER && usec_now() >= deadline)
                        return -ETIMEDOUT;
        }
        return 0;
}

int client_wait_until(DirectClient *client, WaitDone done, const void *userdata, uint64_t deadline) {
        int r;

        if (client->is_dispatching)
                return -EDEADLK;
        client->n_inside++;
        client->is_waiting = true;
        r = client_go_round(client, done, userdata, deadline);
        client->is_waiting = false;
        client->n_inside--;
        return r;
}

static uint64_t deadline_after(uint64_t usec) {
        return usec == DIRECT_FOREVER ? USEC_NEVER : usec_add(usec_now(), usec);
}

int direct_wait(DirectClient *client, uint64_t usec) {
        if (!client)
                return -EINVAL;
        if (client->is_dispatching)
                return -EDEADLK;
        client_arm(client, true);
        return poller_wait_ready(&client->poller, usec == 0 ? 0 : deadline_after(usec));
}

static bool connect_done(const DirectClient *client, const void *userdata) {
        return client->session.state == SESSION_UP || client->session.state == SESSION_IDLE;
}

int direct_connect(DirectClient *client, const char *address) {
        int r;

        if (!client)
                return -EINVAL;
        if (client->is_dispatching)
                return -EDEADLK;
        r = session_start(client, address, true);
        if (r < 0)
                return r;
        r = client_wait_until(client, connect_done, NULL, USEC_NEVER); /* the session has a deadline of its own */
        client_settle(client);
        if (r < 0) {
                (void) direct_disconnect(client);
                return r;
        }
        return client->session.state == SESSION_UP ? 0 : client->session.failure;
}

static bool flush_written(const DirectClient *client, const void *userdata) {
        return client->session.state == SESSION_IDLE || (sender_is_empty(&client->sender) && client->names.n_waiting == 0);
}

static bool flush_done(const DirectClient *client, const void *userdata) {
        return client->session.state == SESSION_IDLE || client->flush_tag_back == client->flush_tag;
}

/* The kernel has it all. Should we close now while the service still has to read, and should the service send us anything
 * meanwhile, the kernels would end the connection with a reset and throw away what was not read. So the service is asked for an
 * answer, which is the last that it gives: it takes frames in order. */
static int flush_ping(DirectClient *client) {
        int r;

        if (!client->flush_is_due)
                return 0;
        r = sender_control(&client->sender, &(WireHeader) { .type = WIRE_PING, .tag = client->flush_tag + 1 }, NULL);
        if (r < 0)
                return r;
        client_output(client);
        client->flush_tag++;
        client->flush_is_due = false;
        return 0;
}

int direct_flush(DirectClient *client, uint64_t timeout_usec) {
        uint64_t deadline;
        int r;

        if (!client)
                return -EINVAL;
        if (client->is_dispatching)
                return -EDEADLK;
        r = client_check_session(client);
        if (r < 0)
                return r;
        deadline = deadline_after(timeout_usec);
        r = client_wait_until(client, flush_written, NULL, deadline);
        if (r >= 0 && client->session.state == SESSION_UP)
                r = flush_ping(client);
        if (r >= 0)
                r = client_wait_until(client, flush_done, NULL, deadline);
        client_settle(client);
        if (r < 0)
                return r;
        return client->session.state != SESSION_IDLE ? 0 : -ECONNRESET;
}

static bool receive_done(const DirectClient *client, const void *userdata) {
        return client->inbox.messages.first || client->session.state == SESSION_IDLE;
}

/* A program that finds its next message in memory each time does not get to the loop, and its answers still have to go out. */
static void client_write_if_due(DirectClient *client, uint64_t now) {
        if (client->output_since != USEC_NEVER && !client->link.is_blocked &&
            now >= usec_add(client->output_since, WAIT_OUTPUT_DELAY_USEC))
                (void) client_write(client);
}

int direct_receive(DirectClient *client, uint64_t timeout_usec, DirectMessage **ret_message) {
        Notice *notice;
        uint64_t now;
        int r;

        if (!client || !ret_message)
                return -EINVAL;
        if (client->is_dispatching && timeout_usec > 0)
                return -EDEADLK;
        now = client_clock(client);
        if (client->inbox.messages.first)
                client_write_if_due(client, sender_has_output(&client->sender) ? usec_now() : now);
        else if (client->session.state == SESSION_IDLE)
                return client_check_up(client);
        else if (!client->is_dispatching) {
                r = client_wait_until(client, receive_done, NULL, deadline_after(timeout_usec));
                if (r < 0) {
                        client_settle(client);
                        return r == -ETIMEDOUT && timeout_usec == 0 ? -EAGAIN : r;
                }
                now = client_clock(client);
        }
        notice = inbox_pop_message(&client->inbox);
        if (!notice) {
                client_settle(client);
                return client->session.state == SESSION_IDLE ? -ENOTCONN : -EAGAIN;
        }
        *ret_message = container_of(notice, DirectMessage, notice);
        client_taken_from_inbox(client, *ret_message, now);
        client_settle(client);
        return 0;
}

/* Questions: the answer comes back here instead of the inbox */

typedef struct Answer {
        Question *q; /* NULL as long as there is none */
} Answer;

static void answer_done(Question *q, void *userdata) {
        Answer *answer = userdata;

        answer->q = q;
}

static bool question_done(const DirectClient *client, const void *userdata) {
        return ((const Answer *) userdata)->q;
}

static Question *client_question(QuestionKind kind, uint64_t timeout, Answer *answer) {
        Question *q;

        q = question_new(kind);
        if (!q)
                return NULL;
        q->deadline = deadline_after(timeout);
        q->done = answer_done;
        q->done_userdata = answer;
        return q;
}

/* The question is out. On success *ret has the answer. */
static int client_wait_answer(DirectClient *client, Question *q, Answer *answer, Question **ret) {
        int r;

        r = client_wait_until(client, question_done, answer, USEC_NEVER);
        if (q->kind == QUESTION_CALL)
                watches_unuse(&client->watches, q->target);
        if (r < 0)
                questions_remove(&client->questions, q);
        else if (q->result < 0) {
                r = q->result;
                client_set_error(client, "%s", q->text && *q->text ? q->text : strerror(-r));
        }
        client_settle(client);
        if (r < 0) {
                question_free(q);
                return r;
        }
        *ret = q;
        return 0;
}

static int client_check_blocking(DirectClient *client) {
        if (client->is_dispatching)
                return -EDEADLK;
        return client_check_session(client);
}

/* Any question but a call */
static int client_ask_and_wait(DirectClient *client, QuestionKind kind, uint64_t id, const char *name, uint64_t timeout,
                               Question **ret) {
        Answer answer = {};
        Question *q;
        int r;

        if (name && !wire_name_is_valid(name, strlen(name)))
                return -EINVAL;
        r = client_check_blocking(client);
        if (r < 0)
                return r;
        q = client_question(kind, timeout, &answer);
        if (!q)
                return -ENOMEM;
        q->target = id;
        if (name)
                strcpy(q->name, name);
        r = client_ask(client, q);
        if (r < 0)
                return r;
        return client_wait_answer(client, q, &answer, ret);
}

int direct_call(DirectClient *client, uint64_t target, uint16_t kind, const void *data, size_t size, uint64_t timeout_usec,
                DirectMessage **ret_reply) {
        bool pauses = client && client_pauses(client, usec_now());
        Answer answer = {};
        Question *q;
        int r;

        if (!client || !ret_reply || (!data && size > 0) || target == 0 || target >= WIRE_TARGET_GROUP)
                return -EINVAL;
        r = client->is_dispatching ? -EDEADLK : client_check_session(client);
        if (r < 0)
                return r;
        r = client_reserve(client, size);
        if (r < 0)
                return r;
        q = client_question(QUESTION_CALL, timeout_usec, &answer);
        if (!q)
                return -ENOMEM;
        r = client_call(client, target, kind, data, size, q);
        if (r < 0)
                return r;
        r = client_wait_answer(client, q, &answer, &q);
        if (r < 0)
                return r;
        *ret_reply = q->answer.reply;
        client->taken_at = usec_now();
        client_taken(client, *ret_reply, client->taken_at);
        if (pauses && !client->link.is_blocked)
                (void) client_write(client);
        q->answer.reply = NULL;
        question_free(q);
        return 0;
}

static int client_alive(DirectClient *client, uint64_t id, const char *name, uint64_t timeout, DirectAlive *ret) {
        Question *q;
        int r;

        r = client_ask_and_wait(client, QUESTION_ALIVE, id, name, timeout, &q);
        if (r < 0)
                return r;
        *ret = q->answer.alive;
        question_free(q);
        return 0;
}

int direct_alive(DirectClient *client, const char *name, uint64_t timeout_usec, DirectAlive *ret_alive) {
        if (!client || !name || !ret_alive)
                return -EINVAL;
        return client_alive(client, 0, name, timeout_usec, ret_alive);
}

int direct_alive_id(DirectClient *client, uint64_t id, uint64_t timeout_usec, DirectAlive *ret_alive) {
        if (!client || !ret_alive || id == 0 || id >= WIRE_TARGET_GROUP)
                return -EINVAL;
        return client_alive(client, id, NULL, timeout_usec, ret_alive);
}

int direct_resolve(DirectClient *client, const char *name, uint64_t timeout_usec, uint64_t *ret_id) {
        Question *q;
        int r;

        if (!client || !name || !ret_id)
                return -EINVAL;
        r = client_ask_and_wait(client, QUESTION_RESOLVE, 0, name, timeout_usec, &q);
        if (r < 0)
                return r;
        *ret_id = q->answer.id;
        question_free(q);
        return 0;
}

int direct_list(DirectClient *client, uint64_t timeout_usec, DirectPeer **ret_peers, size_t *ret_n_peers) {
        Question *q;
        int r;

        if (!client || !ret_peers || !ret_n_peers)
                return -EINVAL;
        r = client_ask_and_wait(client, QUESTION_LIST, 0, NULL, timeout_usec, &q);
        if (r < 0)
                return r;
        *ret_peers = q->answer.list.peers;
        *ret_n_peers = q->answer.list.n_peers;
        q->answer.list.peers = NULL;
        question_free(q);
        return 0;
}

int direct_load(DirectClient *client, uint64_t timeout_usec, DirectLoad *ret_load, size_t size) {
        Question *q;
        int r;

        if (!client || !ret_load || size == 0)
                return -EINVAL;
        r = client_ask_and_wait(client, QUESTION_LOAD, 0, NULL, timeout_usec, &q);
        if (r < 0)
                return r;
        memset(ret_load, 0, size);
        memcpy(ret_load, &q->answer.load, size < sizeof(q->answer.load) ? size : sizeof(q->answer.load));
        question_free(q);
        return 0;
}
