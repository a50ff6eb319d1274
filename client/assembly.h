/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Incoming messages that came in several frames and are not complete. */

#include "client/map.h"
#include "client/message.h"
#include "client/util.h"
#include "protocol/wire.h"

typedef struct AssemblyCallbacks {
        /* A message is complete, or a part of one: taken over. `flags` and `tag` are those of its first frame. */
        void (*message)(DirectMessage *message, uint8_t flags, void *userdata);
        /* The first large message of this source has begun, the last one has ended: its fate is of interest, or no longer. */
        void (*source)(uint64_t source, bool on, void *userdata);
} AssemblyCallbacks;

typedef struct Assembly {
        Map by_stream; /* of Part */
        Map by_source; /* of Origin */
        uint64_t max_message;
        uint64_t n_held; /* bytes set aside for messages that are put together */
        const AssemblyCallbacks *callbacks;
        void *userdata;
} Assembly;

enum {
        /* Messages under way at the same time: one from each of very many clients, and still a bound */
        ASSEMBLY_STREAMS_MAX = 65536,
        /* How many of the largest size may be put together at the same time; what comes beyond is handed out in parts */
        ASSEMBLY_HELD_FACTOR = 16,
};

#define ASSEMBLY_MAX_MESSAGE_DEFAULT (UINT64_C(64) * 1024 * 1024)
#define ASSEMBLY_MAX_MESSAGE_MIN UINT64_C(65536)
#define ASSEMBLY_MAX_MESSAGE_MAX (UINT64_C(1) << 40) /* sums of it stay far from the end of 64 bits */

void assembly_init(Assembly *a, const AssemblyCallbacks *callbacks, void *userdata);
void assembly_deinit(Assembly *a);

/* One DATA frame. 0; -EBADMSG: it fits no message, and was dropped together with the message that it belongs to; or -ENOMEM: the
 * same, but if it is reliable, as if it had not come. */
int assembly_frame(Assembly *a, const WireHeader *header, const uint8_t *payload);

/* No more will come: of this source (it has left), or of any (our session ended). Streams end with a part that is last and
 * failed, messages that were put together are dropped. */
/* The link was lost, and with it the rest of what is not reliable; broadcasts of this source are lost. */
void assembly_link_lost(Assembly *a);
void assembly_broadcasts_lost(Assembly *a, uint64_t source);

void assembly_source_gone(Assembly *a, uint64_t source);
void assembly_reset(Assembly *a);
