/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Everyone to everyone, as fast as it goes. A message says from whom, to whom, and which of the pair it is, under a checksum.
 *
 * Messages are noted before the library is given them, some at a time; what it has no room for stays planned, and is the first
 * that it is given later. So all that anyone can receive is in the log of who sent it, and a process that has lived owes each an
 * outcome. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

#define PEERS_MAX 1024
#define PLANNED_MAX 32     /* notes in one write */
#define FRAME_MAX 65536    /* larger messages may be passed by others */
#define MESSAGE_MAX 300000 /* five frames: all of them must come together again */
#define MORTAL_IN 50       /* one of so many has a time to live, */
#define LIFE_USEC 20000    /* which some outlive when links are lost, and most do not */
#define KIND 7

typedef struct Header {
        uint32_t crc; /* of all that follows */
        uint32_t size;
        uint64_t source, target, sequence;
} Header;

typedef struct Peer {
        uint64_t id; /* the highest that its name was ever seen with: ids are never used again */
        uint64_t n_sent;
        int is_gone;
} Peer;

typedef struct Message {
        Program *program;
        uint64_t own, target, sequence;
        uint32_t size;
        int is_mortal;
} Message;

static struct {
        Peer peers[PEERS_MAX];
        size_t n_peers, next, own_index;
        Message *planned[PLANNED_MAX];
        size_t first_planned, n_planned;
        uint64_t n_taken, n_under_way, random; /* n_taken: planned, ever */
        int is_blocked, is_started;
        uint32_t crc_table[256];
        unsigned char noise[1 << 20], data[MESSAGE_MAX];
} exchange;

static uint64_t random_number(uint64_t limit) {
        exchange.random ^= exchange.random << 13;
        exchange.random ^= exchange.random >> 7;
        exchange.random ^= exchange.random << 17;
        return (exchange.random >> 11) % limit;
}

/* Most are small, as in real programs; all ways that the library treats sizes differently are taken. */
static uint32_t random_size(void) {
        uint64_t which = random_number(1000);
        uint64_t limit = which < 900 ? 512 : which < 990 ? 8192 : which < 999 ? FRAME_MAX - sizeof(Header) + 1 :
                                                                                MESSAGE_MAX - sizeof(Header) + 1;

        return (uint32_t)(sizeof(Header) + random_number(limit));
}

static void make_tables(uint64_t seed) {
        for (uint32_t i = 0; i < 256; i++) {
                uint32_t c = i;

                for (int k = 0; k < 8; k++)
                        c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
                exchange.crc_table[i] = c;
        }
        exchange.random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
        for (size_t i = 0; i < sizeof(exchange.noise); i++)
                exchange.noise[i] = (unsigned char)random_number(256);
}

/* CRC-32 of what stands behind the field `crc` */
static uint32_t checksum(const unsigned char *data, size_t size) {
        uint32_t c = UINT32_MAX;

        for (size_t i = sizeof(uint32_t); i < size; i++)
                c = exchange.crc_table[(c ^ data[i]) & 0xff] ^ (c >> 8);
        return ~c;
}

static const void *fill(const Message *message) {
        Header header = { .size = message->size, .source = message->own, .target = message->target,
                          .sequence = message->sequence };
        size_t n = message->size - sizeof(header);

        memcpy(exchange.data, &header, sizeof(header));
        memcpy(exchange.data + sizeof(header), exchange.noise + random_number(sizeof(exchange.noise) - n), n);
        header.crc = checksum(exchange.data, message->size);
        memcpy(exchange.data, &header.crc, sizeof(header.crc));
        return exchange.data;
}

static void note_outcome(const Message *message, uint8_t flags, int result) {
        record_log_add(&message->program->log,
                       (Record){ .type = RECORD_OUTCOME, .flags = flags, .value = result, .own = message->own,
                                 .peer = message->target, .sequence = message->sequence });
}

static void finish_if_done(Program *program) {
        if (exchange.n_taken == program->n_messages && exchange.n_planned == 0 && exchange.n_under_way == 0)
                program_finish(program);
}

static void exchange_left(Program *program, uint64_t id) {
        for (size_t i = 0; i < exchange.n_peers; i++)
                if (exchange.peers[i].id == id)
                        exchange.peers[i].is_gone = 1;
}

static void on_outcome(DirectClient *client, int result, void *userdata) {
        Message *message = userdata;
        Program *program = message->program;

        note_outcome(message, 0, result);
        if (result == -ENXIO)
                exchange_left(program, message->target);
        free(message);
        exchange.n_under_way--;
        finish_if_done(program);
}

static Peer *next_peer(void) {
        for (size_t i = 0; i < exchange.n_peers; i++) {
                size_t index = exchange.next;

                exchange.next = (exchange.next + 1) % exchange.n_peers;
                if (index != exchange.own_index && exchange.peers[index].id && !exchange.peers[index].is_gone)
                        return &exchange.peers[index];
        }
        return NULL;
}

static void plan(Program *program) {
        exchange.first_planned = 0;
        while (exchange.n_planned < PLANNED_MAX && exchange.n_taken < program->n_messages) {
                Peer *peer = next_peer();
                Message *message;

                if (!peer)
                        break;
                message = malloc(sizeof(Message));
                if (!message)
                        program_fail(program, "plan", -ENOMEM);
                *message = (Message){ .program = program, .own = program->id, .target = peer->id, .sequence = ++peer->n_sent,
                                      .size = random_size(), .is_mortal = random_number(MORTAL_IN) == 0 };
                exchange.planned[exchange.n_planned++] = message;
                exchange.n_taken++;
                record_log_add(&program->log, (Record){ .type = RECORD_SEND,
                                                        .flags = (message->size > FRAME_MAX ? RECORD_LARGE : 0) |
                                                                 (message->is_mortal ? RECORD_MORTAL : 0),
                                                        .value = (int32_t)message->size, .own = message->own,
                                                        .peer = message->target, .sequence = message->sequence });
        }
        record_log_write(&program->log);
}

static Message *take_planned(void) {
        exchange.n_planned--;
        return exchange.planned[exchange.first_planned++];
}

static int exchange_turn(Program *program) {
        size_t n;

        if (exchange.is_blocked || !exchange.is_started)
                return 0;
        if (exchange.n_planned == 0)
                plan(program);
        n = exchange.n_planned;
        while (exchange.n_planned > 0) {
                Message *message = exchange.planned[exchange.first_planned];
                DirectSendOptions options = { .time_to_live_usec = message->is_mortal ? LIFE_USEC : 0, .handler = on_outcome,
                                              .userdata = message };
                int r;

                r = direct_send_with(program->client, message->target, KIND, fill(message), message->size, &options,
                                     sizeof(options));
                if (r == -EAGAIN || r == -ENOTCONN) {
                        exchange.is_blocked = 1;
                        return 0;
                }
                (void)take_planned();
                if (r >= 0) {
                        exchange.n_under_way++;
                        continue;
                }
                note_outcome(message, RECORD_REFUSED, r);
                free(message);
        }
        if (n > 0)
                finish_if_done(program);
        return n > 0 && exchange.n_taken < program->n_messages;
}

static void exchange_writable(Program *program) {
        exchange.is_blocked = 0;
}

/* What was planned says who sent it, and that is nobody any more. All pairs begin anew. */
static void exchange_session(Program *program) {
        while (exchange.n_planned > 0) {
                Message *message = take_planned();

                note_outcome(message, RECORD_REFUSED, -ECONNRESET);
                free(message);
        }
        for (size_t i = 0; i < exchange.n_peers; i++)
                exchange.peers[i].n_sent = 0;
}

static size_t index_of(Program *program, const char *name) {
        size_t n = strlen(program->prefix);
        unsigned long index;
        char *rest;

        if (strncmp(name, program->prefix, n) != 0)
                return SIZE_MAX;
        index = strtoul(name + n, &rest, 10);
        return rest == name + n || *rest || index >= exchange.n_peers ? SIZE_MAX : index;
}

static void exchange_joined(Program *program, const char *name, uint64_t id) {
        size_t index = index_of(program, name), n_seen = 0;

        /* The answer to a question may be older than an event that has come before it. Who is there after it was gone is sent to
         * again: it must get that, or nobody may say that it has got it. */
        if (index == SIZE_MAX || id < exchange.peers[index].id)
                return;
        if (id == exchange.peers[index].id)
                exchange.peers[index].is_gone = 0;
        else
                exchange.peers[index] = (Peer){ .id = id };
        for (size_t i = 0; i < exchange.n_peers; i++)
                n_seen += exchange.peers[i].id || i == exchange.own_index;
        exchange.is_started |= n_seen == exchange.n_peers;
}

static void exchange_message(Program *program, const DirectMessage *message) {
        const unsigned char *data = direct_message_get_data(message);
        size_t size = direct_message_get_size(message);
        uint64_t source = direct_message_get_source(message);
        Record record = { .type = RECORD_RECEIPT, .flags = size > FRAME_MAX ? RECORD_LARGE : 0, .value = (int32_t)size,
                          .own = program->id, .peer = source };
        Header header = {};

        if (size >= sizeof(header))
                memcpy(&header, data, sizeof(header));
        if (header.size != size || direct_message_get_total(message) != size || direct_message_get_kind(message) != KIND ||
            header.source != source || header.crc != checksum(data, size))
                record.flags |= RECORD_DAMAGED;
        else {
                /* Whether this process has ever been it, the checker looks up */
                record.own = header.target;
                record.sequence = header.sequence;
        }
        record_log_add(&program->log, record);
}

static void exchange_start(Program *program) {
        if (!program->prefix || program->n_clients < 2 || program->n_clients > PEERS_MAX)
                program_fail(program, "--prefix= and --clients=", -EINVAL);
        make_tables(program->seed);
        exchange.n_peers = program->n_clients;
        exchange.own_index = index_of(program, program->name);
        if (exchange.own_index == SIZE_MAX)
                program_fail(program, program->name, -EINVAL);
        exchange.next = (exchange.own_index + 1) % exchange.n_peers;
        finish_if_done(program);
}

const Mode exchange_mode = {
        .name = "exchange",
        .start = exchange_start,
        .session = exchange_session,
        .writable = exchange_writable,
        .joined = exchange_joined,
        .left = exchange_left,
        .message = exchange_message,
        .more = finish_if_done,
        .turn = exchange_turn,
};
