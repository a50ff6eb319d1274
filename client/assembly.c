/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* A message under way is a Part, found by its source and stream. If its size is known and not too large, the frames are copied
 * into a message of that size; else each frame is handed out as a part of its own.
 *
 * The frames are another client's work: whatever is wrong with them costs that client its message, and never the link to the
 * service. */

#include <errno.h>
#include <string.h>

#include "client/assembly.h"

typedef struct Origin {
        MapNode by_id;
        List parts;
} Origin;

typedef struct Part {
        MapNode by_stream;
        List of_source;
        Origin *owner;
        uint64_t source;
        uint64_t total;
        uint64_t received;
        DirectMessage *message; /* NULL: handed out in parts */
        uint32_t stream;
        uint32_t tag;
        uint16_t kind;
        uint8_t flags;
        bool is_broadcast;
        bool is_reliable;
} Part;

static bool header_is_broadcast(const WireHeader *header) {
        return header->target == WIRE_TARGET_BROADCAST || (header->flags & WIRE_BROADCAST);
}

static uint64_t part_hash(uint64_t source, uint32_t stream, bool is_broadcast) {
        return source * UINT64_C(0x9e3779b97f4a7c15) + ((uint64_t) stream << 1 | is_broadcast);
}

void assembly_init(Assembly *a, const AssemblyCallbacks *callbacks, void *userdata) {
        *a = (Assembly) { .max_message = ASSEMBLY_MAX_MESSAGE_DEFAULT, .callbacks = callbacks, .userdata = userdata };
}

static Part *assembly_find(const Assembly *a, const WireHeader *header) {
        bool is_broadcast = header_is_broadcast(header);

        for (MapNode *node = map_find(&a->by_stream, part_hash(header->source, header->stream, is_broadcast)); node;
             node = map_find_next(node)) {
                Part *part = container_of(node, Part, by_stream);

                if (part->source == header->source && part->stream == header->stream && part->is_broadcast == is_broadcast)
                        return part;
        }
        return NULL;
}

static Origin *assembly_get_origin(Assembly *a, uint64_t id) {
        MapNode *node;
        Origin *source;

        node = map_find(&a->by_source, id);
        if (node)
                return container_of(node, Origin, by_id);
        source = malloc(sizeof(*source));
        if (!source)
                return NULL;
        *source = (Origin) {};
        list_init(&source->parts);
        map_insert(&a->by_source, &source->by_id, id);
        a->callbacks->source(id, true, a->userdata);
        return source;
}

static void assembly_put_origin(Assembly *a, Origin *source) {
        if (!list_is_empty(&source->parts))
                return;
        map_remove(&a->by_source, &source->by_id);
        a->callbacks->source(source->by_id.key, false, a->userdata);
        free(source);
}

static void part_free(Assembly *a, Part *part) {
        map_remove(&a->by_stream, &part->by_stream);
        list_remove(&part->of_source);
        assembly_put_origin(a, part->owner);
        if (part->message)
                a->n_held -= part->message->size;
        direct_message_free(part->message);
        free(part);
}

static DirectMessage *part_new_message(const Part *part, size_t size) {
        DirectMessage *message;

        message = message_new(size);
        if (!message)
                return NULL;
        message->source = part->source;
        message->kind = part->kind;
        message->tag = part->tag;
        message->is_broadcast = part->is_broadcast;
        message->total = part->total;
        return message;
}

/* Hands out a piece of a stream. */
static int part_emit(Assembly *a, Part *part, const uint8_t *data, size_t size, bool is_last, bool is_failed) {
        DirectMessage *message;

        message = part_new_message(part, size);
        if (!message)
                return -ENOMEM;
        if (size > 0)
                memcpy(message->data, data, size);
        message->stream = part->stream;
        message->offset = part->received;
        message->is_last = is_last;
        message->is_failed = is_failed;
        message->is_request = is_last && !is_failed && (part->flags & WIRE_REQUEST); /* one request, so one reply */
        part->received += size;
        if (is_last && !is_failed)
                message->total = part->received;
        a->callbacks->message(message, part->flags, a->userdata);
        return 0;
}

static void part_fail(Assembly *a, Part *part) {
        if (!part->message)
                (void) part_emit(a, part, NULL, 0, true, true); /* without memory for so little there is no better way to tell */
        part_free(a, part);
}

static void part_finish(Assembly *a, Part *part) {
        DirectMessage *message = part->message;
        uint8_t flags = part->flags;

        part->message = NULL;
        a->n_held -= message->size;
        message->is_last = true;
        message->is_request = flags & WIRE_REQUEST;
        part_free(a, part);
        a->callbacks->message(message, flags, a->userdata);
}

static int assembly_begin(Assembly *a, const WireHeader *header, uint64_t total, Part **ret) {
        Origin *source;
        Part *part;

        if (a->by_stream.n_nodes >= ASSEMBLY_STREAMS_MAX)
                return -ENOBUFS;
        source = assembly_get_origin(a, header->source);
        if (!source)
                return -ENOMEM;
        part = malloc(sizeof(*part));
        if (!part) {
                assembly_put_origin(a, source);
                return -ENOMEM;
        }
        *part = (Part) {
                .owner = source,
                .source = header->source,
                .stream = header->stream,
                .is_broadcast = header_is_broadcast(header),
                .kind = header->kind,
                .tag = header->tag,
                .flags = header->flags,
                .is_reliable = header->flags & WIRE_RELIABLE,
                .total = total,
        };
        if (total <= a->max_message && a->n_held <= a->max_message * (ASSEMBLY_HELD_FACTOR - 1))
                part->message = part_new_message(part, (size_t) total);
        if (part->message)
                a->n_held += total;
        list_append(&source->parts, &part->of_source);
        map_insert(&a->by_stream, &part->by_stream, part_hash(part->source, part->stream, part->is_broadcast));
        *ret = part;
        return 0;
}

/* Adds bytes to a message that has begun. */
static int part_add(Assembly *a, Part *part, const uint8_t *data, size_t size, bool is_last) {
        int r;

        if (part->total != WIRE_SIZE_UNKNOWN) {
                uint64_t left = part->total - part->received;

                if (size > left || (size < left && is_last)) {
                        part_fail(a, part);
                        return -EBADMSG;
                }
        }
        if (part->message) {
                if (size > 0)
                        memcpy(part->message->data + part->received, data, size);
                part->received += size;
                if (is_last)
                        part_finish(a, part);
                return 0;
        }
        if (size == 0 && !is_last)
                return 0;
        r = part_emit(a, part, data, size, is_last, false);
        if (r < 0 && part->is_reliable) { /* the frame will come again, and with it the part if this was its first */
                if (part->received == 0)
                        part_free(a, part);
        } else if (r < 0)
                part_fail(a, part);
        else if (is_last)
                part_free(a, part);
        return r;
}

/* Most messages are of this kind, and leave no trace here. */
static int assembly_whole(Assembly *a, const WireHeader *header, const uint8_t *payload) {
        DirectMessage *message;

        message = message_new(header->length);
        if (!message)
                return -ENOMEM;
        if (header->length > 0)
                memcpy(message->data, payload, header->length);
        message->source = header->source;
        message->kind = header->kind;
        message->tag = header->tag;
        message->total = header->length;
        message->is_last = true;
        message->is_broadcast = header_is_broadcast(header);
        message->is_request = header->flags & WIRE_REQUEST;
        a->callbacks->message(message, header->flags, a->userdata);
        return 0;
}

int assembly_frame(Assembly *a, const WireHeader *header, const uint8_t *payload) {
        bool is_first = header->flags & WIRE_FIRST, is_last = header->flags & WIRE_LAST;
        size_t size = header->length;
        Part *part = NULL;
        int r;

        if (a->by_stream.n_nodes > 0)
                part = assembly_find(a, header);
        if (part && is_first) {
                part_fail(a, part);
                part = NULL;
        }
        if (is_first && is_last)
                return assembly_whole(a, header, payload);
        if (part && is_last && (header->flags & WIRE_FAILED) && !(header->flags & WIRE_REPLY)) {
                part_fail(a, part); /* its sender gives it up */
                return 0;
        }
        if (is_first) {
                if (size < sizeof(uint64_t))
                        return -EBADMSG;
                r = assembly_begin(a, header, wire_load_u64(payload), &part);
                if (r < 0)
                        return r;
                payload += sizeof(uint64_t);
                size -= sizeof(uint64_t);
        }
        if (!part)
                return -EBADMSG; /* the rest of a message whose beginning was dropped */
        return part_add(a, part, payload, size, is_last);
}

static void assembly_fail_some(Assembly *a, uint64_t source, bool (*is_lost)(const Part *part, uint64_t source)) {
        MapNode *next;

        for (MapNode *node = map_next(&a->by_stream, NULL); node; node = next) {
                Part *part = container_of(node, Part, by_stream);

                next = map_next(&a->by_stream, node);
                if (is_lost(part, source))
                        part_fail(a, part);
        }
}

static bool part_is_unreliable(const Part *part, uint64_t source) {
        return !part->is_reliable;
}

static bool part_is_broadcast_of(const Part *part, uint64_t source) {
        return part->is_broadcast && part->source == source;
}

void assembly_link_lost(Assembly *a) {
        assembly_fail_some(a, 0, part_is_unreliable);
}

void assembly_broadcasts_lost(Assembly *a, uint64_t source) {
        assembly_fail_some(a, source, part_is_broadcast_of);
}

static void source_fail(Assembly *a, Origin *source) {
        bool more = true;

        while (more) {
                Part *part = container_of(source->parts.next, Part, of_source);

                more = part->of_source.next != &source->parts; /* the source goes with its last part */
                part_fail(a, part);
        }
}

void assembly_source_gone(Assembly *a, uint64_t id) {
        MapNode *node;

        node = map_find(&a->by_source, id);
        if (node)
                source_fail(a, container_of(node, Origin, by_id));
}

void assembly_reset(Assembly *a) {
        MapNode *node;

        while ((node = map_any(&a->by_source)))
                source_fail(a, container_of(node, Origin, by_id));
}

void assembly_deinit(Assembly *a) {
        MapNode *node;

        while ((node = map_any(&a->by_stream)))
                part_free(a, container_of(node, Part, by_stream));
        map_deinit(&a->by_stream);
        map_deinit(&a->by_source);
}
