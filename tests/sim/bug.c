/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Each in a place where the product has the opposite. Owns only what is needed to know what a receiver has seen. */

#include <stdlib.h>
#include <string.h>

#include "tests/sim/bug.h"
#include "tests/sim/model.h"
#include "tests/sim/service.h"

#define BUG_CREDIT_EXTRA (16 * 1024 * 1024)

typedef struct Seen {
        uint64_t receiver, source;
        uint32_t stream;
        uint64_t sequence;
} Seen;

static const char *const names[_BUG_N] = {
        [BUG_NONE] = "none",     [BUG_DUPLICATES] = "duplicates", [BUG_SEND_AGAIN] = "send-again",
        [BUG_CREDIT] = "credit", [BUG_ID_CHECK] = "id-check",     [BUG_EPOCH] = "epoch",
        [BUG_FORGETFUL] = "forgetful", [BUG_HANDOVER] = "handover",
};

Bug bug;
static Seen *seen;
static size_t n_seen;

int bug_parse(const char *name) {
        for (int i = 0; i < _BUG_N; i++)
                if (strcmp(names[i], name) == 0)
                        return i;
        return -1;
}

void bug_clear(void) {
        free(seen);
        seen = NULL;
        n_seen = 0;
}

static bool is_flow_data(const WireHeader *h) {
        return h->type == WIRE_DATA && h->sequence > 0 && h->target < WIRE_TARGET_GROUP && !(h->flags & WIRE_BROADCAST);
}

bool bug_up(uint8_t *frame, bool is_again) {
        WireHeader h;
        const char *name;
        uint64_t successor;

        wire_header_load(frame, &h);
        if (!is_flow_data(&h))
                return true;
        if (bug == BUG_SEND_AGAIN)
                return !is_again;
        if (bug == BUG_ID_CHECK && !service_has_client(h.target)) {
                name = model_get_name(h.target);
                successor = name ? service_find_name(name) : 0;
                if (successor != 0)
                        wire_store_u64(frame + 16, successor);
        }
        return true;
}

static Seen *bug_seen(uint64_t receiver, const WireHeader *h) {
        for (size_t i = 0; i < n_seen; i++)
                if (seen[i].receiver == receiver && seen[i].source == h->source && seen[i].stream == h->stream)
                        return &seen[i];
        seen = sim_must(realloc(seen, (n_seen + 1) * sizeof(Seen)));
        seen[n_seen] = (Seen) { .receiver = receiver, .source = h->source, .stream = h->stream };
        return &seen[n_seen++];
}

void bug_down(Conn *c, uint64_t id, uint8_t *frame) {
        WireHeader h;

        wire_header_load(frame, &h);
        if (bug == BUG_DUPLICATES && is_flow_data(&h)) {
                Seen *s = bug_seen(id, &h);

                if (h.sequence > s->sequence)
                        s->sequence = h.sequence;
                else
                        wire_store_u64(frame + 24, ++s->sequence);
        } else if (bug == BUG_EPOCH && h.type == WIRE_PRESENCE)
                wire_store_u64(frame + WIRE_HEADER_SIZE, wire_load_u64(frame + WIRE_HEADER_SIZE) - 1);
}

void bug_down_unseen(uint8_t *frame) {
        if (bug == BUG_CREDIT && frame[4] == WIRE_ACK)
                wire_store_u64(frame + WIRE_HEADER_SIZE, wire_load_u64(frame + WIRE_HEADER_SIZE) + BUG_CREDIT_EXTRA);
}
