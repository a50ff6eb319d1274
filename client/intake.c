/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A frame is acknowledged when the program has taken the message that it belongs to, not when it is read: what a sender was told
 * is delivered cannot die with us unseen. Frames of a message that is put together here are done with as they come, but for the
 * last.
 *
 * Credit follows the same count: taken + window, so what is under way is never more than a window, and never less than the
 * largest frame. The window is a share of one budget among those that have sent of late. Nothing here allocates per message. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/intake.h"

void intake_init(Intake *in, const IntakeCallbacks *callbacks, void *userdata) {
        *in = (Intake) { .callbacks = callbacks, .userdata = userdata };
        list_init(&in->due);
        list_init(&in->put_off);
        list_init(&in->again);
}

static void inflow_init(InFlow *f, Source *source, uint32_t stream, uint64_t credit) {
        *f = (InFlow) { .source = source, .stream = stream, .granted = credit };
        list_init(&f->of_source);
        list_init(&f->due);
        list_init(&f->pending);
}

static void inflow_deinit(InFlow *f) {
        while (!list_is_empty(&f->pending)) {
                Receipt *receipt = container_of(f->pending.next, Receipt, of_flow);

                list_remove(&receipt->of_flow);
                receipt->flow = NULL;
        }
        list_remove(&f->due);
        list_remove(&f->of_source);
}

Source *intake_find_source(const Intake *in, uint64_t id) {
        MapNode *node;

        node = map_find(&in->by_id, id);
        return node ? container_of(node, Source, by_id) : NULL;
}

Source *intake_get_source(Intake *in, uint64_t id) {
        Source *source = in->last;

        if (source && source->by_id.key == id)
                return source;
        source = intake_find_source(in, id);
        if (!source) {
                source = malloc(sizeof(*source));
                if (!source)
                        return NULL;
                if (in->callbacks->watch(id, in->userdata) < 0) {
                        free(source);
                        return NULL;
                }
                *source = (Source) { .intake = in };
                inflow_init(&source->messages, source, 0, in->initial_credit);
                list_init(&source->streams);
                map_insert(&in->by_id, &source->by_id, id);
        }
        in->last = source;
        return source;
}

static void intake_free_stream(Intake *in, InFlow *f) {
        map_remove(&in->by_stream, &f->by_stream);
        inflow_deinit(f);
        free(f);
}

static void again_free(Intake *in, Again *again) {
        list_remove(&again->again);
        free(again);
        in->n_again--;
}

static void source_free(Intake *in, Source *source) {
        if (in->last == source)
                in->last = NULL;
        if (in->flow && in->flow->source == source)
                in->flow = NULL;
        map_remove(&in->by_id, &source->by_id);
        inflow_deinit(&source->messages);
        while (!list_is_empty(&source->streams))
                intake_free_stream(in, container_of(source->streams.next, InFlow, of_source));
        free(source);
}

void intake_source_gone(Intake *in, uint64_t id) {
        Source *source;

        source = intake_find_source(in, id);
        if (source)
                source_free(in, source);
}

void intake_reset(Intake *in) {
        MapNode *node;

        while ((node = map_any(&in->by_id)))
                source_free(in, container_of(node, Source, by_id));
        while (!list_is_empty(&in->again))
                again_free(in, container_of(in->again.next, Again, again));
}

void intake_deinit(Intake *in) {
        intake_reset(in);
        map_deinit(&in->by_id);
        map_deinit(&in->by_stream);
}

/* Credit */

static void intake_count(Intake *in, InFlow *f, size_t size) {
        in->n_generation += size;
        if (in->n_generation > INTAKE_GENERATION) {
                in->generation++;
                in->n_generation = 0;
                in->n_senders_before = in->n_senders;
                in->n_senders = 0;
        }
        if (f->generation != in->generation + 1) {
                f->generation = in->generation + 1;
                in->n_senders++;
        }
}

static uint64_t intake_get_window(const Intake *in) {
        unsigned n = in->n_senders > in->n_senders_before ? in->n_senders : in->n_senders_before;
        uint64_t window = INTAKE_BUDGET / (n > 0 ? n : 1);

        return window > INTAKE_WINDOW_MAX ? INTAKE_WINDOW_MAX : window < INTAKE_WINDOW_MIN ? INTAKE_WINDOW_MIN : window;
}

/* Frames */

static void inflow_set_due(Intake *in, InFlow *f) {
        if (list_is_empty(&f->due))
                list_append(&in->due, &f->due);
}

static bool source_has_ended(const Source *source, uint32_t stream) {
        for (unsigned i = source->n_ended; i > 0 && stream <= source->ended[i - 1].last; i--)
                if (stream >= source->ended[i - 1].first)
                        return true;
        return false;
}

static void source_remove_range(Source *source, unsigned i) {
        source->n_ended--;
        memmove(source->ended + i, source->ended + i + 1, (source->n_ended - i) * sizeof(*source->ended));
}

static void source_insert_range(Source *source, unsigned i, StreamRange range) {
        memmove(source->ended + i + 1, source->ended + i, (source->n_ended - i) * sizeof(*source->ended));
        source->ended[i] = range;
        source->n_ended++;
}

/* Makes room: what lies between the two lowest ranges counts as ended, too. */
static void source_join_lowest(Source *source) {
        source->ended[1].first = source->ended[0].first;
        source_remove_range(source, 0);
}

static void source_add_ended(Source *source, uint32_t stream) {
        StreamRange *ended = source->ended;
        unsigned i = source->n_ended;

        while (i > 0 && stream < ended[i - 1].first)
                i--;
        /* Behind the range i - 1, and before the range i: as a part of one, as the link between both, or alone */
        if (i > 0 && ended[i - 1].last == stream - 1) {
                ended[i - 1].last = stream;
                if (i < source->n_ended && ended[i].first == stream + 1) {
                        ended[i].first = ended[i - 1].first;
                        source_remove_range(source, i - 1);
                }
        } else if (i < source->n_ended && ended[i].first == stream + 1)
                ended[i].first = stream;
        else if (source->n_ended < INTAKE_RANGES_MAX)
                source_insert_range(source, i, (StreamRange) { stream, stream });
        else if (i == 0)
                ended[0].first = stream;
        else {
                source_join_lowest(source);
                source_insert_range(source, i - 1, (StreamRange) { stream, stream });
        }
}

static uint64_t stream_hash(const Source *source, uint32_t stream) {
        return source->by_id.key * UINT64_C(0x9e3779b97f4a7c15) + stream;
}

static InFlow *intake_find_stream(const Intake *in, const Source *source, uint32_t stream) {
        for (MapNode *node = map_find(&in->by_stream, stream_hash(source, stream)); node; node = map_find_next(node)) {
                InFlow *f = container_of(node, InFlow, by_stream);

                if (f->source == source && f->stream == stream)
                        return f;
        }
        return NULL;
}

/* Only its first frame begins a stream, and only one that has not ended yet. Results as of intake_begin(). */
static int intake_get_stream(Intake *in, Source *source, const WireHeader *header, InFlow **ret) {
        InFlow *f;

        f = intake_find_stream(in, source, header->stream);
        if (!f) {
                if (source_has_ended(source, header->stream))
                        return in->callbacks->acknowledge(header->source, header->stream, header->sequence, 0, in->userdata);
                if (header->sequence != 1 || in->by_stream.n_nodes >= INTAKE_STREAMS_MAX)
                        return 0;
                f = malloc(sizeof(*f));
                if (!f)
                        return -ENOMEM;
                inflow_init(f, source, header->stream, in->initial_credit);
                list_append(&source->streams, &f->of_source);
                map_insert(&in->by_stream, &f->by_stream, stream_hash(source, header->stream));
        }
        *ret = f;
        return 1;
}

int intake_begin(Intake *in, const WireHeader *header) {
        Source *source;
        InFlow *f;
        int r;

        source = intake_get_source(in, header->source);
        if (!source)
                return -ENOMEM;
        f = &source->messages;
        if (header->stream != 0) {
                r = intake_get_stream(in, source, header, &f);
                if (r <= 0)
                        return r;
        }
        if (header->sequence <= f->received) {
                inflow_set_due(in, f); /* our acknowledgement was lost */
                return 0;
        }
        if (header->sequence != f->received + 1)
                return 0; /* what is missing will be sent again, and this with it */
        in->flow = f;
        in->header = *header;
        return 1;
}

static size_t intake_get_size(const Intake *in) {
        return WIRE_HEADER_SIZE + in->header.length;
}

void intake_attach(Intake *in, Receipt *receipt) {
        const List *pending = in->flow ? in->flow->pending.previous : NULL;

        if (!in->flow || (pending != &in->flow->pending &&
                          container_of(pending, const Receipt, of_flow)->sequence == in->header.sequence))
                return;
        *receipt = (Receipt) { .flow = in->flow, .sequence = in->header.sequence, .size = (uint32_t) intake_get_size(in) };
        list_append(&in->flow->pending, &receipt->of_flow);
}

/* A stream whose last frame is taken is acknowledged and forgotten. */
static bool inflow_is_over(const InFlow *f) {
        return f->has_ended && list_is_empty(&f->pending);
}

void intake_end(Intake *in, bool is_kept) {
        InFlow *f = in->flow;

        in->flow = NULL;
        if (!f)
                return; /* a broadcast, or its source went meanwhile */
        if (!is_kept) {
                if (f->stream != 0 && f->received == 0)
                        intake_free_stream(in, f); /* as if it had not begun */
                return;
        }
        f->received++;
        f->has_ended = f->has_ended || (f->stream != 0 && (in->header.flags & WIRE_LAST));
        intake_count(in, f, intake_get_size(in));
        if (list_is_empty(&f->pending) || container_of(f->pending.previous, Receipt, of_flow)->sequence != f->received) {
                f->n_taken += intake_get_size(in);
                inflow_set_due(in, f);
        }
}

void intake_take(Receipt *receipt) {
        InFlow *f = receipt->flow;

        if (!f)
                return;
        receipt->flow = NULL;
        list_remove(&receipt->of_flow);
        f->n_taken += receipt->size;
        inflow_set_due(f->source->intake, f);
}

static int inflow_acknowledge(Intake *in, InFlow *f) {
        uint64_t taken = f->received, granted = f->n_taken + intake_get_window(in);

        if (!list_is_empty(&f->pending))
                taken = container_of(f->pending.next, Receipt, of_flow)->sequence - 1;
        if (granted < f->granted)
                granted = f->granted;
        if (taken == 0 && granted <= in->initial_credit)
                return 0; /* else there is credit to tell: replies were taken past the very first message */
        f->granted = granted;
        return in->callbacks->acknowledge(f->source->by_id.key, f->stream, taken, granted, in->userdata);
}

int intake_acknowledge(Intake *in) {
        while (!list_is_empty(&in->due)) {
                InFlow *f = container_of(in->due.next, InFlow, due);
                int r;

                r = inflow_acknowledge(in, f);
                if (r < 0)
                        return r;
                list_remove(&f->due);
                if (inflow_is_over(f)) {
                        source_add_ended(f->source, f->stream);
                        intake_free_stream(in, f);
                }
        }
        return 0;
}

int intake_bounced(Intake *in, uint64_t id, uint32_t stream, uint64_t sequence) {
        Source *source;
        InFlow *f;
        Again *again;

        source = intake_find_source(in, id);
        if (!source)
                return 0;
        f = stream == 0 ? &source->messages : intake_find_stream(in, source, stream);
        if (f) {
                list_remove(&f->due);
                list_append(&in->put_off, &f->due);
                return 0;
        }
        if (in->n_again >= INTAKE_AGAIN_MAX)
                return 0;
        again = malloc(sizeof(*again));
        if (!again)
                return -ENOMEM;
        *again = (Again) { .source = id, .stream = stream, .sequence = sequence };
        list_append(&in->again, &again->again);
        in->n_again++;
        return 0;
}

int intake_retry(Intake *in) {
        while (!list_is_empty(&in->put_off)) {
                List *due = in->put_off.next;

                list_remove(due);
                list_append(&in->due, due);
        }
        while (!list_is_empty(&in->again)) {
                Again *again = container_of(in->again.next, Again, again);
                int r;

                r = in->callbacks->acknowledge(again->source, again->stream, again->sequence, 0, in->userdata);
                if (r < 0)
                        return r;
                again_free(in, again);
        }
        return heard_retry(in);
}
