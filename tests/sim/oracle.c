/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Owns a record of each message. A payload says which it is and repeats what the record says, so that a mix-up of two shows. */

#include <inttypes.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "tests/sim/alloc.h"
#include "tests/sim/broadcasts.h"
#include "tests/sim/model.h"
#include "tests/sim/oracle.h"

#define MESSAGE_MAGIC UINT32_C(0x314d4953)

enum {
        LARGE_PARTS_MAX = 256,
        PATTERN_SIZE = 65521,
        PATTERN_STEP = 4099,
};

/* A large message that arrives in parts */
typedef struct Parts {
        Message *message;
        const Actor *receiver;
        unsigned incarnation;
        uint64_t source;
        uint32_t stream;
        bool is_broadcast;
        uint64_t n; /* bytes so far */
} Parts;

/* The last of each kind from one client to another */
typedef struct Pair {
        uint64_t source, target;
        bool named;
        uint64_t last;
} Pair;

/* Messages without a handler, from one handle to one id, that failed */
typedef struct Failures {
        const Actor *sender;
        unsigned incarnation;
        uint64_t target;
        uint64_t n_told, n_silent, n_missing; /* as events said; all that were sent; those that were not received */
} Failures;

static struct {
        Message **messages;
        size_t n, n_allocated;
        Parts parts[LARGE_PARTS_MAX];
        size_t n_parts;
        Pair *pairs;
        size_t n_pairs;
        Failures *failures;
        size_t n_failures;
        bool with_starvation; /* memory may be short, and events lost with it */
        uint64_t n_sent, n_received;
} oracle;

/* What payloads are made of: a table of random bytes, over and over, from a place that depends on the message. Its length is
 * prime, so that no two frames of a message are alike. */
static uint8_t pattern[2 * PATTERN_SIZE];

static void pattern_init(void) {
        static bool is_done;
        Rng rng = rng_derive(1, 1);

        if (is_done)
                return;
        is_done = true;
        for (size_t i = 0; i < PATTERN_SIZE; i++)
                pattern[i] = pattern[i + PATTERN_SIZE] = (uint8_t) rng_next(&rng);
}

void oracle_init(bool with_starvation, bool with_large_broadcasts) {
        memset(&oracle, 0, sizeof(oracle));
        pattern_init();
        oracle.with_starvation = with_starvation;
        broadcasts_init(with_large_broadcasts);
}

void oracle_deinit(void) {
        for (size_t i = 0; i < oracle.n; i++)
                free(oracle.messages[i]);
        free(oracle.messages);
        free(oracle.pairs);
        free(oracle.failures);
        broadcasts_clear();
}

uint64_t oracle_get_n_sent(void) {
        return oracle.n_sent;
}

uint64_t oracle_get_n_received(void) {
        return oracle.n_received;
}

/* Sending */

Message *oracle_new_message(Actor *sender, MessageClass class, uint64_t target, Actor *target_actor, uint64_t size) {
        Message *m = sim_must(calloc(1, sizeof(*m)));

        if (oracle.n == oracle.n_allocated) {
                oracle.n_allocated = oracle.n_allocated * 2 + 256;
                oracle.messages = sim_must(realloc(oracle.messages, oracle.n_allocated * sizeof(Message *)));
        }
        *m = (Message) { .number = oracle.n,
                         .class = class,
                         .sender = sender,
                         .incarnation = sender->incarnation,
                         .source = direct_get_id(sender->client),
                         .target = target,
                         .target_actor = target_actor,
                         .size = size,
                         .sent_usec = world_now,
                         .service_number = sender->conn ? sender->conn->service_number : 0 };
        oracle.messages[oracle.n++] = m;
        return m;
}

/* Where the payload at `offset` lies in there; it goes on for *ret_size of `size` bytes. */
static const uint8_t *pattern_find(const Message *m, uint64_t offset, size_t size, size_t *ret_size) {
        *ret_size = size < PATTERN_SIZE ? size : PATTERN_SIZE;
        return pattern + (m->number * PATTERN_STEP + offset) % PATTERN_SIZE;
}

/* Refused ones do not count: their number is given again. */
uint64_t oracle_next_broadcast(uint64_t source, MessageClass class) {
        uint64_t n = 1;

        for (size_t i = 0; i < oracle.n; i++)
                n += oracle.messages[i]->class == class && oracle.messages[i]->source == source &&
                     oracle.messages[i]->order > 0;
        return n;
}

void oracle_fill(const Message *m, void *data) {
        uint8_t *p = data;

        wire_store_u32(p, MESSAGE_MAGIC);
        wire_store_u32(p + 4, m->class);
        wire_store_u64(p + 8, m->number);
        wire_store_u64(p + 16, m->source);
        wire_store_u64(p + 24, m->target);
        wire_store_u32(p + 32, m->sender->number);
        wire_store_u32(p + 36, m->incarnation);
        wire_store_u64(p + 40, m->order);
        wire_store_u64(p + 48, m->size);
        wire_store_u64(p + 56, m->number ^ MESSAGE_MAGIC);
        for (size_t i = MESSAGE_SIZE_MIN, n; i < m->size; i += n) {
                const uint8_t *from = pattern_find(m, i, m->size - i, &n);

                memcpy(p + i, from, n);
        }
}

void oracle_not_sent(Message *m) {
        sim_require(m == oracle.messages[oracle.n - 1]);
        if (m->n_outcomes > 0)
                world_violation("message %" PRIu64 " was refused, and its handler called", m->number);
        free(m);
        oracle.n--;
}

void oracle_sent(Message *m) {
        oracle.n_sent++;
        world_trace(m->number, m->size);
        world_say("c%u: message %" PRIu64 " class %d of %" PRIu64 " bytes to %" PRIu64, m->sender->number, m->number, m->class,
                  m->size, m->target);
}

void oracle_outcome(Message *m, int result) {
        world_say("c%u: message %" PRIu64 " has outcome %d", m->sender->number, m->number, result);
        world_trace(m->number, (uint64_t) (int64_t) result);
        m->result = result;
        if (++m->n_outcomes > 1)
                world_violation("message %" PRIu64 " has %u outcomes", m->number, m->n_outcomes);
        if (result == 0 && m->is_cut_short)
                world_violation("message %" PRIu64 " is reported as delivered and was cut short", m->number);
        if (m->class != MESSAGE_REQUEST && m->class != MESSAGE_UNRELIABLE && !message_is_broadcast(m->class) && result == 0 &&
            m->n_received == 0)
                world_violation("message %" PRIu64 " is reported as delivered and was not received", m->number);
        if (m->class != MESSAGE_REQUEST && result == -ETIME && m->n_received > 0)
                world_violation("message %" PRIu64 " is reported as never sent and was received", m->number);
        if (m->class != MESSAGE_REQUEST && result == -ETIME && !m->has_time_to_live)
                world_violation("message %" PRIu64 " has no time to live and expired", m->number);
}

static Failures *failures_get(const Actor *sender, unsigned incarnation, uint64_t target) {
        for (size_t i = 0; i < oracle.n_failures; i++)
                if (oracle.failures[i].sender == sender && oracle.failures[i].incarnation == incarnation &&
                    oracle.failures[i].target == target)
                        return &oracle.failures[i];
        oracle.failures = sim_must(realloc(oracle.failures, (oracle.n_failures + 1) * sizeof(Failures)));
        oracle.failures[oracle.n_failures] = (Failures) { .sender = sender, .incarnation = incarnation, .target = target };
        return &oracle.failures[oracle.n_failures++];
}

void oracle_undelivered(Actor *sender, const DirectEvent *event) {
        failures_get(sender, sender->incarnation, event->id)->n_told += event->count;
        world_say("c%u: %" PRIu64 " messages to %" PRIu64 " undelivered, %d", sender->number, event->count, event->id,
                  event->error);
        world_trace(event->id, event->count);
}

/* Receiving */

static Message *message_find(const uint8_t *data, size_t size) {
        Message *m;
        uint64_t number;

        if (size < MESSAGE_SIZE_MIN || wire_load_u32(data) != MESSAGE_MAGIC)
                return NULL;
        number = wire_load_u64(data + 8);
        if (number >= oracle.n)
                return NULL;
        m = oracle.messages[number];
        if (wire_load_u32(data + 4) != m->class || wire_load_u64(data + 16) != m->source ||
            wire_load_u64(data + 24) != m->target || wire_load_u64(data + 40) != m->order || wire_load_u64(data + 48) != m->size)
                return NULL;
        return m;
}

static bool content_is_right(const Message *m, const uint8_t *data, uint64_t offset, size_t size) {
        for (size_t i = offset < MESSAGE_SIZE_MIN ? (size_t) (MESSAGE_SIZE_MIN - offset) : 0, n; i < size; i += n) {
                const uint8_t *from = pattern_find(m, offset + i, size - i, &n);

                if (memcmp(data + i, from, n) != 0)
                        return false;
        }
        return true;
}

static void check_address(const Actor *receiver, const Message *m, const DirectMessage *message) {
        uint64_t id = direct_get_id(receiver->client), source = direct_message_get_source(message);

        /* What waits for the id of a name may outlast the session that it was sent in */
        if (source != m->source && (m->class != MESSAGE_NAMED || source < m->source || !model_get_name(source) ||
                                    strcmp(model_get_name(source), m->sender->name) != 0))
                world_violation("message %" PRIu64 " of %" PRIu64 " came from %" PRIu64, m->number, m->source, source);
        if (message_is_broadcast(m->class) != direct_message_is_broadcast(message))
                world_violation("message %" PRIu64 " is a broadcast, or is not", m->number);
        if (message_is_broadcast(m->class))
                return;
        if (m->target != 0 && m->target != id)
                world_violation("message %" PRIu64 " to %" PRIu64 " was received by %" PRIu64, m->number, m->target, id);
        if (m->target_actor != receiver)
                world_violation("message %" PRIu64 " to c%u was received by c%u", m->number, m->target_actor->number,
                                receiver->number);
}

static void check_order(const Actor *receiver, const Message *m, uint64_t source) {
        uint64_t target = direct_get_id(receiver->client);
        bool named = m->class == MESSAGE_NAMED;
        Pair *pair = NULL;

        for (size_t i = 0; i < oracle.n_pairs && !pair; i++)
                if (oracle.pairs[i].source == source && oracle.pairs[i].target == target && oracle.pairs[i].named == named)
                        pair = &oracle.pairs[i];
        if (!pair) {
                oracle.pairs = sim_must(realloc(oracle.pairs, (oracle.n_pairs + 1) * sizeof(Pair)));
                pair = &oracle.pairs[oracle.n_pairs++];
                *pair = (Pair) { .source = source, .target = target, .named = named };
        } else if (m->number <= pair->last)
                world_violation("message %" PRIu64 " came after %" PRIu64 ", from %" PRIu64 " to %" PRIu64, m->number, pair->last,
                                source, target);
        pair->last = m->number;
}

static Message *message_complete(Actor *receiver, Message *m, uint64_t source) {
        oracle.n_received++;
        world_trace(m->number, receiver->number);
        if (message_is_broadcast(m->class)) {
                broadcasts_received(receiver, m);
                return m;
        }
        if (++m->n_received > 1)
                world_violation("message %" PRIu64 " was received %u times", m->number, m->n_received);
        if (m->n_outcomes > 0 && m->result == -ETIME && m->class != MESSAGE_REQUEST)
                world_violation("message %" PRIu64 " was received after it had expired", m->number);
        if (m->class != MESSAGE_LARGE && m->class != MESSAGE_UNRELIABLE)
                check_order(receiver, m, source);
        return m;
}

static Parts *parts_find(const Actor *receiver, const DirectMessage *message) {
        for (size_t i = 0; i < oracle.n_parts; i++)
                if (oracle.parts[i].receiver == receiver && oracle.parts[i].incarnation == receiver->incarnation &&
                    oracle.parts[i].source == direct_message_get_source(message) &&
                    oracle.parts[i].stream == direct_message_get_stream(message) &&
                    oracle.parts[i].is_broadcast == direct_message_is_broadcast(message))
                        return &oracle.parts[i];
        return NULL;
}

static void parts_begin(const Actor *receiver, const DirectMessage *message, Message *m) {
        Parts *p = parts_find(receiver, message);

        sim_require(oracle.n_parts < LARGE_PARTS_MAX);
        if (!p)
                p = &oracle.parts[oracle.n_parts++];
        *p = (Parts) { .message = m,
                       .receiver = receiver,
                       .incarnation = receiver->incarnation,
                       .source = direct_message_get_source(message),
                       .stream = direct_message_get_stream(message),
                       .is_broadcast = direct_message_is_broadcast(message) };
}

static Message *part_received(Actor *receiver, DirectMessage *message) {
        const uint8_t *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);
        uint64_t offset = direct_message_get_offset(message);
        Message *m;
        Parts *p;

        if (offset == 0 && size > 0) {
                m = message_find(data, size);
                if (!m) {
                        world_violation("c%u: the first part of a message is damaged", receiver->number);
                        return NULL;
                }
                check_address(receiver, m, message);
                parts_begin(receiver, message, m);
        }
        p = parts_find(receiver, message);
        if (!p || (direct_message_is_last(message) && direct_message_is_failed(message)))
                return NULL;
        if (offset != p->n || !content_is_right(p->message, data, offset, size))
                world_violation("message %" PRIu64 ": the part at %" PRIu64 " is damaged", p->message->number, offset);
        p->n += size;
        if (!direct_message_is_last(message))
                return NULL;
        if (p->n != p->message->size)
                world_violation("message %" PRIu64 " ends at %" PRIu64 " of %" PRIu64, p->message->number, p->n,
                                p->message->size);
        return message_complete(receiver, p->message, p->source);
}

Message *oracle_received(Actor *receiver, DirectMessage *message) {
        const uint8_t *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);
        Message *m;

        if (direct_message_get_stream(message) != 0)
                return part_received(receiver, message);
        m = message_find(data, size);
        if (!m || m->size != size || !content_is_right(m, data, 0, size)) {
                world_violation("c%u: a message of %zu bytes from %" PRIu64 ", that says it is %" PRIu64 ", is damaged",
                                receiver->number, size, direct_message_get_source(message),
                                (size >= 16 ? wire_load_u64(data + 8) : 0));
                return NULL;
        }
        world_say("c%u: received message %" PRIu64, receiver->number, m->number);
        check_address(receiver, m, message);
        return message_complete(receiver, m, direct_message_get_source(message));
}

void oracle_replied(Message *request, DirectMessage *reply) {
        Message *m = message_find(direct_message_get_data(reply), direct_message_get_size(reply));

        if (!m || m->class != MESSAGE_REPLY || m->order != request->number || m->size != direct_message_get_size(reply) ||
            !content_is_right(m, direct_message_get_data(reply), 0, direct_message_get_size(reply)))
                world_violation("the reply to message %" PRIu64 " is damaged", request->number);
        else if (++m->n_received > 1)
                world_violation("reply %" PRIu64 " was received twice", m->number);
}

void oracle_lost(Actor *receiver, uint64_t source, uint64_t count) {
        world_say("c%u: %" PRIu64 " broadcasts of %" PRIu64 " are lost", receiver->number, count, source);
        world_trace(source, count);
        broadcasts_lost(receiver, source, count);
}

void oracle_new_session(Actor *a) {
        if (a->id != direct_get_id(a->client))
                a->former_id = a->id;
        a->id = direct_get_id(a->client);
        a->session_since = world_now;
        a->session_number = a->conn ? a->conn->service_number : 0;
}

/* Checks */

void oracle_client_freed(Actor *a) {
        for (size_t i = 0; i < oracle.n; i++) {
                const Message *m = oracle.messages[i];

                if (m->sender == a && m->incarnation == a->incarnation && m->has_handler && m->n_outcomes != 1)
                        world_violation("message %" PRIu64 ": the handle was freed and it has %u outcomes", m->number,
                                        m->n_outcomes);
        }
}

void oracle_check_client(Actor *a) {
        uint64_t limit = a->plan->send_buffer > 0 ? a->plan->send_buffer : CLIENT_SEND_BUFFER_DEFAULT;

        /* One message is taken when there is less than that, and replies are taken always */
        if (direct_get_queued(a->client) > limit + 4 * 1024 * 1024)
                world_violation("c%u holds %" PRIu64 " bytes", a->number, direct_get_queued(a->client));
        if (a->wants_writable && !a->is_finished && direct_get_queued(a->client) <= limit / 2 &&
            client_has_room(a->client, a->client->refused_size) && !actor_is_readable(a) && !oracle.with_starvation)
                world_violation("c%u has room for more and was not told", a->number);
}

static void check_message(const Message *m) {
        if (m->has_handler && m->n_outcomes != 1)
                world_violation("message %" PRIu64 " (class %d, c%u to c%u) has %u outcomes, and was received %u times",
                                m->number, m->class, m->sender->number, m->target_actor ? m->target_actor->number : 99,
                                m->n_outcomes, m->n_received);
}

/* Of messages that nobody asked about, those that were not received must have been told of. */
static void check_silent(void) {
        for (size_t i = 0; i < oracle.n; i++) {
                const Message *m = oracle.messages[i];
                Failures *f;

                if (m->has_handler || m->target == 0 || m->is_cut_short ||
                    (m->class != MESSAGE_SMALL && m->class != MESSAGE_LARGE) || m->incarnation != m->sender->incarnation ||
                    !m->sender->client)
                        continue;
                f = failures_get(m->sender, m->incarnation, m->target);
                f->n_silent++;
                f->n_missing += m->n_received == 0;
        }
        for (size_t i = 0; i < oracle.n_failures; i++) {
                const Failures *f = &oracle.failures[i];

                if (f->n_missing > f->n_told)
                        world_violation("c%u: %" PRIu64 " messages to %" PRIu64 " were not received, and %" PRIu64 " of %" PRIu64
                                        " reported",
                                        f->sender->number, f->n_missing, f->target, f->n_told, f->n_silent);
        }
}

void oracle_check_end(void) {
        for (size_t i = 0; i < oracle.n; i++)
                check_message(oracle.messages[i]);
        for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++) {
                const Actor *a = &actors[i];

                if (a->client && !a->is_finished && a->wants_writable && !oracle.with_starvation)
                        world_violation("c%u waits for DIRECT_EVENT_WRITABLE", a->number);
                if (a->client && !a->is_finished && !direct_is_connected(a->client) && !oracle.with_starvation)
                        world_violation("c%u is not connected", a->number);
        }
        if (!oracle.with_starvation)
                check_silent();
        if (!oracle.with_starvation)
                broadcasts_check_end(oracle.messages, oracle.n);
}
