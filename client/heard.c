/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Broadcasts of others: each once and in order. Whoever finds that it lacks some asks their sender, one request at a time; the
 * answer ends with a MARK, and if there is more to be had then, it asks again. So a slow receiver sets its own pace. */

#include <errno.h>

#include "client/intake.h"

static bool source_lacks(const Source *source) {
        return source->next_broadcast <= source->known_broadcast;
}

static int heard_ask(Intake *in, Source *source) {
        int r;

        if (source->has_asked || !source_lacks(source))
                return 0;
        r = in->callbacks->ask_resend(source->by_id.key, source->next_broadcast, in->userdata);
        source->has_asked = r >= 0;
        return r;
}

int heard_begin(Intake *in, const WireHeader *header) {
        Source *source;

        source = intake_get_source(in, header->source);
        if (!source)
                return -ENOMEM;
        if (source->next_broadcast == 0)
                source->next_broadcast = 1; /* had there been any before we came, the service would have told */
        if (header->sequence < source->next_broadcast)
                return 0;
        if (header->sequence > source->known_broadcast)
                source->known_broadcast = header->sequence;
        if (header->sequence > source->next_broadcast)
                return heard_ask(in, source);
        in->header = *header;
        return 1;
}

void heard_end(Intake *in) {
        Source *source;

        source = intake_find_source(in, in->header.source);
        if (!source)
                return;
        source->next_broadcast++;
        if (!source_lacks(source))
                source->has_asked = false;
}

/* A newcomer does not want what was broadcast before it came. The service says so with a baseline, unless it has been restarted
 * and does not know the number itself: then the sender's own MARK has it. */
int heard_mark(Intake *in, const WireHeader *header, uint64_t before) {
        Source *source;

        source = intake_get_source(in, header->source);
        if (!source)
                return -ENOMEM;
        if (source->next_broadcast == 0) {
                source->next_broadcast = 1;
                if (header->flags & WIRE_MARK_BASELINE)
                        source->next_broadcast = header->sequence + 1;
                else if (header->target == WIRE_TARGET_BROADCAST && in->began_here && before <= header->sequence)
                        source->next_broadcast = before + 1;
        }
        if (header->sequence > source->known_broadcast)
                source->known_broadcast = header->sequence;
        source->has_asked = false;
        return heard_ask(in, source);
}

uint64_t heard_count_lost(const Intake *in, uint64_t id, uint64_t first, uint64_t last) {
        const Source *source;

        source = intake_find_source(in, id);
        if (!source || source->next_broadcast == 0 || first > source->next_broadcast || last < source->next_broadcast ||
            last > source->known_broadcast)
                return 0; /* not an answer to what we have asked */
        return last - source->next_broadcast + 1;
}

void heard_lost(Intake *in, uint64_t id, uint64_t first, uint64_t last) {
        if (heard_count_lost(in, id, first, last) > 0)
                intake_find_source(in, id)->next_broadcast = last + 1;
}

int heard_back(Intake *in, uint64_t id) {
        Source *source;

        source = intake_find_source(in, id);
        if (!source)
                return 0;
        source->has_asked = false;
        return source->next_broadcast > 0 ? heard_ask(in, source) : 0;
}

void heard_bounced(Intake *in, uint64_t id) {
        Source *source;

        source = intake_find_source(in, id);
        if (source)
                source->has_asked = false;
}

int heard_retry(Intake *in) {
        int r = 0;

        for (MapNode *node = NULL; r >= 0 && (node = map_next(&in->by_id, node));) {
                Source *source = container_of(node, Source, by_id);

                if (source->next_broadcast > 0)
                        r = heard_ask(in, source);
        }
        return r;
}

int heard_renew(Intake *in) {
        for (MapNode *node = NULL; (node = map_next(&in->by_id, node));)
                container_of(node, Source, by_id)->has_asked = false;
        return heard_retry(in);
}

uint64_t heard_missing(const Intake *in, uint64_t id) {
        const Source *source;

        source = intake_find_source(in, id);
        return source && source->next_broadcast > 0 && source_lacks(source) ?
                       source->known_broadcast - source->next_broadcast + 1 : 0;
}
