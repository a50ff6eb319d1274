/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Where each broadcast is one frame, numbers of broadcasts and numbers of frames are the same, and counts must be. With large
 * ones, which small ones pass, an account of what is lost is in frames: it must cover what was not received, and may be more. A
 * large one of which a frame is lost is lost as a whole, and so are all others that are on their way then. */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/broadcasts.h"

typedef struct Heard {
        uint64_t receiver, source; /* ids */
        uint64_t last;             /* order of the last one; 0: none */
        uint64_t lost_since;       /* then */
        uint64_t n_received, n_lost;
} Heard;

/* A large one that was received */
typedef struct Whole {
        uint64_t receiver;
        const Message *message;
} Whole;

static struct {
        bool with_large;
        Heard *records;
        size_t n;
        Whole *wholes;
        size_t n_wholes;
} heard;

void broadcasts_init(bool with_large) {
        memset(&heard, 0, sizeof(heard));
        heard.with_large = with_large;
}

void broadcasts_clear(void) {
        free(heard.records);
        free(heard.wholes);
        memset(&heard, 0, sizeof(heard));
}

static Heard *broadcasts_get(uint64_t receiver, uint64_t source) {
        for (size_t i = 0; i < heard.n; i++)
                if (heard.records[i].receiver == receiver && heard.records[i].source == source)
                        return &heard.records[i];
        heard.records = sim_must(realloc(heard.records, (heard.n + 1) * sizeof(Heard)));
        heard.records[heard.n] = (Heard) { .receiver = receiver, .source = source };
        return &heard.records[heard.n++];
}

static bool has_whole(uint64_t receiver, const Message *m) {
        for (size_t i = 0; i < heard.n_wholes; i++)
                if (heard.wholes[i].receiver == receiver && heard.wholes[i].message == m)
                        return true;
        return false;
}

static void received_large(const Actor *receiver, const Message *m) {
        uint64_t id = direct_get_id(receiver->client);

        if (has_whole(id, m))
                world_violation("c%u: large broadcast %" PRIu64 " of %" PRIu64 " came twice", receiver->number, m->order,
                                m->source);
        heard.wholes = sim_must(realloc(heard.wholes, (heard.n_wholes + 1) * sizeof(Whole)));
        heard.wholes[heard.n_wholes++] = (Whole) { id, m };
}

static bool is_accounted(uint64_t n_missing, uint64_t n_lost) {
        return heard.with_large ? n_missing <= n_lost : n_missing == n_lost;
}

void broadcasts_received(Actor *receiver, const Message *m) {
        Heard *h = broadcasts_get(direct_get_id(receiver->client), m->source);

        if (m->class == MESSAGE_BROADCAST_LARGE) {
                received_large(receiver, m);
                return;
        }
        if (m->order <= h->last)
                world_violation("c%u: broadcast %" PRIu64 " of %" PRIu64 " came after %" PRIu64, receiver->number, m->order,
                                m->source, h->last);
        else if (h->last > 0 && !is_accounted(m->order - h->last - 1, h->lost_since))
                world_violation("c%u: broadcast %" PRIu64 " of %" PRIu64 " came after %" PRIu64 ", and %" PRIu64
                                " were reported lost",
                                receiver->number, m->order, m->source, h->last, h->lost_since);
        h->last = m->order;
        h->lost_since = 0;
        h->n_received++;
}

void broadcasts_lost(Actor *receiver, uint64_t source, uint64_t count) {
        Heard *h = broadcasts_get(direct_get_id(receiver->client), source);

        h->lost_since += count;
        h->n_lost += count;
}

static bool is_current(const Actor *a) {
        return a->client && !a->is_finished && direct_is_connected(a->client);
}

static void check_pair(const Actor *receiver, const Actor *sender, Message *const *messages, size_t n) {
        uint64_t source = direct_get_id(sender->client), id = direct_get_id(receiver->client);
        uint64_t first = 0, last = 0, n_expected = 0;
        const Heard *h = broadcasts_get(id, source);

        for (size_t i = 0; i < n; i++) {
                const Message *m = messages[i];
                /* To a sender that the present service does not know yet, whoever is new there was not there before */
                bool was_there = m->sent_usec > receiver->session_since && m->service_number >= receiver->session_number;

                if (m->source != source || !message_is_broadcast(m->class))
                        continue;
                if (m->class == MESSAGE_BROADCAST_LARGE) {
                        if (was_there && !m->is_cut_short && h->n_lost == 0 && !has_whole(id, m))
                                world_violation("c%u was there for large broadcast %" PRIu64 " of c%u, has not received it "
                                                "and was told of none lost",
                                                receiver->number, m->order, sender->number);
                        continue;
                }
                last = m->order;
                if (was_there) {
                        first = first ? first : m->order;
                        n_expected++;
                }
        }
        if (h->n_received + h->n_lost < n_expected)
                world_violation("c%u was there for broadcasts %" PRIu64 " to %" PRIu64 " of c%u, received %" PRIu64
                                " and was told of %" PRIu64 " lost",
                                receiver->number, first, last, sender->number, h->n_received, h->n_lost);
        if (h->last > 0 && !is_accounted(last - h->last, h->lost_since))
                world_violation("c%u has broadcasts of c%u up to %" PRIu64 ", and %" PRIu64 " reported lost since, of %" PRIu64,
                                receiver->number, sender->number, h->last, h->lost_since, last);
}

void broadcasts_check_end(Message *const *messages, size_t n) {
        for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
                for (unsigned k = 0; k < SIM_CLIENTS_MAX; k++)
                        if (i != k && is_current(&actors[i]) && is_current(&actors[k]))
                                check_pair(&actors[i], &actors[k], messages, n);
}
