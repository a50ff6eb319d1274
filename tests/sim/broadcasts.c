/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each broadcast is one frame here, so numbers of broadcasts and numbers of frames are the same and counts can be compared. */

#include <inttypes.h>
#include <stdlib.h>

#include "tests/sim/broadcasts.h"

typedef struct Heard {
        uint64_t receiver, source; /* ids */
        uint64_t last;             /* order of the last one; 0: none */
        uint64_t lost_since;       /* then */
        uint64_t n_received, n_lost;
} Heard;

static struct {
        Heard *records;
        size_t n;
} heard;

void broadcasts_clear(void) {
        free(heard.records);
        heard.records = NULL;
        heard.n = 0;
}

static Heard *broadcasts_get(uint64_t receiver, uint64_t source) {
        for (size_t i = 0; i < heard.n; i++)
                if (heard.records[i].receiver == receiver && heard.records[i].source == source)
                        return &heard.records[i];
        heard.records = sim_must(realloc(heard.records, (heard.n + 1) * sizeof(Heard)));
        heard.records[heard.n] = (Heard) { .receiver = receiver, .source = source };
        return &heard.records[heard.n++];
}

void broadcasts_received(Actor *receiver, const Message *m) {
        Heard *h = broadcasts_get(direct_get_id(receiver->client), m->source);

        if (m->order <= h->last)
                world_violation("c%u: broadcast %" PRIu64 " of %" PRIu64 " came after %" PRIu64, receiver->number, m->order,
                                m->source, h->last);
        else if (h->last > 0 && m->order - h->last - 1 != h->lost_since)
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
        uint64_t source = direct_get_id(sender->client), first = 0, last = 0, n_expected = 0;
        const Heard *h = broadcasts_get(direct_get_id(receiver->client), source);

        for (size_t i = 0; i < n; i++) {
                const Message *m = messages[i];

                if (m->class != MESSAGE_BROADCAST || m->source != source)
                        continue;
                last = m->order;
                /* To a sender that the present service does not know yet, whoever is new there was not there before */
                if (m->sent_usec > receiver->session_since && m->service_number >= receiver->session_number) {
                        first = first ? first : m->order;
                        n_expected++;
                }
        }
        if (h->n_received + h->n_lost < n_expected)
                world_violation("c%u was there for broadcasts %" PRIu64 " to %" PRIu64 " of c%u, received %" PRIu64
                                " and was told of %" PRIu64 " lost",
                                receiver->number, first, last, sender->number, h->n_received, h->n_lost);
        if (h->last > 0 && h->last + h->lost_since != last)
                world_violation("c%u has broadcasts of c%u up to %" PRIu64 ", and %" PRIu64 " reported lost since, of %" PRIu64,
                                receiver->number, sender->number, h->last, h->lost_since, last);
}

void broadcasts_check_end(Message *const *messages, size_t n) {
        for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
                for (unsigned k = 0; k < SIM_CLIENTS_MAX; k++)
                        if (i != k && is_current(&actors[i]) && is_current(&actors[k]))
                                check_pair(&actors[i], &actors[k], messages, n);
}
